"""Open work, as it is stored; how places of it are taken is in `core.work`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from core.pools import DEFAULT, pool_of
from core.records import Record

NEVER = 10**15
"""Milliseconds since 1970 that no clock reaches."""


@dataclass(frozen=True, kw_only=True)
class Work(Record):
    """A piece of open work. The id is `kind:target`, so there is one of each.

    Attributes:
        kind: of `TASK_KINDS`.
        tree_id: None for an initial prompt.
        target_id: as in `Task`.
        priority: one digit, `0` before `9`.
        random: where it stands among its equals.
        free: places that nobody holds.
        holds: task id -> {"user": id, "until": milliseconds since 1970} of those who hold a place.
        excluded: users who may not take it: authors, earlier reviewers, skippers, holders.
        served: replies to rank.
        thread: message ids from the root to the target.
        gold: a question with a known answer; it has ranges of keys of its own.
        since: when it was opened or last answered, of reviews and rankings, in milliseconds since 1970; else 0.
        lapses_at: until when an answer is waited for, in milliseconds since 1970 (`core.patience`).
        rev: grows with every change.
    """

    kind: str
    lang: str
    collection: str = DEFAULT
    tree_id: str | None = None
    target_id: str | None = None
    priority: str = "5"
    random: str = ""
    free: int = 0
    holds: dict[str, dict[str, Any]] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()
    served: tuple[str, ...] = ()
    thread: tuple[str, ...] = ()
    gold: bool = False
    since: int = 0
    lapses_at: int = NEVER
    rev: int = 0

    def _keys(self) -> dict[str, Any]:
        kind = f"gold:{self.kind}" if self.gold else self.kind
        key = f"{kind}|{self.pool}|{self.priority}|{self.random}" if self.free > 0 else None
        return {"key": key, "check_at": min((hold["until"] for hold in self.holds.values()), default=self.lapses_at)}

    @property
    def pool(self) -> str:
        """The pool that it is in."""
        return pool_of(self.collection, self.lang)
