"""Keeping scores: credits become counts in the score documents, each exactly once, by small guarded updates.

A credit is stored unapplied, added to one score document a time frame (each remembers the latest credits that it took,
so a repetition does nothing), then marked applied; the sweeper repeats what a crash left unapplied. Knows the store;
`core.scoring` knows what counts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pymongo.errors import DuplicateKeyError

from core.database import Database, Document
from core.facts import Facts
from core.scoring import FRAMES, Credit, bucket, credits_of, score

REMEMBERED = 500
"""Credits that a score document remembers having taken."""


async def credit_tree(database: Database, facts: Facts) -> None:
    """Bring the stored credits of a tree to what its facts give: apply new ones, take back those that fell away."""
    wanted = {credit.id: credit for credit in credits_of(facts.messages, facts.reviews, facts.rankings)}
    had = {document["_id"]: document async for document in database["credits"].find({"tree_id": facts.tree.id})}
    fresh = [credit for identity, credit in wanted.items() if identity not in had]
    known = await _known_users(database, {credit.user_id for credit in fresh})
    for credit in fresh:
        if credit.user_id in known:
            await _store(database, credit)
    for document in had.values():
        credit = Credit.from_document(document)
        undone = f"{credit.id}|undone"
        if credit.amount > 0 and credit.id not in wanted and undone not in had:
            await _store(database, replace(credit, id=undone, amount=-1, applied=False))


async def _known_users(database: Database, identities: set[str]) -> set[str]:
    if not identities:
        return set()
    query = {"_id": {"$in": sorted(identities)}}
    return {user["_id"] async for user in database["users"].find(query, {"_id": 1})}


async def _store(database: Database, credit: Credit) -> None:
    try:
        await database["credits"].insert_one(credit.to_document())
    except DuplicateKeyError:
        return
    await apply(database, credit)


async def apply(database: Database, credit: Credit) -> None:
    """Add `credit` to its person's scores; nothing where it was added before."""
    for frame in FRAMES:
        key = f"{frame}|{bucket(frame, credit.at)}"
        identity = f"{key}|{credit.user_id}"
        while not await _add(database, identity, key, credit):
            pass
        await _place(database, identity)
    await database["credits"].update_one({"_id": credit.id}, {"$set": {"applied": True}})


async def _add(database: Database, identity: str, key: str, credit: Credit) -> bool:
    """Count the credit in one score document; False when that document came into being meanwhile."""
    update = {
        "$inc": {f"counts.{credit.what}": credit.amount, "changes": 1},
        "$push": {"applied": {"$each": [credit.id], "$slice": -REMEMBERED}},
    }
    result = await database["scores"].update_one({"_id": identity, "applied": {"$nin": [credit.id]}}, update)
    if result.matched_count:
        return True
    if await database["scores"].find_one({"_id": identity}, {"_id": 1}):
        return await database["scores"].find_one({"_id": identity, "applied": {"$in": [credit.id]}}) is not None
    counts = {credit.what: credit.amount}
    fresh: dict[str, Any] = {"counts": counts, "changes": 1, "applied": [credit.id], "points": 0}
    try:
        await database["scores"].insert_one({"_id": identity, "key": key, "user_id": credit.user_id, **fresh})
    except DuplicateKeyError:
        return False
    return True


async def _place(database: Database, identity: str) -> None:
    """Write the points and the place on the board that the counts give; whoever counts later places later."""
    document = await database["scores"].find_one({"_id": identity})
    if document is not None:
        points = score(document["counts"])
        board = board_key(document, points)
        guard = {"_id": identity, "changes": document["changes"]}
        await database["scores"].update_one(guard, {"$set": {"points": points, "board": board}})


def board_key(document: Document, points: int) -> str:
    """`frame|bucket|points, falling|user`: ascending order of these is the leaderboard."""
    return f"{document['key']}|{10**9 - points:010d}|{document['user_id']}"
