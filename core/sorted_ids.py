"""Many ids in order, in constant memory: sorted runs in temporary files, merged when they are read."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO

import orjson

HELD = 20_000
"""Ids held in memory (2 MB)."""


class SortedIds:
    """Takes ids in any order and gives them sorted; use as a context, which removes its files."""

    def __init__(self, held: int = HELD) -> None:
        self._held, self._waiting, self._count = held, list[str](), 0
        self._runs: list[IO[bytes]] = []
        self._files = ExitStack()

    def add(self, identity: str) -> None:
        """Take one more."""
        self._waiting.append(identity)
        self._count += 1
        if len(self._waiting) >= self._held:
            run = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
            run.writelines(orjson.dumps(each) + b"\n" for each in sorted(self._waiting))
            self._runs.append(run)
            self._waiting.clear()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        """All of them from the first; one reader at a time."""
        yield from heapq.merge(*map(_read, self._runs), sorted(self._waiting))

    def __enter__(self) -> SortedIds:
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()


def _read(run: IO[bytes]) -> Iterator[str]:
    run.seek(0)
    return map(orjson.loads, run)
