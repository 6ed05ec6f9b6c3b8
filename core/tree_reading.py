"""Whole trees out of the document store, many, in order: what exports and snapshots are made of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from typing import Any

from core.database import Database
from core.errors import BadInput
from core.opinions import Ranking
from core.records import GOLD, TREE_STATES, Message, Tree

TREES_PER_READ = 100
READ = 5_000
"""Documents of one answer of the store: the messages of so many trees come in one, for most trees."""


async def tree_ids(database: Database, states: Sequence[str] | None, langs: Sequence[str] | None) -> AsyncIterator[str]:
    """Ids of the trees in one of `states` and `langs`, gold items left out, in no order.

    Raises:
        BadInput: a state that does not exist.
    """
    unknown = sorted(set(states or ()) - set(TREE_STATES))
    if unknown:
        raise BadInput(f"tree state {unknown[0]!r} is none of {', '.join(TREE_STATES)}", path=("states",))
    query = {name: {"$in": list(values)} for name, values in (("state", states), ("lang", langs)) if values is not None}
    query["origin"] = {"$nin": [GOLD]}
    async for document in database["trees"].find(query, {"_id": 1}):
        yield document["_id"]


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


def among(values: Sequence[str]) -> dict[str, Any]:
    """The condition that an indexed field is one of `values`; with their range, which not every server derives."""
    return {"$gte": min(values), "$lte": max(values), "$in": list(values)}
