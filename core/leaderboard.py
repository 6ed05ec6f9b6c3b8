"""Leaderboards and own standing, read from the score documents that `core.credits` keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from core.credits import board_key
from core.database import Database, Document
from core.records import User, now
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


async def leaderboard(
    database: Database, frame: str, first: int = 20, *, moment: datetime | None = None
) -> list[Standing]:
    """The best `first` people of the frame (`day`, `week`, `month`, `total`) that holds `moment`, best first.

    People who are disabled, deleted or hidden are left out, and keep their place: everybody else has the rank that
    `standing` tells them.
    """
    prefix = f"{frame}|{bucket(frame, moment or now())}|"
    documents: list[tuple[int, Document]] = []
    before = 0
    users: dict[str, User] = {}
    after = prefix
    for _ in range(PAGES):
        page = [
            document
            async for document in database["scores"]
            .find({"board": {"$gt": after, "$lt": prefix[:-1] + "}"}}, {"applied": 0})
            .sort("board")
            .limit(first + SPARE)
        ]
        users |= await _shown(database, [document["user_id"] for document in page])
        documents += [(place, each) for place, each in enumerate(page, before + 1) if each["user_id"] in users]
        before += len(page)
        if len(documents) >= first or len(page) < first + SPARE:
            break
        after = page[-1]["board"]
    documents = documents[:first]
    totals = await _totals(database, [document["user_id"] for _, document in documents])
    return [
        Standing(
            user=users[document["user_id"]], frame=frame, rank=place, points=document["points"],
            total=totals.get(document["user_id"], 0), counts=document["counts"],
        )
        for place, document in documents
    ]  # fmt: skip


async def standing(database: Database, user: User, frame: str, *, moment: datetime | None = None) -> Standing:
    """The person's own place; hidden and disabled people are counted among those before them."""
    prefix = f"{frame}|{bucket(frame, moment or now())}"
    document = await database["scores"].find_one({"_id": f"{prefix}|{user.id}"})
    totals = await _totals(database, [user.id])
    if document is None:
        return Standing(user=user, frame=frame, rank=None, points=0, total=totals.get(user.id, 0), counts={})
    mine = board_key(document, document["points"])
    before = await place_before(database, f"{prefix}|", mine, RANK_CAP)
    return Standing(
        user=user, frame=frame, rank=None if before is None else before + 1, points=document["points"],
        total=totals.get(user.id, 0), counts=document["counts"],
    )  # fmt: skip


async def neighbours(
    database: Database, user: User, frame: str, size: int = 20, *, moment: datetime | None = None
) -> list[Standing]:
    """The person and those next to them on the board, best first, `size` at most; nobody where they have no points."""
    own = await standing(database, user, frame, moment=moment)
    prefix = f"{frame}|{bucket(frame, moment or now())}|"
    document = await database["scores"].find_one({"_id": f"{prefix}{user.id}"}, {"applied": 0})
    if document is None or own.rank is None:
        return []
    mine = board_key(document, document["points"])
    before, users = await _next_to(database, {"$gte": prefix, "$lt": mine}, -1, size - 1)
    after, more = await _next_to(database, {"$gt": mine, "$lt": prefix[:-1] + "}"}, 1, size - 1)
    half = (size - 1) // 2
    fewer = max(half, size - 1 - len(after))
    before = before[:fewer]
    after = after[: size - 1 - len(before)]
    people = users | more | {user.id: user}
    row = [(-distance, each) for distance, each in reversed(before)] + [(0, document)] + after
    totals = await _totals(database, [each["user_id"] for _, each in row])
    return [
        Standing(
            user=people[each["user_id"]], frame=frame, rank=max(1, own.rank + distance), points=each["points"],
            total=totals.get(each["user_id"], 0), counts=each["counts"],
        )
        for distance, each in row
    ]  # fmt: skip


async def _next_to(
    database: Database, span: dict[str, str], order: int, size: int
) -> tuple[list[tuple[int, Document]], dict[str, User]]:
    """Up to `size` people of a span who may be shown, from its one end on, each with the places that it is away."""
    cursor = database["scores"].find({"board": span}, {"applied": 0}).sort("board", order).limit(size + SPARE)
    found = [document async for document in cursor]
    users = await _shown(database, [document["user_id"] for document in found])
    return [(away, each) for away, each in enumerate(found, 1) if each["user_id"] in users][:size], users


async def _totals(database: Database, user_ids: list[str]) -> dict[str, int]:
    query = {"_id": {"$in": [f"total|all|{user_id}" for user_id in user_ids]}}
    return {document["user_id"]: document["points"] async for document in database["scores"].find(query)}


async def first_places(database: Database, user_ids: list[str], moment: datetime) -> dict[str, int]:
    """User id -> times that a reply of theirs was ranked first in the month of `moment`."""
    query = {"_id": {"$in": [f"month|{bucket('month', moment)}|{user_id}" for user_id in user_ids]}}
    found = database["scores"].find(query)
    return {document["user_id"]: document["counts"].get("ranked_1", 0) async for document in found}


async def _shown(database: Database, user_ids: list[str]) -> dict[str, User]:
    """Those of the people who may be shown, by id."""
    found = database["users"].find({"_id": {"$in": user_ids}})
    users = [User.from_document(document) async for document in found]
    return {user.id: user for user in users if user.enabled and user.show_on_leaderboard and not user.deleted}
