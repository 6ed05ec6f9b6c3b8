"""Which frozen data sets and models hold contributions of people who have left, that were purged, or that may not be
learned from any more.

A snapshot never changes, so it is marked: in `deleted_contributions`, with the number of its sources that are gone, and
of those for which consent was taken back, which can be given again (`lift`). A model is not marked but derived: it
holds what its snapshots hold, and what the model does that it was trained from.

A snapshot may be being frozen just then. So what goes is written down first (`gone_sources`, for some days, by tree and
without a name), and is open until all of it is cut; then those snapshots are marked that are indexed. Who freezes
indexes what it has read, and then looks for what was open since it began, before its manifest makes a snapshot of it:
one of the two sees the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from core.database import Database
from core.records import milliseconds, now, time_key
from core.snapshot_members import BATCH, digest, holding, index_missing, tree_key
from core.work_records import NEVER
from core.writes import insert_new

if TYPE_CHECKING:
    from core.objects import ObjectStore

GONE, WITHDRAWN = "gone", "withdrawn"
"""Why a snapshot is marked, as its document has it: deleted, or without consent."""
KEPT = timedelta(days=7)
"""For how long it is known what went: longer than any freeze takes."""


async def mark_snapshots(
    database: Database, store: ObjectStore, sources: Mapping[str, Iterable[str]], key: str, why: str = GONE
) -> list[str]:
    """Mark every snapshot that has one of `sources`; twice is as once.

    Args:
        sources: tree id -> ids of messages, reviews, rankings of it.
        key: names this deletion; several of them add up. `finish` says that all of it is cut.
        why: `GONE` or `WITHDRAWN`.

    Returns:
        the snapshots, as `name@version`.
    """
    digests = {tree_key(tree_id): sorted({digest(each) for each in ids}) for tree_id, ids in sources.items()}
    if not digests:
        return []
    await _write_down(database, digests, key, why)
    await index_missing(database, store)
    found = await holding(database, digests)
    for label, count in found.items():
        await _mark(database, label, key, count, why)
    return sorted(found)


async def _write_down(database: Database, digests: Mapping[str, list[str]], key: str, why: str) -> None:
    trees = sorted(digests)
    parts = [trees[start : start + BATCH] for start in range(0, len(trees), BATCH)]
    expires_at = now() + KEPT
    documents = [
        {
            "_id": f"{key}|{part[0]}", "key": key, "why": why, "until": NEVER, "expires_at": expires_at,
            "gone": [{"tree": tree, "sources": digests[tree]} for tree in part],
        }
        for part in parts
    ]  # fmt: skip
    await insert_new(database, "gone_sources", documents)


async def finish(database: Database, key: str) -> None:
    """What `key` names is cut: what is frozen from now on has nothing of it."""
    await database["gone_sources"].update_many({"key": key}, {"$set": {"until": milliseconds(now())}})


async def lift(database: Database, key: str) -> None:
    """Take back the marks that `key` names: consent was given again."""
    await database["gone_sources"].delete_many({"key": key})
    marked = {f"{WITHDRAWN}.{key}": {"$gt": 0}}
    await database["deleted_contributions"].update_many(marked, {"$unset": {f"{WITHDRAWN}.{key}": ""}})


async def mark_fresh(database: Database, label: str, began: int) -> None:
    """Mark a snapshot that is indexed and not there yet, if it has read what went meanwhile.

    Args:
        began: when reading began, in milliseconds since 1970.
    """
    counts: dict[tuple[str, str], int] = defaultdict(int)
    async for document in database["gone_sources"].find({"until": {"$gte": began}}):
        gone = {each["tree"]: each["sources"] for each in document["gone"]}
        named = (document["key"], document.get("why", GONE))
        counts[named] += (await holding(database, gone, label)).get(label, 0)
    for (key, why), count in counts.items():
        if count:
            await _mark(database, label, key, count, why)


async def _mark(database: Database, label: str, key: str, count: int, why: str) -> None:
    name, _, version = label.partition("@")
    fresh = {"name": name, "version": version, "by_time": time_key(now(), label)}
    await database["deleted_contributions"].update_one(
        {"_id": label}, {"$setOnInsert": {**fresh, "gone": {}}}, upsert=True
    )
    # The most that was found: a repetition finds no more what was cut already.
    await database["deleted_contributions"].update_one({"_id": label}, {"$max": {f"{why}.{key}": count}})


async def marked_snapshots(database: Database, why: str = GONE) -> dict[str, int]:
    """Marked snapshot (`name@version`) -> how many of its sources are gone, or without consent."""
    return await _counted(database, {}, why)


async def gone_from(database: Database, labels: Sequence[str], why: str = GONE) -> dict[str, int]:
    """`marked_snapshots`, of these alone."""
    return await _counted(database, {"_id": {"$in": list(labels)}}, why)


async def _counted(database: Database, query: dict[str, Any], why: str) -> dict[str, int]:
    found = database["deleted_contributions"].find(query)
    counts = {document["_id"]: sum(document.get(why, {}).values()) async for document in found}
    return {label: count for label, count in counts.items() if count}
