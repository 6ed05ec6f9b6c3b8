"""Which credits of a tree somebody's scores hold: one document a tree, each a line `milliseconds|person|id`.

A tree's credits are read whenever something is settled in it, and of most only the ids are looked at; as documents of
their own they were most of what such a read cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from core.database import Database
from core.records import Record, milliseconds
from core.scoring import SHARED, Credit
from core.writes import Change, New, Write


@dataclass(frozen=True, kw_only=True)
class TreeCredits(Record):
    """The credits of one tree; the id is the tree's.

    Attributes:
        taken: the lines.
    """

    taken: tuple[str, ...] = ()


def line_of(credit: Credit) -> str:
    """How a credit is stored."""
    return f"{milliseconds(credit.at)}|{credit.user_id}|{credit.id}"


def id_of(line: str) -> str:
    """The id of a stored credit: `what|fact` or `what|fact|turn`."""
    return line.split("|", 2)[2]


def fact_of(line: str) -> str:
    """The fact that a stored credit is for."""
    return id_of(line).split("|")[1].split(SHARED)[0]


def user_of(line: str) -> str:
    """Whom a stored credit is of."""
    return line.split("|", 2)[1]


def first_turn(line: str) -> Credit:
    """The credit for the act of a stored one, as it was first given."""
    at, user_id, identity = line.split("|", 2)
    what, fact, *_ = identity.split("|")
    return Credit(id=f"{what}|{fact}", user_id=user_id, what=what, at=datetime.fromtimestamp(int(at) / 1000, UTC))


def storing(tree_id: str, credits: Iterable[Credit], *, first: bool) -> list[Write]:
    """What stores credits; done again, lines stand twice, which says no more than once.

    Args:
        first: there may be no document of this tree yet.
    """
    lines = [line_of(credit) for credit in credits]
    adding = Change("tree_credits", {"_id": tree_id}, {"$push": {"taken": {"$each": lines}}})
    return [New("tree_credits", {"_id": tree_id, "taken": []}), adding] if first else [adding]


async def forget(database: Database, tree_id: str, goes: Callable[[str], bool]) -> None:
    """Remove the lines that `goes` says, as if those credits had never been: what scores hold of them stays."""
    document = await database["tree_credits"].find_one({"_id": tree_id})
    if document is not None and (lines := [line for line in document["taken"] if goes(line)]):
        await database["tree_credits"].update_one({"_id": tree_id}, {"$pull": {"taken": {"$in": lines}}})
