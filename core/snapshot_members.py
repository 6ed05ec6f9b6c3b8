"""What is in which snapshot, found by tree: an index in the document store, made before a snapshot has its manifest.

One document for each tree of a snapshot (`snapshot_members`), with short digests of the messages, reviews and rankings
that went in; `snapshot_index` names the snapshots that have all of theirs. So what a person gave is found by reading
the trees that they gave to, however much there is besides. Ids are kept as digests alone, which outlive a purge. Twice
is as once; a process that dies half-way is made good by the next one that freezes the same, or looks.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from core import layout
from core.database import Database, Document
from core.errors import NotFound
from core.ids import sha256_hex
from core.scratch import scratch_folder
from core.tree_reading import among
from core.writes import insert_new

if TYPE_CHECKING:
    from core.objects import ObjectStore

SOURCES = "sources.parquet"
BATCH = 500
"""Trees written, and asked for, at once."""


def digest(identity: str) -> str:
    """Twelve hexadecimal digits of an id's SHA-256: enough to tell the sources of one tree apart."""
    return sha256_hex(identity.encode())[:12]


def tree_key(tree_id: str) -> str:
    """Thirty-two hexadecimal digits of a tree id's SHA-256."""
    return sha256_hex(tree_id.encode())[:32]


async def index(database: Database, sources: Path, label: str) -> None:
    """Keep what is in the snapshot `label` (`name@version`), of its file of sources."""
    if await database["snapshot_index"].find_one({"_id": label}) is not None:
        return
    waiting: list[Document] = []
    for tree, digests in _by_tree(sources):
        waiting.append({"_id": f"{label}|{tree}", "label": label, "tree": tree, "sources": digests})
        if len(waiting) == BATCH:
            await insert_new(database, "snapshot_members", waiting)
            waiting = []
    if waiting:
        await insert_new(database, "snapshot_members", waiting)
    await database["snapshot_index"].update_one({"_id": label}, {"$setOnInsert": {"whole": 1}}, upsert=True)


def _by_tree(sources: Path) -> Iterator[tuple[str, list[str]]]:
    """Key of each tree, with the digests of its messages, reviews and rankings; its row comes before theirs."""
    import pyarrow.parquet as pq

    tree, found = "", set[str]()
    with pq.ParquetFile(sources) as file:
        for group in range(file.num_row_groups):  # one by one: all at once, Arrow keeps what it has read of the file
            columns = file.read_row_group(group, columns=["kind", "id"]).columns
            for kind, identity in zip(*(column.to_pylist() for column in columns), strict=True):
                if kind != "tree":
                    found.add(digest(identity))
                    continue
                if tree:
                    yield tree, sorted(found)
                tree, found = tree_key(identity), set()
    if tree:
        yield tree, sorted(found)


async def forget(database: Database, label: str) -> None:
    """Let go of what is in a snapshot that did not come to be."""
    await database["snapshot_members"].delete_many({"_id": {"$gte": f"{label}|", "$lt": f"{label}}}"}})
    await database["snapshot_index"].delete_one({"_id": label})


async def index_missing(database: Database, store: ObjectStore) -> list[str]:
    """Index the snapshots of the object store that are not: frozen by others, or before there was an index."""
    labels = await asyncio.to_thread(_labels, store)
    known = {each["_id"] async for each in database["snapshot_index"].find({}, {"_id": 1})}
    missing = [label for label in labels if label not in known]
    for label in missing:
        with scratch_folder("oa-sources-") as folder:
            path = folder / SOURCES
            try:
                await asyncio.to_thread(store.download, f"{layout.dataset(*label.split('@'))}{SOURCES}", path)
            except NotFound:
                continue
            await index(database, path, label)
    return missing


def _labels(store: ObjectStore) -> list[str]:
    parts = [item.key.split("/") for item in store.list("datasets/") if item.key.endswith("/manifest.json")]
    return [f"{part[1]}@{part[2]}" for part in parts if len(part) == 4]


async def holding(database: Database, sources: Mapping[str, Iterable[str]], label: str | None = None) -> dict[str, int]:
    """Snapshot -> how many of `sources` it has, where it has any.

    Args:
        sources: key of a tree -> digests.
        label: look at this snapshot alone.
    """
    counts: Counter[str] = Counter()
    trees = sorted(sources)
    for start in range(0, len(trees), BATCH):
        part = trees[start : start + BATCH]
        query: Document = {"tree": among(part)}
        if label is not None:
            query = {"_id": {"$in": [f"{label}|{tree}" for tree in part]}}
        async for document in database["snapshot_members"].find(query):
            counts[document["label"]] += len(set(sources[document["tree"]]).intersection(document["sources"]))
    return {each: count for each, count in counts.items() if count}
