"""Groups of alike texts by several people, as in a flood: page by page, back in time.

A page looks at the latest `GROUPED` texts before the end of the one before, and at the `MARGIN` texts just after that
end, so that a group across it is not missed: it is on both pages, on the later one with what lies in the margin.
Texts that share a key (`core.sketches`) are in one group; a text is in one group of a page, the one of most people.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from core.alike import Group, GroupPage
from core.database import Database, Document
from core.errors import BadInput
from core.records import milliseconds, now
from core.sketches import BAND_NAMES

GROUPED = 500
"""Latest texts among which groups are looked for."""
MARGIN = 250
"""Texts after those that are looked at too."""


class _Place(NamedTuple):
    """How far was read, in milliseconds since 1970: a cursor.

    Attributes:
        until: when all pages begin.
        edge: of the latest texts of this page.
        given: groups of this page that were given.
    """

    until: int
    edge: int
    given: int

    def __str__(self) -> str:
        return "|".join(map(str, self))


async def groups_page(
    database: Database, back: timedelta, people: int, langs: Sequence[str] = (), until: datetime | None = None,
    after: str | None = None, first: int = 20,
) -> GroupPage:  # fmt: skip
    """Groups of alike texts by at least `people` different people; of one page those of most people first.

    Args:
        back: how far the last page goes back from `until`.
        langs: of the texts; none for all.
        until: now where it is not given; of no meaning with `after`, which keeps it.
        after: a cursor of a page before.

    Raises:
        BadInput: `after` is none.
    """
    begun = milliseconds(until or now())
    place = _Place(begun, begun, 0) if after is None else _place(after)
    since = place.until - round(back.total_seconds() * 1000)
    own, lower = await _texts(database, langs, since, place.edge)
    margin = await _margin(database, langs, place) if own else []
    mine = {row["_id"] for row in own}
    found = [group for group in _grouped([*own, *margin], people) if not mine.isdisjoint(group.message_ids)]
    found = found[place.given :]
    items = [(str(place._replace(given=place.given + n)), group) for n, group in enumerate(found[:first], 1)]
    left = len(found) > first
    end = None if left or lower is None else str(_Place(place.until, lower, 0))
    return GroupPage(tuple(items), has_next=left or lower is not None, end=end)


def _place(cursor: str) -> _Place:
    try:
        until, edge, given = (int(part) for part in cursor.split("|"))
    except ValueError:
        raise BadInput(f"after is {cursor[:40]!r}, which is no cursor of this list", path=("after",)) from None
    return _Place(until, edge, max(0, given))


async def _texts(
    database: Database, langs: Sequence[str], since: int, edge: int
) -> tuple[list[Document], int | None]:  # fmt: skip
    """The latest `GROUPED` texts up to `edge`, and up to when those of the next page go, None where there are no more.

    Texts of one millisecond stay together: of more than `GROUPED` such, the rest is passed over.
    """
    found = database["text_bands"].find(_query(langs, {"$gte": since, "$lte": edge}), {"sketch": 0})
    rows = [row async for row in found.sort("at", -1).limit(GROUPED + 1)]
    if len(rows) <= GROUPED:
        return rows, None
    lower = int(rows.pop()["at"])
    own = [row for row in rows if row["at"] > lower]
    return (own, lower) if own else (rows, lower - 1)


async def _margin(database: Database, langs: Sequence[str], place: _Place) -> list[Document]:
    if place.edge >= place.until:
        return []
    found = database["text_bands"].find(_query(langs, {"$gt": place.edge, "$lte": place.until}), {"sketch": 0})
    return [row async for row in found.sort("at", 1).limit(MARGIN)]


def _query(langs: Sequence[str], at: Document) -> Document:
    return {"at": at} | ({"lang": {"$in": list(langs)}} if langs else {})


def _grouped(rows: Iterable[Document], people: int) -> list[Group]:
    by_key: dict[tuple[str, str], list[Document]] = defaultdict(list)
    for row in rows:
        for name in BAND_NAMES:
            if name in row:
                by_key[name, row[name]].append(row)
    several = [(key, alike, {row["user_id"] for row in alike}) for key, alike in by_key.items() if len(alike) >= people]
    made: list[Group] = []
    taken: set[str] = set()
    for _, alike, writers in sorted(several, key=lambda each: (-len(each[2]), each[0])):
        messages = {row["_id"]: row["at"] for row in alike}
        if len(writers) < people or taken & messages.keys():
            continue
        taken |= messages.keys()
        ordered = tuple(sorted(messages, key=lambda identity: (messages[identity], identity)))
        made.append(Group(message_ids=ordered, user_ids=tuple(sorted(writers)), lang=alike[0]["lang"]))
    return sorted(made, key=lambda group: (-len(group.user_ids), group.message_ids))
