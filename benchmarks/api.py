"""What GraphQL costs: CPU milliseconds of typical operations, and their ratio to hand-written routes on the same store.

    python -m benchmarks.api [--rounds 60] [--json FILE]

hello   `{ __typename }`, not signed in
page    20 messages of all trees with their cursors
tree    a tree of 40 messages: texts, ranks, labels, emojis, parents, authors
cycle   a prompt's task taken and answered: two mutations

Each by GraphQL and by `benchmarks.simulated.plain_routes`, turn by turn in one run, both with sign-in, middleware and
the same embedded store, and both answering the same data, which is compared. `process`: the app called in this process
without sockets. `http`: uvicorn in a process of its own, called over one kept connection. CPU is that of the process
that runs the app, by its own clock (Linux); the store's is left out. Medians. Rate limits and sweeper are off.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import orjson
from rich.console import Console
from rich.table import Table
from starlette.types import ASGIApp
from starlette.types import Message as Event

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from api.keys import load_keys  # noqa: E402
from api.settings import Settings  # noqa: E402
from api.tokens import Tokens  # noqa: E402
from benchmarks.collection import CONFIG  # noqa: E402
from benchmarks.simulated import full_store, plain_routes  # noqa: E402
from core.database import connect  # noqa: E402
from core.records import Message, Tree  # noqa: E402
from graphql_schema.relay import global_id  # noqa: E402
from oa import embedded  # noqa: E402

STORED = 2_000
"""Messages in the store, besides the tree's."""
TREE = "tree-of-forty"
SIZE = 40
GOAL_MS = 0.2
"""CPU milliseconds in which `hello` is to be answered within the process."""
HELLO = "{ __typename }"
PAGE = """query Page($first: Int!) { messages(first: $first) {
  edges { cursor node { id text role lang depth createdAt } } pageInfo { hasNextPage endCursor } } }"""
WHOLE = """query Whole($id: ID!) { node(id: $id) { __typename ... on Tree { id state lang messages(first: 100) { nodes {
  id text role lang depth state rank reviewCount createdAt mine synthetic
  emojis { emoji count } labels { name value count } parent { id } author { id displayName } } } } } }"""
TAKE = """mutation Take($i: RequestTaskInput!) { p: requestTask(input: $i) {
  task { __typename id kind lang } userErrors { code message path } } }"""
SUBMIT = """mutation Submit($i: SubmitPromptInput!) { p: submitPrompt(input: $i) {
  message { id text state } userErrors { code message path } } }"""

Send = Callable[[str, str, dict[str, str], bytes], Awaitable[bytes]]
"""Method, address with query, headers and body to the body of the answer."""
Clock = Callable[[], float]
"""CPU seconds so far of the process that runs the app."""


def main() -> None:
    """Measure, show, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60, help="turns of each way (of 10, 5, 3, 1 calls)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results there")
    options = parser.parse_args()
    logging.getLogger("oa.access").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), options.rounds)
    show(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def measure(home: Path, rounds: int) -> dict[str, Any]:
    """Results by place (`process`, `http`) and operation."""
    port, objects_port = embedded.free_port(), embedded.free_port()
    stores = [
        embedded.start(embedded.document_store_command(home / "store", port)),
        embedded.start(embedded.object_store_command(home / "objects", objects_port)),
    ]
    try:
        for each, store in zip((port, objects_port), stores, strict=True):
            embedded.wait_for_port(each, store)
        keys = load_keys(home / "token.pem", make=True)
        settings = Settings(
            mode="embedded", mongodb_uri=f"mongodb://{embedded.HOST}:{port}", token_key_file=home / "token.pem",
            s3_endpoint=f"http://{embedded.HOST}:{objects_port}", sweep_seconds=0, rate_limits="off", collection=CONFIG,
        )  # fmt: skip
        tokens = Tokens(keys, settings.token_issuer, settings.token_seconds)
        users = asyncio.run(filled(settings.mongodb_uri))
        process = asyncio.run(in_process(settings, tokens, users, rounds))
        return {"process": process, "http": over_http(settings, tokens, users, rounds)}
    finally:
        for store in stores:
            store.terminate()
            store.wait()


async def filled(uri: str) -> list[str]:
    """Fill the store; its people."""
    async with connect(uri) as client:
        database = client["open_assistant"]
        users = await full_store.fill(database, STORED, CONFIG)
        tree = Tree(id=TREE, lang="en", state="ready_for_export", goal_size=SIZE, author_id=users[0])
        await database["trees"].insert_one(tree.to_document())
        await database["messages"].insert_many([message(number, users).to_document() for number in range(SIZE)])
        return users


def message(number: int, users: list[str]) -> Message:
    """One of the tree's: three replies under each message, twelve people, labels and emojis as reviewers leave them."""
    parent = None if number == 0 else (number - 1) // 3
    depth, above = 0, parent
    while above is not None:
        depth, above = depth + 1, None if above == 0 else (above - 1) // 3
    labels = {name: {"value": 0.5, "count": 3} for name in ("spam", "quality", "helpfulness", "humor")}
    return Message(
        id=TREE if number == 0 else f"{TREE}-{number}", tree_id=TREE, lang="en", depth=depth, state="accepted",
        parent_id=None if parent is None else TREE if parent == 0 else f"{TREE}-{parent}",
        role=("prompter", "assistant")[depth % 2], author_id=users[number % 12], labels=labels, review_count=3,
        text=f"Message {number}. " + "Water boils at a lower temperature on a mountain. " * 8,
        rank=None if parent is None else (number - 1) % 3, emojis={"+1": 2, "red_flag": 0} if number % 2 else {},
    )  # fmt: skip


class Work:
    """The operations, each both ways: `graphql` and `plain`. Tasks are taken by other people from call to call."""

    def __init__(self, send: Send, clock: Clock, tokens: Tokens, users: list[str]) -> None:
        self.send, self.clock = send, clock
        self.signed_in = [{"authorization": f"Bearer {tokens.mint(user, ['contributor']).token}"} for user in users]
        self.turn = 0
        self.used = 0.0

    async def call(self, method: str, address: str, body: object = None, signed_in: bool = True) -> Any:
        """`data` of the answer; what the app used for it is added to `used`."""
        self.turn += 1
        headers = {"content-type": "application/json", "accept": "application/json", "host": "localhost"}
        if signed_in:
            headers |= self.signed_in[self.turn * 7 % len(self.signed_in)]
        sent = b"" if body is None else orjson.dumps(body)
        before = self.clock()
        text = await self.send(method, address, headers, sent)
        self.used += self.clock() - before
        answer = orjson.loads(text)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    async def ask(self, document: str, signed_in: bool = True, **variables: Any) -> Any:
        """The same of GraphQL."""
        return await self.call("POST", "/graphql", {"query": document, "variables": variables}, signed_in)

    async def hello(self, graphql: bool) -> Any:
        """The least there is to ask."""
        if graphql:
            return await self.ask(HELLO, signed_in=False)
        return await self.call("POST", f"{plain_routes.PREFIX}/hello", {}, signed_in=False)

    async def page(self, graphql: bool) -> Any:
        """A connection of 20 nodes."""
        if graphql:
            return await self.ask(PAGE, first=20)
        return await self.call("GET", f"{plain_routes.PREFIX}/messages?first=20")

    async def tree(self, graphql: bool) -> Any:
        """A tree of 40 messages, asked for by somebody who wrote none of them."""
        self.turn = 30
        name = global_id("Tree", TREE)
        if graphql:
            return await self.ask(WHOLE, id=name)
        return await self.call("GET", f"{plain_routes.PREFIX}/trees/{name}")

    async def cycle(self, graphql: bool) -> Any:
        """A task taken and answered; what comes back has new ids each time and is not compared."""
        self.turn += 2
        wanted = {"kind": "INITIAL_PROMPT", "langs": ["en"]}
        text = f"A question nobody asked before: {time.time_ns()}, in plain words."
        if graphql:
            taken = await self.ask(TAKE, i=wanted)
        else:
            taken = await self.call("POST", f"{plain_routes.PREFIX}/tasks", wanted)
        assert taken["p"]["task"] is not None, taken["p"]["userErrors"]
        task, self.turn = taken["p"]["task"]["id"], self.turn - 1
        if graphql:
            done = await self.ask(SUBMIT, i={"taskId": task, "text": text})
        else:
            done = await self.call("POST", f"{plain_routes.PREFIX}/tasks/{task}/prompt", {"text": text})
        assert done["p"]["message"]["text"] == text, done["p"]["userErrors"]
        return None

    async def measured(self, rounds: int) -> dict[str, dict[str, float]]:
        """Medians by operation; the two ways turn by turn, some calls a turn. A tenth of the rounds only warms up."""
        samples: dict[tuple[str, bool], list[float]] = defaultdict(list)
        for turn in range(-(rounds // 10) - 2, rounds):
            for operation, times in ((self.hello, 10), (self.page, 5), (self.tree, 3), (self.cycle, 1)):
                answers = []
                for graphql in (True, False):
                    self.used = 0.0
                    answers.append([await operation(graphql) for _ in range(times)][-1])
                    if turn >= 0:
                        samples[operation.__name__, graphql].append(1000 * self.used / times)
                assert answers[0] == answers[1], (operation.__name__, *answers)
        return {
            name: {"cpu_ms": (ours := median(samples[name, True])), "handwritten_ms": (plain := median(taken)),
                   "ratio_to_handwritten": ours / plain, "samples": len(taken)}
            for (name, graphql), taken in samples.items() if not graphql
        }  # fmt: skip


async def in_process(settings: Settings, tokens: Tokens, users: list[str], rounds: int) -> dict[str, Any]:
    """Call the app without sockets."""
    app = plain_routes.Both(settings)
    async with app.api.router.lifespan_context(app.api):
        return await Work(partial(call_asgi, app), time.process_time, tokens, users).measured(rounds)


async def call_asgi(app: ASGIApp, method: str, address: str, headers: dict[str, str], body: bytes) -> bytes:
    """One request to `app`; the body of its answer."""
    path, _, query = address.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": (embedded.HOST, 1), "server": (embedded.HOST, 80), "state": {},
    }  # fmt: skip
    messages: list[Event] = [{"type": "http.request", "body": body, "more_body": False}]
    answer = []

    async def receive() -> Event:
        return messages.pop() if messages else await asyncio.Future()

    async def send(message: Event) -> None:
        answer.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"".join(answer)


def over_http(settings: Settings, tokens: Tokens, users: list[str], rounds: int) -> dict[str, Any]:
    """Call the app under uvicorn, in a process of its own."""
    port = embedded.free_port()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(settings, port), daemon=True)
    process.start()
    try:
        embedded.wait_for_port(port)
        return asyncio.run(call_over_http(port, process.pid or 0, tokens, users, rounds))
    finally:
        process.terminate()
        process.join()


async def call_over_http(port: int, server: int, tokens: Tokens, users: list[str], rounds: int) -> dict[str, Any]:
    """Measure the process `server` by its CPU clock (clock_getcpuclockid(3): the number of a process's clock)."""
    async with httpx.AsyncClient(base_url=f"http://{embedded.HOST}:{port}", timeout=60) as client:

        async def send(method: str, address: str, headers: dict[str, str], body: bytes) -> bytes:
            return (await client.request(method, address, headers=headers, content=body)).content

        return await Work(send, lambda: time.clock_gettime(~server << 3 | 2), tokens, users).measured(rounds)


def serve(settings: Settings, port: int) -> None:
    """The app under uvicorn, in this process."""
    import uvicorn

    both = plain_routes.Both(settings)
    uvicorn.run(both, host=embedded.HOST, port=port, log_level="error", access_log=False)


def show(results: dict[str, dict[str, dict[str, float]]]) -> None:
    """A table for people."""
    table = Table("where", "operation", "GraphQL, CPU ms", "by hand, CPU ms", "ratio")
    for place, found in results.items():
        for name, row in found.items():
            table.add_row(
                place, name, f"{row['cpu_ms']:.2f}", f"{row['handwritten_ms']:.2f}",
                f"{row['ratio_to_handwritten']:.2f}",
            )  # fmt: skip
    Console().print(table)
    least = results["process"]["hello"]["cpu_ms"]
    print(f"hello within the process: {least:.3f} ms of CPU; the goal is under {GOAL_MS} ms")


if __name__ == "__main__":
    main()
