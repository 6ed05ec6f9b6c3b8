"""Headers in ASGI's own form, for what looks at every request: pairs of bytes, names in lower case.

Starlette's classes encode a name and decode a value for each look; with a dozen looks a request that is felt.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from starlette.types import Message, Scope

Pairs: TypeAlias = list[tuple[bytes, bytes]]


def given(scope: Scope, name: bytes) -> str | None:
    """The value of a request's header, the first of that name; None where there is none."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


def set_header(start: Message, name: bytes, value: bytes) -> None:
    """Have an answer's header say `value` and nothing else."""
    start["headers"] = [pair for pair in start.get("headers", ()) if pair[0] != name]
    start["headers"].append((name, value))


def add_missing(start: Message, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """Add those of an answer's headers that it has not got."""
    headers: Pairs = list(start.get("headers", ()))
    there = {name for name, _ in headers}
    headers += [pair for pair in pairs if pair[0] not in there]
    start["headers"] = headers
