"""The embedded store's file full of imported trees, written past its server.

The documents are those that the importer makes of the samples, with fresh ids that come in no order, as the server
writes them. It commits each by itself and takes 0.38 ms of CPU a message, its rankings and tree included; this takes
0.035. For a database that no server has opened yet.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import bson
from neosqlite import Connection
from neosqlite.collection.json_helpers import neosqlite_json_dumps

from core.records import now
from core.treeform import parse_tree

IDENTITY = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
PLACE = "@@@@@@@@"
"""Stands in a template for the first eight digits of every id, which are the same in all documents of a tree."""
SPREAD = 2654435761
"""Odd, so that its multiples scatter over 2^32 and none comes twice."""
COPIES = 32
"""Copies of the samples in one commit."""

Template = tuple[str, str, str]
"""Collection, `_id` and the document as the server stores it, both with `PLACE`."""


def fill(folder: Path, name: str, samples: Path, messages: int) -> int:
    """Write database `name` under a server's data `folder`: at least `messages` messages; returns how many."""
    trees = [(zlib.crc32(line), list(_templates(line))) for line in samples.read_bytes().splitlines()]
    each = sum(collection == "messages" for _, tree in trees for collection, _, _ in tree)
    copies = -(-messages // each)
    store = Connection(str(folder / f"{name}.db"))
    try:
        for collection in ("messages", "rankings", "trees"):
            store[collection].create()
        for start in range(0, copies, COPIES):
            store.db.execute("BEGIN")
            for copy in range(start, min(start + COPIES, copies)):
                for place, tree in trees:
                    _write(store, tree, f"{(copy * SPREAD + place) % 2**32:08x}")
            store.db.execute("COMMIT")
        for collection in ("messages", "rankings"):
            store[collection].create_index("tree_id")
        store["trees"].create_index("by_time")
    finally:
        store.close()
    return copies * each


def _templates(line: bytes) -> Iterator[Template]:
    tree = parse_tree(json.loads(line), origin=None, imported_at=now())
    for collection, records in (("messages", tree.messages), ("rankings", tree.rankings), ("trees", [tree.tree])):
        for record in records:
            document = bson.decode(bson.encode(record.to_document()))  # what the wire makes of dates
            identity = IDENTITY.sub(_placed, document["_id"])
            yield collection, identity, IDENTITY.sub(_placed, neosqlite_json_dumps(document))


def _placed(found: re.Match[str]) -> str:
    return PLACE + found[0][len(PLACE) :]


def _write(store: Connection, tree: list[Template], digits: str) -> None:
    for collection, identity, document in tree:
        store.db.execute(
            f"INSERT INTO {collection}(data, _id) VALUES (?, ?)",  # noqa: S608 - one of three names, all from here
            (document.replace(PLACE, digits), identity.replace(PLACE, digits)),
        )
