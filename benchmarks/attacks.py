"""What it costs to refuse a hostile request: CPU and memory, each from the request's bytes to the answer's.

    python -m benchmarks.attacks [--rounds 9] [--json FILE]

Requests go through the whole app in this process (middleware, body, JSON, parser, limits, rules), without a network and
without stores: none of them gets as far. No text comes twice, so no cache helps. `cpu_ms` is the median of the rounds,
`worst_ms` the slowest of them, which is told and not judged, `peak_mb` what the answer allocated at most, measured in
a round of its own. The bounds, 50 ms and 10 MB, are for one slow core; the exit code says whether all held.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from api.app import create_app
from api.draining import Draining
from api.garbage import settle
from api.settings import Settings
from core.records import User
from graphql_schema.context import Services
from graphql_schema.streams import Streams
from tests.graphql_schema import hostile

MOST_MS, MOST_MB = 50.0, 10.0
BODY = 64 * 1024


def document(text: str) -> bytes:
    """The body of a request for a document."""
    return orjson.dumps({"query": text})


def filled(make: Callable[[int], str]) -> bytes:
    """The longest document of its kind that a body may hold."""
    n = BODY // max(1, len(make(1001)) - len(make(1000)))
    while len(body := document(make(n))) > BODY - 60:
        n -= max(1, n // 100)
    return body


def attacks() -> dict[str, bytes]:
    """Name and body of each request."""
    found = {name: document(make(n)) for name, (make, n, _) in hostile.ATTACKS.items()}
    long = (hostile.chained_fragments, hostile.chained_fragments_below, hostile.aliases, hostile.unknown_types_below)
    for make in long:
        found[f"{make.__name__.replace('_', ' ')}, 64 kB"] = filled(make)
    take = "mutation ($input: RequestTaskInput!) { requestTask(input: $input) { task { id } } }"
    most = BODY - 200
    found |= {
        "variables nested 200 deep": orjson.dumps({"query": take, "variables": hostile.nested_variables(100)}),
        "variables of 64 kB": orjson.dumps({"query": take, "variables": {"input": {"langs": ["a"] * (most // 4)}}}),
        "64 kB of brackets": b"[" * most,
        "64 kB of one name": document("{ " + "a" * (most - 20) + " }"),
        "64 kB that is no JSON": b"\xff" * most,
        "a batch": orjson.dumps([{"query": "{ viewer { roles } }"}] * 1500),
        "a body over the limit": document("{ viewer { roles } } #" + "x" * BODY),
    }
    return found


async def ask(app: Any, body: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to one request."""
    sent, said = False, []

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    scope = {
        "type": "http", "method": "POST", "path": "/graphql", "raw_path": b"/graphql", "query_string": b"",
        "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http",
        "http_version": "1.1", "asgi": {"version": "3.0"}, "root_path": "", "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    return said[0]["status"], b"".join(each.get("body", b"") for each in said[1:])


def fresh(body: bytes, number: int) -> bytes:
    """The same request with a text that no cache has seen."""
    return body.replace(b'{"query":"', b'{"query":"#%d\\n' % number, 1)


async def measure(app: Any, body: bytes, rounds: int) -> dict[str, Any]:
    """CPU and memory of refusing one request."""
    times = []
    for number in range(rounds):
        text = fresh(body, number)
        started = time.process_time()
        status, answer = await ask(app, text)
        times.append((time.process_time() - started) * 1000)
    assert status == 413 or b'"errors"' in answer, f"it was not refused: {answer[:300]!r}"
    assert b"INTERNAL" not in answer, f"it was not refused as it should be: {text[:300]!r} {answer[:300]!r}"
    tracemalloc.start()
    await ask(app, fresh(body, rounds))
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return {"bytes": len(body), "status": status, "cpu_ms": median(times), "worst_ms": max(times), "peak_mb": peak}


def make_app(folder: Path) -> Any:
    """The app as production has it, with services that have nothing behind them."""
    settings = Settings(
        mode="embedded", mongodb_uri="mongodb://127.0.0.1:1", token_key_file=folder / "token.pem",
        introspection="anyone", log_level="ERROR",
    )  # fmt: skip
    app = create_app(settings)
    streams = Streams()
    app.state.services = Services(streams=streams, sign_in=_nobody)
    app.state.draining = Draining(streams, 0)
    settle()  # as at the start of a process that serves
    return app


async def _nobody(user: User) -> Any:
    raise NotImplementedError


async def run(rounds: int) -> dict[str, dict[str, Any]]:
    """Every attack's measures."""
    with tempfile.TemporaryDirectory() as name:
        app = make_app(Path(name))
        for number in range(3):  # what a process does only once is no part of it
            await ask(app, fresh(document("{ nothing viewer { nothing } }"), number))
        return {attack: await measure(app, body, rounds) for attack, body in attacks().items()}


def main() -> int:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = asyncio.run(run(arguments.rounds))
    table = Table("attack", "bytes", "status", "CPU ms", "worst ms", "peak MB")
    for name, each in found.items():
        numbers = (f"{each[key]:.1f}" for key in ("cpu_ms", "worst_ms", "peak_mb"))
        table.add_row(name, f"{each['bytes']:,}", str(each["status"]), *numbers)
    Console().print(table)
    held = all(each["cpu_ms"] < MOST_MS and each["peak_mb"] < MOST_MB for each in found.values())
    if arguments.json:
        result = {"attacks": found, "bounds": {"cpu_ms": MOST_MS, "peak_mb": MOST_MB}, "held": held}
        arguments.json.write_text(json.dumps(result, indent=1))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
