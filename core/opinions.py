"""What people say of messages, as it is stored: reviews, rankings, reactions, reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.records import Record, now, time_key


@dataclass(frozen=True, kw_only=True)
class Review(Record):
    """One person's labels of one message; the id is the task's. Only answered labels are in it, each in [0, 1]."""

    tree_id: str
    message_id: str
    labels: dict[str, float]
    user_id: str | None = None
    created_at: datetime = field(default_factory=now)

    def _keys(self) -> dict[str, Any]:
        return {"by_user": f"{self.user_id or ''}|{time_key(self.created_at, self.id)}"}


@dataclass(frozen=True, kw_only=True)
class Ranking(Record):
    """One person's order of the replies to one message; the id is the task's.

    Attributes:
        parent_id: the message replied to.
        served: the replies in the order shown.
        ranking: ids of those that were judged, best first; empty only when `not_rankable`.
        tiers: sizes of the groups of equally good replies in `ranking`, in its order; empty where there are no ties.
        not_rankable: all replies are factually wrong, whatever order they have.
    """

    tree_id: str
    parent_id: str
    ranking: tuple[str, ...]
    served: tuple[str, ...] = ()
    not_rankable: bool = False
    tiers: tuple[int, ...] = ()
    user_id: str | None = None
    created_at: datetime = field(default_factory=now)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The ids in groups of equally good ones, best first."""
        groups, rest = [], self.ranking
        for size in self.tiers or (1,) * len(rest):
            groups.append(rest[:size])
            rest = rest[size:]
        return tuple(groups)

    def _keys(self) -> dict[str, Any]:
        return {"by_user": f"{self.user_id or ''}|{time_key(self.created_at, self.id)}"}


@dataclass(frozen=True, kw_only=True)
class Reaction(Record):
    """One person's emoji on a message; the id is `reaction_id` of the three, so it exists once."""

    tree_id: str
    message_id: str
    user_id: str
    emoji: str
    created_at: datetime = field(default_factory=now)


def reaction_id(message_id: str, user_id: str, emoji: str) -> str:
    """The id of a reaction."""
    return f"{message_id}|{user_id}|{emoji}"


@dataclass(frozen=True, kw_only=True)
class Report(Record):
    """One person's report of a message to the moderators; one a person and message."""

    tree_id: str
    message_id: str
    user_id: str
    reason: str
    processed: bool = False
    created_at: datetime = field(default_factory=now)

    def _keys(self) -> dict[str, Any]:
        return {"by_time": time_key(self.created_at, self.id)}
