"""Which frozen data sets and models hold contributions of people who have left, or that were purged.

A snapshot never changes, so it is marked: in `deleted_contributions`, with the number of its sources that are gone. A
model is not marked but derived: it holds what its snapshots hold, and what the model does that it was trained from.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core import layout
from core.database import Database
from core.errors import NotFound
from core.records import now, time_key

if TYPE_CHECKING:
    from core.objects import ObjectStore

ROWS = 10_000
"""Sources read at once."""


async def mark_snapshots(database: Database, store: ObjectStore, sources: set[str], key: str) -> list[str]:
    """Mark every snapshot that has one of `sources`; twice is as once.

    Args:
        sources: ids of messages, reviews, rankings, trees.
        key: names this deletion; several of them add up.

    Returns:
        the snapshots, as `name@version`.
    """
    if not sources:
        return []
    found = await asyncio.to_thread(_holding, store, sources)
    for label, count in found.items():
        name, _, version = label.partition("@")
        fresh = {"name": name, "version": version, "by_time": time_key(now(), label)}
        change = {"$setOnInsert": fresh, "$set": {f"gone.{key}": count}}
        await database["deleted_contributions"].update_one({"_id": label}, change, upsert=True)
    return sorted(found)


def _holding(store: ObjectStore, sources: set[str]) -> dict[str, int]:
    """Snapshot (`name@version`) -> how many of `sources` it has, where it has any."""
    from core.snapshots import list_snapshots

    counts = {f"{each['name']}@{each['version']}": _count(store, each, sources) for each in list_snapshots(store)}
    return {label: count for label, count in counts.items() if count}


def _count(store: ObjectStore, manifest: Mapping[str, Any], sources: set[str]) -> int:
    import pyarrow.parquet as pq

    try:
        data = store.get(f"{layout.dataset(manifest['name'], manifest['version'])}sources.parquet")
    except NotFound:
        return 0
    batches = pq.ParquetFile(io.BytesIO(data)).iter_batches(batch_size=ROWS, columns=["id"])
    return sum(identity in sources for batch in batches for identity in batch.column(0).to_pylist())


async def marked_snapshots(database: Database) -> dict[str, int]:
    """Marked snapshot (`name@version`) -> how many of its sources are gone."""
    found = database["deleted_contributions"].find().sort("by_time")
    return {document["_id"]: sum(document["gone"].values()) async for document in found}


async def gone_from(database: Database, labels: Sequence[str]) -> dict[str, int]:
    """`marked_snapshots`, of these alone."""
    found = database["deleted_contributions"].find({"_id": {"$in": list(labels)}})
    return {document["_id"]: sum(document["gone"].values()) async for document in found}
