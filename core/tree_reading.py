"""Whole trees out of the document store, many, in order: what exports and snapshots are made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from typing import Any

from core.database import Database, Document
from core.errors import BadInput
from core.opinions import Ranking
from core.pools import DEFAULT
from core.records import TREE_STATES, Message, Tree

TREES_PER_READ = 100
PAGE = 2_000
"""Documents of one page of a whole collection."""
READ = 5_000
"""Documents of one answer of the store: the messages of so many trees come in one, for most trees."""


async def tree_ids(
    database: Database,
    states: Sequence[str] | None,
    langs: Sequence[str] | None,
    collections: Sequence[str] | None = None,
) -> AsyncIterator[str]:
    """Ids of the trees in one of `states`, `langs` and `collections`, gold items left out, oldest first.

    All trees are looked at, page after page, and those wanted are picked here: so no condition leads a store to another
    index than that of the order, and no cursor is held open while others work.

    Raises:
        BadInput: a state that does not exist.
    """
    unknown = sorted(set(states or ()) - set(TREE_STATES))
    if unknown:
        raise BadInput(f"tree state {unknown[0]!r} is none of {', '.join(TREE_STATES)}", path=("states",))
    wanted = [("state", states), ("lang", langs), ("collection", collections)]
    picked = [(name, frozenset(values)) for name, values in wanted if values is not None]
    fields = {"by_time": 1, "state": 1, "lang": 1, "collection": 1}
    async for document in in_order(database, "trees", "by_time", fields):  # gold items have no such key
        document.setdefault("collection", DEFAULT)  # those of before there were collections say nothing of theirs
        if all(document[name] in values for name, values in picked):
            yield document["_id"]


async def in_order(
    database: Database, name: str, key: str, fields: dict[str, int] | None = None
) -> AsyncIterator[Document]:
    """All documents of a collection that have the ordered text `key`, unique and indexed, by it; read in pages, so
    however long the caller takes no cursor times out."""
    after = ""
    while True:
        found = database[name].find({key: {"$gt": after}}, fields).sort(key).limit(PAGE)
        page = [document async for document in found]
        for document in page:
            yield document
        if len(page) < PAGE:
            return
        after = page[-1][key]


async def read_trees(
    database: Database, ids: Iterable[str]
) -> AsyncIterator[tuple[Tree, list[Message], list[Ranking]]]:
    """The trees of `ids`, in that order, each with its messages (parents before replies) and rankings."""
    waiting = iter(ids)
    while part := list(islice(waiting, TREES_PER_READ)):
        trees = {each["_id"]: Tree.from_document(each) async for each in database["trees"].find({"_id": {"$in": part}})}
        messages: dict[str, list[Message]] = {}
        async for document in database["messages"].find({"tree_id": among(part)}, batch_size=READ):
            messages.setdefault(document["tree_id"], []).append(Message.from_document(document))
        rankings: dict[str, list[Ranking]] = {}
        async for document in database["rankings"].find({"tree_id": among(part)}, batch_size=READ):
            rankings.setdefault(document["tree_id"], []).append(Ranking.from_document(document))
        for tree_id in part:
            found = sorted(
                messages.get(tree_id, ()), key=lambda message: (message.depth, message.created_at, message.id)
            )
            if tree_id in trees and found:
                yield trees[tree_id], found, rankings.get(tree_id, [])
                await asyncio.sleep(0)  # an interrupt is heard here; in a driver's write Python 3.11 may lose it


def among(values: Sequence[str]) -> dict[str, Any]:
    """The condition that an indexed field is one of `values`; with their range, which not every server derives."""
    return {"$gte": min(values), "$lte": max(values), "$in": list(values)}
