"""How much there is: messages, trees and people, counted by a walk in the background.

A walk goes through everything by time, a bounded piece a sweep, and what it found is shown until the next one has come
to its end: exact as of then, whatever crashed, and never a question over all that the API would wait for. Any number of
processes may take a step; a step is one guarded write of how far the walk is, so each piece is counted once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.errors import DuplicateKeyError

from core.database import Database, Document
from core.pools import DEFAULT
from core.times import milliseconds, moment, now

STEP = 5000
"""Documents that one step reads."""
PAUSE_MS = 10_000
"""Milliseconds between two walks at least; a walk that took longer is followed by as long a pause."""
PARTS: dict[str, tuple[str, ...]] = {
    "messages": ("lang", "role", "state", "deleted", "synthetic"),
    "trees": ("collection", "lang", "state"),
    "users": ("last_activity_at", "enabled", "deleted", "roles", "terms_version"),
}
"""What is walked through, in this order, and the fields read."""
WALK, SHOWN = "walk", "shown"
ACTIVE = {"day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30)}


@dataclass(frozen=True)
class MessageCount:
    """Messages of a language, role and verdict: by people, by models, and taken out."""

    lang: str
    role: str
    state: str
    human: int
    synthetic: int
    removed: int


@dataclass(frozen=True)
class TreeCount:
    """Trees of a collection and language in a state."""

    collection: str
    lang: str
    state: str
    count: int


@dataclass(frozen=True)
class Statistics:
    """All counts.

    Attributes:
        at: when the walk began that found them.
        people: by `all`, `active_day`, `active_week`, `active_month`, `banned`, `left`, `accepted_terms`.
    """

    at: datetime
    messages: tuple[MessageCount, ...]
    trees: tuple[TreeCount, ...]
    people: Mapping[str, int]


async def sweep(database: Database) -> int:
    """Go on with the walk, or begin one that is due, by one piece; returns how many documents were read."""
    read = 0
    while (walk := await _due(database)) is not None and read < STEP:
        found = await _piece(database, walk)
        read += len(found)
        if not await _count(database, walk, found):
            break
    return read


async def _due(database: Database) -> Document | None:
    """How far the walk is; None while it pauses."""
    walk = await database["statistics"].find_one({"_id": WALK})
    if walk is None:
        walk = {"_id": WALK, "rev": 0, "due": 0, **_beginning()}
        try:
            await database["statistics"].insert_one(dict(walk))
        except DuplicateKeyError:
            return None
    return walk if walk["due"] <= milliseconds(now()) else None


def _beginning() -> Document:
    return {"part": next(iter(PARTS)), "after": "", "counts": {}, "began": 0}


async def _piece(database: Database, walk: Document) -> list[Document]:
    part = walk["part"]
    fields = dict.fromkeys((*PARTS[part], "by_time"), 1)
    query = {"by_time": {"$gt": walk["after"], "$lt": "}"}}
    found = database[part].find(query, fields).sort("by_time").limit(STEP)
    return [document async for document in found]


async def _count(database: Database, walk: Document, found: list[Document]) -> bool:
    """Note what a piece adds; whether nobody else had noted it."""
    began = walk["began"] or milliseconds(now())
    counts: Counter[str] = Counter(walk["counts"])
    for document in found:
        counts.update(_keys(walk["part"], document, began))
    following: Document = {"counts": dict(counts), "began": began, "rev": walk["rev"] + 1}
    parts = list(PARTS)
    if len(found) == STEP:
        following["after"] = found[-1]["by_time"]
    elif walk["part"] != parts[-1]:
        following |= {"part": parts[parts.index(walk["part"]) + 1], "after": ""}
    else:
        shown = {"$set": {"counts": dict(counts), "at": began}}
        await database["statistics"].update_one({"_id": SHOWN}, shown, upsert=True)
        end = milliseconds(now())
        following |= _beginning() | {"due": end + max(PAUSE_MS, end - began)}
    guard = {"_id": WALK, "rev": walk["rev"]}
    return (await database["statistics"].update_one(guard, {"$set": following})).matched_count == 1


def _keys(part: str, document: Document, at: int) -> list[str]:
    """The counts that a document adds one to."""
    if part == "messages":
        kind = "removed" if document["deleted"] else "synthetic" if document.get("synthetic") else "human"
        return [f"message|{document['lang']}|{document['role']}|{document['state']}|{kind}"]
    if part == "trees":
        return [f"tree|{document.get('collection') or DEFAULT}|{document['lang']}|{document['state']}"]
    return [f"people|{name}" for name in _of_person(document, at)]


def _of_person(document: Document, at: int) -> list[str]:
    if "service" in document["roles"]:
        return []
    if document.get("deleted"):
        return ["left"]
    names = ["all"]
    if not document["enabled"]:
        names.append("banned")
    if document.get("terms_version") is not None:
        names.append("accepted_terms")
    if (last := document.get("last_activity_at")) is not None:
        ago = timedelta(milliseconds=at - milliseconds(moment(last)))
        names += [f"active_{name}" for name, span in ACTIVE.items() if ago <= span]
    return names


async def statistics(database: Database) -> Statistics | None:
    """What the last walk found; None before the first has come to its end."""
    document = await database["statistics"].find_one({"_id": SHOWN})
    if document is None:
        return None
    rows: dict[str, dict[tuple[str, ...], int]] = {"message": {}, "tree": {}, "people": {}}
    for key, count in document["counts"].items():
        kind, *of = key.split("|")
        rows[kind][tuple(of)] = int(count)
    return Statistics(
        at=datetime.fromtimestamp(document["at"] / 1000, UTC), messages=_messages(rows["message"]),
        trees=tuple(TreeCount(of[0], of[1], of[2], count) for of, count in sorted(rows["tree"].items())),
        people={name: count for (name,), count in rows["people"].items()},
    )  # fmt: skip


def _messages(rows: Mapping[tuple[Any, ...], int]) -> tuple[MessageCount, ...]:
    of = sorted({key[:-1] for key in rows})
    kinds = ("human", "synthetic", "removed")
    return tuple(MessageCount(*key, *(rows.get((*key, kind), 0) for kind in kinds)) for key in of)
