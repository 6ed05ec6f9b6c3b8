"""Places far down a leaderboard in few reads: marks with their place, every `STEP` people, renewed in the background.

Somebody's place is that of the last mark before them and the people between: one indexed read and a short count,
however many people there are. Up to `STEP` people the count alone does. Between two renewals people move past marks, so
a place far down may be off by as many as moved past its mark since (a minute, as it is run).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from pymongo import UpdateOne

from core.database import Database, count_range
from core.records import milliseconds, now
from core.score_documents import board
from core.scoring import FRAMES, bucket

STEP = 200
"""People between two marks."""
PAGE = 2_000
"""People read at once."""
EVERY = 60_000
"""Milliseconds between two renewals."""


async def place_before(database: Database, frame: str, name: str, mine: str, cap: int) -> int | None:
    """People on a board before the key `mine`; None where more than `cap` stand between it and the mark before.

    Args:
        name: of the bucket.
        mine: a key of the board (`core.score_documents.board`).
    """
    start, before = f"{frame}|{name}|", 0
    query = {"at": {"$gte": start, "$lte": mine}}
    async for mark in database["score_marks"].find(query).sort("at", -1).limit(1):
        start, before = mark["at"], mark["place"]
    between = await count_range(database, "scores", board(frame), start, mine, cap)
    return before + between if between < cap else None


async def renew(database: Database, moment: datetime | None = None) -> int:
    """Set the marks of the present boards anew and remove those of past ones; returns how many there are."""
    marks = 0
    for frame in FRAMES:
        prefix = f"{frame}|{bucket(frame, moment or now())}|"
        places = [(place, key) async for place, key in _every_step(database, board(frame), prefix)]
        updates = [
            UpdateOne({"_id": f"{prefix}{place}"}, {"$set": {"at": key, "place": place}}, upsert=True)
            for place, key in places
        ]
        if updates:
            await database["score_marks"].bulk_write(updates, ordered=False)
        kept = [f"{prefix}{place}" for place, _ in places]
        old = {"at": {"$gte": f"{frame}|", "$lt": f"{frame}}}"}, "_id": {"$nin": kept}}
        await database["score_marks"].delete_many(old)
        marks += len(places)
    return marks


async def _every_step(database: Database, field: str, prefix: str) -> AsyncIterator[tuple[int, str]]:
    """Place and key of every `STEP`th on a board, the first one left out."""
    after, place = prefix, 0
    while True:
        query = {field: {"$gt": after, "$lt": prefix[:-1] + "}"}}
        page = [each[field] async for each in database["scores"].find(query, {field: 1}).sort(field).limit(PAGE)]
        for key in page:
            if place and place % STEP == 0:
                yield place, key
            place += 1
        if len(page) < PAGE:
            return
        after = page[-1]


async def renew_if_due(database: Database) -> bool:
    """Renew the marks unless some process has done so within `EVERY`; whether it was done."""
    present = milliseconds(now())
    await database["score_marks"].update_one({"_id": "renewal"}, {"$setOnInsert": {"due": 0}}, upsert=True)
    taken = await database["score_marks"].update_one(
        {"_id": "renewal", "due": {"$lte": present}}, {"$set": {"due": present + EVERY}}
    )
    if taken.matched_count:
        await renew(database)
    return bool(taken.matched_count)
