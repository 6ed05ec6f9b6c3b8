"""Leaderboards and own standing, read from the score documents that `core.credits` keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from core.credits import board_key
from core.database import Database, Document, count_range
from core.records import User, now
from core.scoring import bucket, level

RANK_CAP = 10_000
"""Places beyond this are not counted."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One person's place in one time frame.

    Attributes:
        rank: from 1; None where the person has no points or is beyond `RANK_CAP`.
        points: of the frame.
        level: by total points, from 1 to 100.
        counts: number of acts by sort, see `core.scoring.POINTS`.
    """

    user: User
    frame: str
    rank: int | None
    points: int
    level: int
    counts: Mapping[str, int]


async def leaderboard(
    database: Database, frame: str, first: int = 20, *, moment: datetime | None = None
) -> list[Standing]:
    """The best `first` people of the frame (`day`, `week`, `month`, `total`) that holds `moment`, best first.

    People who are disabled, deleted or hidden take no place.
    """
    prefix = f"{frame}|{bucket(frame, moment or now())}|"
    query = {"board": {"$gte": prefix, "$lt": prefix[:-1] + "}"}}
    documents: list[Document] = []
    users: dict[str, User] = {}
    cursor = database["scores"].find(query).sort("board").limit(RANK_CAP).batch_size(max(100, first))
    async for document in cursor:
        user = await database["users"].find_one({"_id": document["user_id"]})
        if user is not None and _shown(user):
            users[user["_id"]] = User.from_document(user)
            documents.append(document)
        if len(documents) >= first:
            break
    totals = await _totals(database, list(users))
    return [
        Standing(
            user=users[document["user_id"]], frame=frame, rank=place, points=document["points"],
            level=level(totals.get(document["user_id"], 0)), counts=document["counts"],
        )
        for place, document in enumerate(documents, start=1)
    ]  # fmt: skip


async def standing(database: Database, user: User, frame: str, *, moment: datetime | None = None) -> Standing:
    """The person's own place; hidden and disabled people are counted among those before them."""
    prefix = f"{frame}|{bucket(frame, moment or now())}"
    document = await database["scores"].find_one({"_id": f"{prefix}|{user.id}"})
    totals = await _totals(database, [user.id])
    if document is None:
        return Standing(user=user, frame=frame, rank=None, points=0, level=level(totals.get(user.id, 0)), counts={})
    mine = board_key(document, document["points"])
    before = await count_range(database, "scores", "board", f"{prefix}|", mine, RANK_CAP)
    return Standing(
        user=user, frame=frame, rank=before + 1 if before < RANK_CAP else None, points=document["points"],
        level=level(totals.get(user.id, 0)), counts=document["counts"],
    )  # fmt: skip


async def _totals(database: Database, user_ids: list[str]) -> dict[str, int]:
    query = {"_id": {"$in": [f"total|all|{user_id}" for user_id in user_ids]}}
    return {document["user_id"]: document["points"] async for document in database["scores"].find(query)}


async def first_places(database: Database, user_ids: list[str], moment: datetime) -> dict[str, int]:
    """User id -> times that a reply of theirs was ranked first in the month of `moment`."""
    query = {"_id": {"$in": [f"month|{bucket('month', moment)}|{user_id}" for user_id in user_ids]}}
    found = database["scores"].find(query)
    return {document["user_id"]: document["counts"].get("ranked_1", 0) async for document in found}


def _shown(user: Document) -> bool:
    return bool(user["enabled"] and user["show_on_leaderboard"] and not user["deleted"])
