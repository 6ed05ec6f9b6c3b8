"""Keeping what is known of each reviewer and ranker: lessons become sums in `raters`, each exactly once.

A lesson is first written down as `following`, then what it changes is added to each person's sums, then it takes its
place; a crash anywhere leaves it `following`, and the next settling of its tree goes on there. An addition carries the
lesson's id and revision, and each person remembers the latest that were taken, so a repetition does nothing.
Knows the store; `core.lessons` knows what is learned.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from core.database import DUPLICATE, Database
from core.lessons import Lesson, Said, difference
from core.voices import PARTS, Voice

REMEMBERED = 500
"""Additions that a person's document remembers having taken."""


async def voices(database: Database, people: Collection[str]) -> dict[str, Voice]:
    """What is known of those of `people` of whom anything is."""
    if not people:
        return {}
    found = database["raters"].find({"_id": {"$in": sorted(people)}}, {"seen": 0})
    return {each["_id"]: Voice.of([each.get(part, 0.0) for part in PARTS]) async for each in found}


async def learn(
    database: Database,
    tree_id: str,
    fresh: Mapping[str, tuple[tuple[str, ...], Said]],
    known: Mapping[str, Lesson],
) -> bool:
    """Bring people's sums to what the tree's items say now; False when another did so at the same moment.

    Args:
        fresh: lesson id -> (facts, what it says), as `core.lessons.lessons` gives.
        known: the tree's lessons as they were read.
    """
    begun = [lesson for lesson in known.values() if lesson.following is not None]
    for lesson in begun:
        await _take_place(database, lesson)
    if begun:
        return False  # found again from what is stored now
    wanted = []
    for identity, (facts, said) in sorted(fresh.items()):
        before = known.get(identity, Lesson(id=identity, tree_id=tree_id))
        following = {"lesson_facts": list(facts), "said": said}
        wanted.append((before, following))
    if not await _begin(database, wanted):
        return False
    for before, following in wanted:
        document = before.to_document() | {"following": following, "rev": before.rev + 1}
        await _take_place(database, Lesson.from_document(document))
    return True


async def _begin(database: Database, wanted: Sequence[tuple[Lesson, dict[str, Any]]]) -> bool:
    """Write each lesson's `following` down, if it is still as it was read."""
    updates = []
    for before, following in wanted:
        guard = {"_id": before.id, "rev": before.rev}
        update = {"$set": {"following": following, "rev": before.rev + 1}}
        if before.rev == 0:
            blank = before.to_document()
            empty = {name: blank[name] for name in ("tree_id", "lesson_facts", "said")}
            update["$setOnInsert"] = empty
        updates.append(UpdateOne(guard, update, upsert=before.rev == 0))
    if not updates:
        return True
    try:
        result = await database["lessons"].bulk_write(updates, ordered=False)
    except BulkWriteError as error:
        if any(each["code"] != DUPLICATE for each in error.details["writeErrors"]):
            raise
        return False  # somebody else was first with one of them
    return result.matched_count + result.upserted_count == len(updates)


async def _take_place(database: Database, lesson: Lesson) -> None:
    """Add what changes to people's sums, then let `following` be what the lesson says."""
    following = lesson.following or {}
    token = f"{lesson.id}@{lesson.rev}"
    changes = difference(lesson.said, following["said"])
    if changes:
        people = [UpdateOne({"_id": person}, {"$setOnInsert": {"seen": []}}, upsert=True) for person in changes]
        await database["raters"].bulk_write(people, ordered=False)
        sums = [
            UpdateOne(
                {"_id": person, "seen": {"$nin": [token]}},
                {
                    "$inc": dict(zip(PARTS, voice.parts, strict=True)),
                    "$push": {"seen": {"$each": [token], "$slice": -REMEMBERED}},
                },
            )
            for person, voice in changes.items()
        ]
        await database["raters"].bulk_write(sums, ordered=False)
    guard = {"_id": lesson.id, "rev": lesson.rev}
    await database["lessons"].update_one(guard, {"$set": {**following, "following": None}, "$inc": {"rev": 1}})
