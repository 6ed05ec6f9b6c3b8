"""Which frozen data sets and models hold contributions of people who have left, or that were purged.

A snapshot never changes, so it is marked: in `deleted_contributions`, with the number of its sources that are gone. A
model is not marked but derived: it holds what its snapshots hold, and what the model does that it was trained from.

A snapshot may be being frozen just then. So what goes is written down first (`gone_sources`, for some days, by tree and
without a name), and is open until all of it is cut; then those snapshots are marked that are indexed. Who freezes
indexes what it has read, and then looks for what was open since it began, before its manifest makes a snapshot of it:
one of the two sees the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from core.credits import insert_new
from core.database import Database
from core.records import milliseconds, now, time_key
from core.snapshot_members import BATCH, digest, holding, index_missing, tree_key
from core.work_records import NEVER

if TYPE_CHECKING:
    from core.objects import ObjectStore

KEPT = timedelta(days=7)
"""For how long it is known what went: longer than any freeze takes."""


async def mark_snapshots(
    database: Database, store: ObjectStore, sources: Mapping[str, Iterable[str]], key: str
) -> list[str]:
    """Mark every snapshot that has one of `sources`; twice is as once.

    Args:
        sources: tree id -> ids of messages, reviews, rankings of it.
        key: names this deletion; several of them add up. `finish` says that all of it is cut.

    Returns:
        the snapshots, as `name@version`.
    """
    digests = {tree_key(tree_id): sorted({digest(each) for each in ids}) for tree_id, ids in sources.items()}
    if not digests:
        return []
    await _write_down(database, digests, key)
    await index_missing(database, store)
    found = await holding(database, digests)
    for label, count in found.items():
        await _mark(database, label, key, count)
    return sorted(found)


async def _write_down(database: Database, digests: Mapping[str, list[str]], key: str) -> None:
    trees = sorted(digests)
    parts = [trees[start : start + BATCH] for start in range(0, len(trees), BATCH)]
    expires_at = now() + KEPT
    documents = [
        {
            "_id": f"{key}|{part[0]}", "key": key, "until": NEVER, "expires_at": expires_at,
            "gone": [{"tree": tree, "sources": digests[tree]} for tree in part],
        }
        for part in parts
    ]  # fmt: skip
    await insert_new(database, "gone_sources", documents)


async def finish(database: Database, key: str) -> None:
    """What `key` names is cut: what is frozen from now on has nothing of it."""
    await database["gone_sources"].update_many({"key": key}, {"$set": {"until": milliseconds(now())}})


async def mark_fresh(database: Database, label: str, began: int) -> None:
    """Mark a snapshot that is indexed and not there yet, if it has read what went meanwhile.

    Args:
        began: when reading began, in milliseconds since 1970.
    """
    counts: dict[str, int] = defaultdict(int)
    async for document in database["gone_sources"].find({"until": {"$gte": began}}):
        gone = {each["tree"]: each["sources"] for each in document["gone"]}
        counts[document["key"]] += (await holding(database, gone, label)).get(label, 0)
    for key, count in counts.items():
        if count:
            await _mark(database, label, key, count)


async def _mark(database: Database, label: str, key: str, count: int) -> None:
    name, _, version = label.partition("@")
    fresh = {"name": name, "version": version, "by_time": time_key(now(), label)}
    await database["deleted_contributions"].update_one(
        {"_id": label}, {"$setOnInsert": {**fresh, "gone": {}}}, upsert=True
    )
    # The most that was found: a repetition finds no more what was cut already.
    await database["deleted_contributions"].update_one({"_id": label}, {"$max": {f"gone.{key}": count}})


async def marked_snapshots(database: Database) -> dict[str, int]:
    """Marked snapshot (`name@version`) -> how many of its sources are gone."""
    found = database["deleted_contributions"].find().sort("by_time")
    return {document["_id"]: sum(document["gone"].values()) async for document in found}


async def gone_from(database: Database, labels: Sequence[str]) -> dict[str, int]:
    """`marked_snapshots`, of these alone."""
    found = database["deleted_contributions"].find({"_id": {"$in": list(labels)}})
    return {document["_id"]: sum(document["gone"].values()) async for document in found}
