"""The records of moderation as plain data: what is in the queue, acts of the journal, outcomes. Knows no store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.errors import Forbidden, OaError
from core.records import Record, User, milliseconds, now, time_key

if TYPE_CHECKING:
    from core.facts import Facts

ACTS = ("delete", "restore", "accept", "refuse", "halt", "resume", "dismiss")
"""What a moderator may do; `dismiss` closes what the queue holds and changes nothing else."""
MOST = 100
"""Targets of one bulk act."""
REASONS = ("report", "red_flag", "auto_deleted", "auto_aborted", "auto_halted", "disputed", "unreviewed", "scorer",
           "flood", "appeal")  # fmt: skip
"""Why something is looked at."""
SUBJECTS = ("message", "tree", "user")
EVIDENCE = 50
"""Pieces of evidence kept with an item; `count` goes on."""


@dataclass(frozen=True, kw_only=True)
class ModerationItem(Record):
    """One thing to look at.

    Attributes:
        subject: `message:<id>`, `tree:<id>` or `user:<id>`.
        tree_id, lang, collection: of the message or tree; none for a user.
        reason: of `REASONS`.
        priority: 0 (first) to 9.
        evidence: the latest pieces, oldest first; `count` is all there ever were.
        state: `open` or `done`.
        claimed_by, claimed_until: who looks at it, until when (milliseconds since 1970).
        decision: {"act", "reason", "by", "at"} of who closed it last.
    """

    subject: str
    reason: str
    priority: int = 5
    tree_id: str | None = None
    lang: str = ""
    collection: str | None = None
    evidence: tuple[dict[str, Any], ...] = ()
    count: int = 0
    state: str = "open"
    claimed_by: str | None = None
    claimed_until: int = 0
    decision: dict[str, Any] | None = None
    created_at: datetime = field(default_factory=now)
    rev: int = 0

    @property
    def subject_id(self) -> str:
        """Own id of the subject."""
        return self.subject.partition(":")[2]

    @property
    def place(self) -> str:
        """Where it stands in the queue: by priority, then by time."""
        return f"{self.priority}|{time_key(self.created_at, self.id)}"

    @property
    def appeal_id(self) -> str | None:
        """The appeal that it is there for, the latest of them; None for other reasons."""
        if self.reason != "appeal" or not self.evidence:
            return None
        return f"{self.subject_id}|{self.evidence[-1].get('decision')}"

    def _keys(self) -> dict[str, Any]:
        fields = {"open_all": "", "open_lang": f"{self.lang}|", "open_reason": f"{self.reason}|",
                  "open_lang_reason": f"{self.lang}|{self.reason}|"}  # fmt: skip
        return {name: prefix + self.place if self.state == "open" else None for name, prefix in fields.items()}

    def claimed_by_other(self, user: User) -> bool:
        """Whether somebody else looks at it now."""
        return self.claimed_by not in (None, user.id) and self.claimed_until > milliseconds(now())


def may_moderate(user: User, lang: str) -> bool:
    """Whether `user` moderates what is in `lang`; what is in no language is for those who moderate all."""
    if user.has_role("admin"):
        return True
    return user.has_role("moderator") and (not user.moderates or lang in user.moderates)


def check_moderator(user: User, lang: str | None = None) -> None:
    """Raise `Forbidden` for anyone who is neither moderator (of `lang`, where given) nor admin."""
    if not user.has_role("moderator", "admin"):
        raise Forbidden("only moderators may do this")
    if lang is not None and not may_moderate(user, lang):
        raise Forbidden(f"you moderate {', '.join(user.moderates)}; this is in {lang or 'no language'}")


def with_evidence(item: ModerationItem, piece: Mapping[str, Any], priority: int) -> ModerationItem:
    """`item` with one more piece of evidence, open again if it was done; itself where it has that piece."""
    if any(each["key"] == piece["key"] for each in item.evidence):
        return item
    evidence = (*item.evidence, dict(piece))[-EVIDENCE:]
    priority = min(item.priority, priority) if item.state == "open" else priority
    return replace(item, evidence=evidence, count=item.count + 1, priority=priority, state="open")


@dataclass(frozen=True, kw_only=True)
class PurgePreview:
    """What a purge would erase, and what of a user would stay.

    Attributes:
        token: a hash of all that would go.
        trees: whole conversations; `messages`: in them and in others, `by_others` of them not by the user aimed at.
        reviews_gone, rankings_gone: of what goes; `rankings_cut`: of what stays, which lose replies.
        reactions: to what goes.
        reviews, rankings: that the user gave and that stay.
    """

    token: str
    trees: int = 0
    messages: int = 0
    by_others: int = 0
    reviews_gone: int = 0
    rankings_gone: int = 0
    rankings_cut: int = 0
    reactions: int = 0
    reviews: int = 0
    rankings: int = 0

    def adding(self, facts: Facts, going: set[str], user_id: str | None) -> PurgePreview:
        """With what goes of one more tree."""
        gone = [each for each in facts.rankings if each.parent_id in going]
        cut = [each for each in facts.rankings if not going.isdisjoint(each.ranking or each.served)]
        others = [each for each in facts.messages if each.id in going and each.author_id != user_id]
        return replace(
            self,
            trees=self.trees + (facts.tree.id in going),
            messages=self.messages + len(going),
            by_others=self.by_others + (len(others) if user_id is not None else 0),
            reviews_gone=self.reviews_gone + sum(each.message_id in going for each in facts.reviews),
            rankings_gone=self.rankings_gone + len(gone),
            rankings_cut=self.rankings_cut + len(cut) - sum(each in cut for each in gone),
            reactions=self.reactions + sum(each.message_id in going for each in facts.reactions),
        )


@dataclass(frozen=True)
class Outcome:
    """What became of one target of a bulk act; `error` is None where it was done."""

    target: str
    error: OaError | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One act: `kind` was done to `subject` (an id) by `by` (a user id; None for the machinery)."""

    id: str
    kind: str
    subject: str
    by: str | None
    details: dict[str, Any]
    at: datetime
    by_time: str
