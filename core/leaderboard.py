"""Leaderboards and own standing, read from the score documents that `core.credits` keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from core.database import Database, Document
from core.errors import BadInput
from core.records import User, now
from core.score_documents import board, held
from core.score_marks import place_before
from core.scoring import bucket, level, next_level_at

RANK_CAP = 10_000
"""People between a mark and somebody who are counted at most."""
SPARE = 20
"""Places read beyond those asked for, since some people are not shown."""
PAGES = 100
"""Reads after which a board ends early, when hardly anybody in it may be shown."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One person's place in one time frame.

    Attributes:
        rank: from 1; None where the person has no points, or stands beyond `RANK_CAP` before there are marks.
        points: of the frame.
        level: by `total` points, from 1 to 100.
        counts: number of acts by sort, see `core.scoring.POINTS`.
    """

    user: User
    frame: str
    rank: int | None
    points: int
    total: int
    counts: Mapping[str, int]

    @property
    def level(self) -> int:
        """By all points ever, from 1 to 100."""
        return level(self.total)

    @property
    def next_level_at(self) -> int | None:
        """Points in all at which the next level begins; None at the last."""
        return next_level_at(self.total)


@dataclass(frozen=True)
class BoardPage:
    """Some places of a board, best first, each with its key, and whether more follow the last."""

    places: tuple[tuple[str, Standing], ...]
    has_next: bool


async def leaderboard(
    database: Database, frame: str, first: int = 20, *, moment: datetime | None = None
) -> list[Standing]:
    """The best `first` people of the frame (`day`, `week`, `month`, `total`) that holds `moment`, best first."""
    page = await board_page(database, frame, None, first, moment=moment)
    return [standing for _, standing in page.places]


async def board_page(
    database: Database, frame: str, after: str | None, first: int = 20, *, moment: datetime | None = None
) -> BoardPage:
    """Places of the frame that holds `moment`, best first, behind the key `after` of one; from the top without.

    People who are disabled, deleted or hidden are left out, and keep their place: everybody else has the rank that
    `standing` tells them, far down too, where marks (`core.score_marks`) save the count.

    Raises:
        BadInput: `after` is a key of another board, or of a day, week or month that is over.
    """
    name = bucket(frame, moment or now())
    start, end = _span(frame, name)
    before: int | None = 0
    if after is not None:
        if not start < after < end:
            raise BadInput(f"after is no place on the board of this {frame}; begin at the top", path=("after",))
        start, before = after, await place_before(database, frame, name, f"{after}|", RANK_CAP)
    found: list[tuple[str, Standing]] = []
    for _ in range(PAGES):
        page = await _page(database, frame, {"$gt": start, "$lt": end}, 1, first + SPARE)
        users = await _shown(database, [document["_id"] for document in page])
        for place, each in enumerate(page, 1):
            if user := users.get(each["_id"]):
                rank = None if before is None else before + place
                found.append((each[board(frame)], _standing(user, frame, name, rank, each)))
        if len(found) > first or len(page) < first + SPARE:
            break
        start, before = page[-1][board(frame)], None if before is None else before + len(page)
    return BoardPage(tuple(found[:first]), has_next=len(found) > first)


def _span(frame: str, name: str) -> tuple[str, str]:
    """Before and after all places on a board."""
    return f"{frame}|{name}|", f"{frame}|{name}}}"


def _standing(user: User, frame: str, name: str, rank: int | None, document: Document | None) -> Standing:
    """What a score document says of a bucket of a frame."""
    of_frame, total = held(document, frame, name), held(document, "total", "all")
    return Standing(
        user=user, frame=frame, rank=rank, points=of_frame["points"] if of_frame else 0,
        total=total["points"] if total else 0, counts=of_frame["counts"] if of_frame else {},
    )  # fmt: skip


async def standing(database: Database, user: User, frame: str, *, moment: datetime | None = None) -> Standing:
    """The person's own place; hidden and disabled people are counted among those before them."""
    return (await _own(database, user, frame, bucket(frame, moment or now())))[0]


async def _own(database: Database, user: User, frame: str, name: str) -> tuple[Standing, str]:
    """The person's own place, and its key; an empty one where they have none."""
    document = await database["scores"].find_one({"_id": user.id})
    mine = str(document.get(board(frame), "")) if document is not None and held(document, frame, name) else ""
    before = await place_before(database, frame, name, mine, RANK_CAP) if mine else None
    return _standing(user, frame, name, None if before is None else before + 1, document), mine


async def neighbours(
    database: Database, user: User, frame: str, size: int = 20, *, moment: datetime | None = None
) -> list[Standing]:
    """The person and those next to them on the board, best first, `size` at most; nobody where they have no points."""
    name = bucket(frame, moment or now())
    own, mine = await _own(database, user, frame, name)
    if own.rank is None:
        return []
    first, end = _span(frame, name)
    before, users = await _next_to(database, frame, {"$gte": first, "$lt": mine}, -1, size - 1)
    after, more = await _next_to(database, frame, {"$gt": mine, "$lt": end}, 1, size - 1)
    half = (size - 1) // 2
    fewer = max(half, size - 1 - len(after))
    before = before[:fewer]
    after = after[: size - 1 - len(before)]
    people = users | more
    beside = [(-distance, each) for distance, each in reversed(before)] + after
    row = [_standing(people[each["_id"]], frame, name, max(1, own.rank + distance), each) for distance, each in beside]
    return [*row[: len(before)], own, *row[len(before) :]]


async def _next_to(
    database: Database, frame: str, span: dict[str, str], order: int, size: int
) -> tuple[list[tuple[int, Document]], dict[str, User]]:
    """Up to `size` people of a span who may be shown, from its one end on, each with the places that it is away."""
    found = await _page(database, frame, span, order, size + SPARE)
    users = await _shown(database, [document["_id"] for document in found])
    return [(away, each) for away, each in enumerate(found, 1) if each["_id"] in users][:size], users


async def _page(database: Database, frame: str, span: dict[str, str], order: int, size: int) -> list[Document]:
    """What is shown of a span of a board, in its order; by an aggregation, which the embedded store answers sooner."""
    stages: list[Document] = [
        {"$match": {board(frame): span}}, {"$sort": {board(frame): order}}, {"$limit": size},
        {"$project": dict.fromkeys((frame, "total", board(frame)), 1)},
    ]  # fmt: skip
    return [document async for document in await database["scores"].aggregate(stages, batchSize=size + 1)]


async def first_places(database: Database, user_ids: list[str], moment: datetime) -> dict[str, int]:
    """User id -> times that a reply of theirs was ranked first in the month of `moment`, the present one."""
    name = bucket("month", moment)
    found = database["scores"].find({"_id": {"$in": user_ids}}, {"month": 1})
    months = {document["_id"]: held(document, "month", name) async for document in found}
    return {user_id: month["counts"].get("ranked_1", 0) for user_id, month in months.items() if month}


async def _shown(database: Database, user_ids: list[str]) -> dict[str, User]:
    """Those of the people who may be shown, by id."""
    found = database["users"].find({"_id": {"$in": user_ids}})
    users = [User.from_document(document) async for document in found]
    return {user.id: user for user in users if user.enabled and user.show_on_leaderboard and not user.deleted}
