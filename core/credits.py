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
    """Bring the stored credits of a tree to what its facts give: apply new ones, take back those that fell away.

    A credit that comes, falls away and comes again (a message taken out and put back) is stored once for each turn:
    the turns of one act have ids of their own, and it counts while their number is odd.
    """
    wanted = {credit.id: credit for credit in credits_of(facts.messages, facts.reviews, facts.rankings)}
    turns: dict[str, list[Credit]] = {}
    async for document in database["credits"].find({"tree_id": facts.tree.id}):
        credit = Credit.from_document(document)
        turns.setdefault(act_of(credit), []).append(credit)
    due = [credit for act, credit in wanted.items() if len(turns.get(act, ())) % 2 == 0]
    known = await _known_users(database, {credit.user_id for credit in due})
    for credit in due:
        if credit.user_id in known:
            await _store(database, _turn(credit, credit.id, len(turns.get(credit.id, ()))))
    for act, taken in turns.items():
        if act not in wanted and len(taken) % 2:
            await _store(database, _turn(taken[0], act, len(taken)))


def act_of(credit: Credit) -> str:
    """The act that a credit is a turn of: `what|fact`."""
    return "|".join(credit.id.split("|")[:2])


def _turn(credit: Credit, act: str, number: int) -> Credit:
    """Turn `number` (from 0) of an act: even ones give, odd ones take back."""
    identity = act if number == 0 else f"{act}|{number}"
    return replace(credit, id=identity, amount=-1 if number % 2 else 1, applied=False)


async def _known_users(database: Database, identities: set[str]) -> set[str]:
    if not identities:
        return set()
    query = {"_id": {"$in": sorted(identities)}}
    found = database["users"].find(query, {"_id": 1, "deleted": 1})
    return {user["_id"] async for user in found if not user.get("deleted")}


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
