"""What a collection is, besides its trees: name, languages, rules of its own. Knows no store."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.records import Record, now

LIMITS = {
    "goal_size": (1, 1000), "max_depth": (0, 50), "max_children": (1, 50), "num_rankings": (1, 20),
    "num_reviews_prompt": (1, 20), "num_reviews_reply": (1, 20),
}  # fmt: skip
"""Limits of one tree, and from where to where each may be set."""


@dataclass(frozen=True, kw_only=True)
class CollectionRecord(Record):
    """One collection.

    Attributes:
        name: for people.
        langs: languages that are collected; empty for all.
        changes: settings that differ from those that the deployment was started with.
        open: whether tasks are handed out.
        version: grows with every change; 0 for the default collection before its first.
        pending: of the latest change, who made it and what was before, until all that follows from it is done.
    """

    name: str
    langs: tuple[str, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)
    open: bool = True
    version: int = 0
    pending: dict[str, Any] | None = None
    created_at: datetime = field(default_factory=now)
