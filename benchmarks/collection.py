"""Collection at 10 k, 100 k and 1 M messages: what one hand-out, one submission and a leaderboard cost.

    python -m benchmarks.collection [--sizes 10000 100000 1000000] [--rounds 30] [--keep FOLDER] [--json FILE]

One caller asks the API for a task over HTTP, its conversation included, and submits it; kinds in turn, each round by
other people. The API is a process of its own, the embedded store another; CPU milliseconds are what the system counted
for each of the two (user and kernel), wall is what the caller waited, commands are those that the API counts in its
metrics, those for who calls and for showing the conversation included. Rate limits and sweeper are off, as they were
in the original's measurement (256 ms of CPU a cycle at 10 k messages, server and database together).

Texts are forty words drawn by chance from the documentation of some modules: no two are alike, and they are in English.

Then eight callers work at once, as in the original's measurement: `together` is a cycle's share of what they cost.

Filled stores are kept under var/bench/collection and used again; `--fresh` fills them anew.
"""

from __future__ import annotations

import argparse
import asyncio
import decimal
import inspect
import json
import logging
import multiprocessing
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from api.keys import load_keys  # noqa: E402
from api.settings import Settings  # noqa: E402
from api.tokens import Tokens  # noqa: E402
from benchmarks.simulated import full_store  # noqa: E402
from core.config import CollectionConfig  # noqa: E402
from core.database import connect  # noqa: E402
from oa import embedded  # noqa: E402

ORIGINAL_MS = {10_000: 256.0}
"""CPU milliseconds of the original's cycle."""
CONFIG = CollectionConfig(
    mode="parity", max_active_trees=10**9, max_initial_prompt_review=10**9, max_prompt_lottery_waiting=10**9
)
"""Every kind of work is open at every size."""
KINDS = ("INITIAL_PROMPT", "ASSISTANT_REPLY", "LABEL_INITIAL_PROMPT", "LABEL_ASSISTANT_REPLY",
         "LABEL_PROMPTER_REPLY", "RANK_ASSISTANT_REPLIES", "RANDOM")  # fmt: skip
TASK = """task { __typename id ... on ConversationTask { thread { id text role } }
  ... on RankingTask { replies { id text } } }"""
SUBMITS = {
    "Initial": ("submitPrompt", "message { id }"), "Assistant": ("submitReply", "message { id }"),
    "Prompter": ("submitReply", "message { id }"), "Label": ("submitReview", "task { state }"),
    "Rank": ("submitRanking", "task { state }"),
}  # fmt: skip
CHANCE = random.Random(1)
VOCABULARY = sorted({
    word
    for module in (argparse, decimal, httpx, inspect, logging, random, re, statistics, subprocess)
    for each in [module, *vars(module).values()]
    for word in re.findall(r"\b[a-z]{2,}\b", inspect.getdoc(each) or "")
})  # fmt: skip
CALLERS = 8
"""People at work at once, as in the original's measurement."""
ROUNDS_TOGETHER = 6
"""Of each kind; many more would do all the work that the smallest store has."""
LEADERBOARD = "{ leaderboard(frame: TOTAL, first: 100) { rank points user { displayName } } }"


def serve(settings: Settings, port: int) -> None:
    """The API as `python -m api.server` runs it, in this process."""
    import uvicorn

    from api.app import create_app
    from api.server import options

    uvicorn.run(lambda: create_app(settings), **options(settings, embedded.HOST, port, 5), log_level="error")


@dataclass
class Meter:
    """What operations cost, each by name: (API CPU ms, store CPU ms, wall ms, commands)."""

    processes: tuple[psutil.Process, psutil.Process]
    url: str
    samples: dict[str, list[tuple[float, float, float, float]]] = field(default_factory=lambda: defaultdict(list))
    http: httpx.Client = field(default_factory=httpx.Client)
    """Kept open: what closing a connection costs the API would fall into what is measured next."""

    def commands(self) -> float:
        """Commands that the API has sent, by its own metrics."""
        lines = self.http.get(f"{self.url}/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("oa_database_seconds_count"))

    def cost(self, action: Callable[[], Any]) -> tuple[Any, tuple[float, float, float, float]]:
        """The action's result, and what it cost; CPU by the system's clock, in milliseconds."""
        commands = self.commands()
        before = self._clocks()
        result = action()
        api, store, wall = (b - a for a, b in zip(before, self._clocks(), strict=True))
        return result, (api, store, wall, self.commands() - commands)

    def _clocks(self) -> tuple[float, float, float]:
        used = [1000 * (times.user + times.system) for times in (each.cpu_times() for each in self.processes)]
        return used[0], used[1], 1000 * time.perf_counter()

    def measured(self, name: str, action: Callable[[], Any]) -> Any:
        """The action's result; its cost is kept under `name`."""
        result, cost = self.cost(action)
        self.samples[name].append(cost)
        return result

    def summary(self) -> dict[str, dict[str, float]]:
        """Means of CPU and commands (the clock of CPU ticks in 10 ms), the median of wall."""
        found = {}
        for name, samples in self.samples.items():
            api, store, wall, commands = zip(*samples, strict=True)
            found[name] = {
                "api_ms": mean(api), "store_ms": mean(store), "wall_ms": median(wall), "commands": mean(commands),
                "commands_most": max(commands), "samples": len(samples),
            }  # fmt: skip
        return found


class Caller:
    """Calls the API as one of the store's people."""

    def __init__(self, url: str, tokens: Tokens) -> None:
        self.url, self.tokens, self.http = url, tokens, httpx.Client(timeout=60)

    def headers(self, user: str) -> dict[str, str]:
        """The headers of a call by this user."""
        return {"authorization": f"Bearer {self.tokens.mint(user, ['contributor']).token}"}

    def ask(self, headers: dict[str, str], document: str, **variables: Any) -> Any:
        """`data` of the answer."""
        body = {"query": document, "variables": variables}
        answer = self.http.post(f"{self.url}/graphql", json=body, headers=headers).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def do(self, headers: dict[str, str], name: str, fields: str, **variables: Any) -> Any:
        """The payload of a mutation."""
        kind = name[0].upper() + name[1:] + "Input!"
        document = f"mutation ($i: {kind}) {{ p: {name}(input: $i) {{ userErrors {{ code message }} {fields} }} }}"
        return self.ask(headers, document, i=variables)["p"]


def cycle(caller: Caller, meter: Meter | None, user: str, kind: str, number: int) -> None:
    """One task taken and answered; each part measured, where there is a meter."""
    headers = caller.headers(user)

    def measured(name: str, action: Callable[[], Any]) -> Any:
        return action() if meter is None else meter.measured(name, action)

    taken = measured(f"take {kind}", lambda: caller.do(headers, "requestTask", TASK, langs=["en"], kind=kind))
    task = taken["task"]
    assert task is not None, (kind, taken["userErrors"])
    stem = next(stem for stem in SUBMITS if task["__typename"].startswith(stem))
    name, fields = SUBMITS[stem]
    answer: dict[str, Any] = {"text": f"{' '.join(CHANCE.choices(VOCABULARY, k=40))} {number} {time.time_ns()}"}
    if stem == "Label":
        answer = {"labels": [{"name": "SPAM", "value": 0}, {"name": "QUALITY", "value": 0.75}]}
    elif stem == "Rank":
        answer = {"ranking": [reply["id"] for reply in task["replies"]]}
    done = measured(f"submit {kind}", lambda: caller.do(headers, name, fields, taskId=task["id"], **answer))
    assert done["userErrors"] == [], done["userErrors"]


def measure(size: int, rounds: int, folder: Path, fresh: bool) -> dict[str, Any]:
    """Every operation at one size."""
    home = folder / str(size)
    ready = home / "users.json"
    if fresh or not ready.exists():
        shutil.rmtree(home, ignore_errors=True)
    store_port, object_port, port = embedded.free_port(), embedded.free_port(), embedded.free_port()
    store = embedded.start(embedded.document_store_command(home / "store", store_port))
    objects = embedded.start(embedded.object_store_command(home / "objects", object_port))
    api = None
    try:
        embedded.wait_for_port(store_port, store)
        embedded.wait_for_port(object_port, objects)
        uri = f"mongodb://{embedded.HOST}:{store_port}"
        users = json.loads(ready.read_text()) if ready.exists() else asyncio.run(filled(uri, size))
        ready.write_text(json.dumps(users))
        tokens = Tokens(load_keys(home / "token.pem", make=True), "open-assistant", 900)
        settings = Settings(
            mode="embedded", mongodb_uri=uri, s3_endpoint=f"http://{embedded.HOST}:{object_port}",
            token_key_file=home / "token.pem", sweep_seconds=0, rate_limits="off", collection=CONFIG,
        )  # fmt: skip
        context = multiprocessing.get_context("spawn")
        api = context.Process(target=serve, args=(settings, port), daemon=True)
        api.start()
        embedded.wait_for_port(port)
        url = f"http://{embedded.HOST}:{port}"
        meter = Meter((psutil.Process(api.pid), psutil.Process(store.pid)), url)
        return drive(Caller(url, tokens), meter, users, rounds) | {
            "together": together(
                [Caller(url, tokens) for _ in range(CALLERS)], meter, users, min(rounds, ROUNDS_TOGETHER)
            )
        }
    finally:
        if api is not None:
            api.terminate()
            api.join()
        for process in (store, objects):
            process.terminate()
            process.wait()


async def filled(uri: str, size: int) -> list[str]:
    """Fill the store; its people."""
    async with connect(uri) as client:
        return await full_store.fill(client["open_assistant"], size, CONFIG)


def drive(caller: Caller, meter: Meter, users: list[str], rounds: int) -> dict[str, Any]:
    """All operations, after one round that only warms up."""
    for turn in range(rounds + 1):
        for place, kind in enumerate(KINDS):
            cycle(caller, meter, users[(turn * len(KINDS) + place) * 7 % len(users)], kind, turn)
        meter.measured("leaderboard", lambda: caller.ask({}, LEADERBOARD))
        if turn == 0:
            meter.samples.clear()
    found: dict[str, Any] = meter.summary()
    parts = [found[f"{step} {kind}"] for kind in KINDS for step in ("take", "submit")]
    count = len(KINDS)
    found["cycle"] = {
        name: sum(part[name] for part in parts) / count for name in ("api_ms", "store_ms", "wall_ms", "commands")
    }
    return found


def together(callers: list[Caller], meter: Meter, users: list[str], rounds: int) -> dict[str, float]:
    """A cycle's share of what several callers cost who each take and answer one task after the other."""

    def busy(place: int) -> None:
        for turn in range(rounds):
            for step, kind in enumerate(KINDS):
                number = (turn * len(KINDS) + step) * len(callers) + place
                cycle(callers[place], None, users[number * 11 % len(users)], kind, 1_000_000 + number)

    def all_busy() -> None:
        with ThreadPoolExecutor(len(callers)) as pool:
            list(pool.map(busy, range(len(callers))))

    _, (api, store, wall, commands) = meter.cost(all_busy)
    count = len(callers) * rounds * len(KINDS)
    return {"api_ms": api / count, "store_ms": store / count, "wall_ms": wall / count, "commands": commands / count}


def show(results: dict[int, dict[str, Any]]) -> None:
    """A table for people: one row an operation, one group of columns a size."""
    table = Table("operation", *(f"{size:,}: API + store CPU ms, wall ms, commands" for size in results))
    for name in next(iter(results.values())):
        cells = [
            f"{row['api_ms']:.1f} + {row['store_ms']:.1f}, {row['wall_ms']:.1f}, {row['commands']:.1f}"
            for row in (found[name] for found in results.values())
        ]
        table.add_row(name, *cells)
    Console().print(table)
    for size, original in ORIGINAL_MS.items():
        if size in results:
            for name, who in (("cycle", "one caller"), ("together", f"{CALLERS} callers, as measured there")):
                row = results[size][name]
                api, both = row["api_ms"], row["api_ms"] + row["store_ms"]
                print(f"{size:,}, {who}: the original's {original:.0f} ms are {original / both:.1f} times our cycle; "
                      f"its server's 172 ms are {172 / api:.1f} times our API's")  # fmt: skip


def main() -> None:
    """Measure, show, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="messages")
    parser.add_argument("--rounds", type=int, default=30, help="tasks of each kind")
    parser.add_argument("--keep", type=Path, default=ROOT / "var" / "bench" / "collection", help="folder of the stores")
    parser.add_argument("--fresh", action="store_true", help="fill the stores anew")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results there")
    options = parser.parse_args()
    results = {size: measure(size, options.rounds, options.keep, options.fresh) for size in options.sizes}
    show(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
