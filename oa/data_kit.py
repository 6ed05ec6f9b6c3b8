"""What the commands for data share: progress, the database, how a result is shown, options of the same name."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from core.errors import BadInput

SECONDS = 5.0
"""Between two lines of progress, where there is no terminal."""

T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Langs = Annotated[list[str] | None, typer.Option("--lang", help="Trees of this language only; may be repeated.")]
Collections = Annotated[
    list[str] | None, typer.Option("--collection", help="Trees of this collection (its id) only; may be repeated.")
]


@contextmanager
def progress(title: str) -> Iterator[Callable[[float | None, float | None, str], None]]:
    """Progress on standard error: a bar on a terminal, else a line now and then.

    Call it with how far, of how much, and a few words.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(title)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task(title, total=None, note="")
        yield lambda done, total, note: bar.update(task, completed=done, total=total, note=note)


def _lines(title: str) -> Callable[[float | None, float | None, str], None]:
    last = time.monotonic()

    def show(done: float | None, total: float | None, note: str) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS:
            last = time.monotonic()
            far = f"{100 * done / total:.0f} %, " if done and total else ""
            print(f"{title}: {far}{note}", file=sys.stderr, flush=True)

    return show


def with_database(action: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Run `action` on the migrated database that the environment names."""
    from core.database import connect, migrate

    uri = os.environ.get("OA_MONGODB_URI")
    if not uri:
        raise BadInput("OA_MONGODB_URI is not set; start the stack with `oa up`, or set it to mongodb://HOST:PORT")

    async def run() -> T:
        async with connect(uri) as client:
            database = client[os.environ.get("OA_MONGODB_DATABASE") or "open_assistant"]
            await _migrated(database, migrate)
            return await action(database)

    return asyncio.run(run())


async def _migrated(database: Any, migrate: Callable[[Any], Coroutine[Any, Any, Any]]) -> None:
    from pymongo.errors import PyMongoError

    from core.database import unavailable

    try:
        await migrate(database)
    except PyMongoError as error:
        raise unavailable(error) from error


def say(values: dict[str, Any], as_json: bool, line: str) -> None:
    """Print a result."""
    print(json.dumps(values, ensure_ascii=False, indent=2) if as_json else line)
