"""What contributors see of their own work, as plain records and pure rules: verdicts, appeals, agreement. No store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.records import Message, Record, milliseconds, now, time_key

APPEAL_STATES = ("open", "upheld", "rejected")
AGAINST = ("spam", "fails_task", "lang_mismatch", "pii", "not_appropriate", "hate_speech", "sexual_content")
"""Labels that speak against a message."""
SHOWN_FROM = 0.3
"""Mean answer from which such a label is given to the author as a reason."""


@dataclass(frozen=True, kw_only=True)
class Appeal(Record):
    """An author's appeal against one decision; the id is `message|decision`, so there is one of each.

    Attributes:
        decision: what it is against, see `decision_of`.
        text: the author's words.
        state: of `APPEAL_STATES`.
        answer: the deciding moderator's words.
        applied: what follows from the decision has been done.
    """

    message_id: str
    tree_id: str
    lang: str
    user_id: str
    decision: str
    text: str
    state: str = "open"
    answer: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    applied: bool = False
    created_at: datetime = field(default_factory=now)

    def _keys(self) -> dict[str, Any]:
        when = time_key(self.created_at, self.id)
        return {
            "by_user": f"{self.user_id}|{when}",
            "unapplied": when if self.state != "open" and not self.applied else None,
        }


@dataclass(frozen=True, kw_only=True)
class DataExport(Record):
    """All of one's data, asked for; the id is the person's.

    Attributes:
        number: how many this person has asked for.
        name: random part of its key in the object store.
        state: `waiting` or `ready`.
        size: bytes.
        expires_at: when it is removed.
    """

    number: int
    name: str
    state: str = "waiting"
    size: int = 0
    created_at: datetime = field(default_factory=now)
    expires_at: datetime | None = None

    def _keys(self) -> dict[str, Any]:
        return {"due": milliseconds(self.expires_at or self.created_at)}


def decision_of(message: Message) -> str | None:
    """A name for the standing decision against a message that its author may appeal against; None where there is none.

    A further ruling makes a further decision. What the author took back, or what went out with the message above it,
    was not decided about this message.
    """
    number = (message.ruling or {}).get("number", 0)
    if message.removed in ("moderator", "flags"):
        return f"{message.removed}-{number}"
    return f"refused-{number}" if message.state == "refused" and not message.deleted else None


def untouched(message: Message) -> bool:
    """Whether nobody has decided, reviewed or ranked anything about a message: its author may still change it."""
    said = message.review_count or message.ranking_count or message.ruling is not None or message.base is not None
    return message.state == "pending" and not message.deleted and not said


def reasons_against(message: Message) -> dict[str, Mapping[str, float]]:
    """The labels that speak against a message, with mean and number of answers, the strongest first."""
    against = {name: message.labels[name] for name in AGAINST if name in message.labels}
    strong = [(name, label) for name, label in against.items() if label["value"] >= SHOWN_FROM]
    return dict(sorted(strong, key=lambda item: -item[1]["value"]))


@dataclass(frozen=True)
class Contribution:
    """A message of one's own, and one's appeal against the decision that stands."""

    message: Message
    appeal: Appeal | None


@dataclass(frozen=True)
class RankingFeedback:
    """One's ranking held against the consensus.

    Attributes:
        ranking_id, parent_id, created_at: of the ranking.
        mine: message ids, best first, in groups of equally good ones.
        consensus: the same messages in the order of their ranks.
        tau: Kendall's tau-b between the two, from -1 to 1; None while there is no consensus, or nothing to compare.
    """

    ranking_id: str
    parent_id: str
    created_at: datetime
    mine: tuple[tuple[str, ...], ...]
    consensus: tuple[str, ...]
    tau: float | None

    @property
    def key(self) -> str:
        """Its cursor."""
        return time_key(self.created_at, self.ranking_id)


@dataclass(frozen=True)
class Agreement:
    """How one's reviews and rankings of one month agree with what came of them.

    Attributes:
        month: `2026-11`, or `all`.
        reviews: of messages that have been decided; `agreed` of them spoke for the verdict.
        rankings: of replies that have a consensus; `tau` is the mean of theirs, None without any.
    """

    month: str
    reviews: int
    agreed: int
    rankings: int
    tau: float | None


@dataclass(frozen=True)
class Revision:
    """A text that a message had, from `at` on until the next one."""

    number: int
    text: str
    at: datetime


def agreement(
    reviews: Sequence[tuple[datetime, bool | None]], rankings: Sequence[tuple[datetime, float | None]]
) -> list[Agreement]:
    """The sums over all, then month by month, the latest first.

    Args:
        reviews: when each was given, and whether it agreed; None while undecided.
        rankings: when each was given, and its tau; None while there is no consensus.
    """
    months = sorted({f"{at:%Y-%m}" for at, known in (*reviews, *rankings) if known is not None}, reverse=True)
    return [_sums(month, reviews, rankings) for month in ("all", *months)]


def _sums(
    month: str, reviews: Sequence[tuple[datetime, bool | None]], rankings: Sequence[tuple[datetime, float | None]]
) -> Agreement:
    agreed = [known for at, known in reviews if known is not None and month in ("all", f"{at:%Y-%m}")]
    taus = [known for at, known in rankings if known is not None and month in ("all", f"{at:%Y-%m}")]
    return Agreement(month, len(agreed), sum(agreed), len(taus), sum(taus) / len(taus) if taus else None)
