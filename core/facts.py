"""Reading everything known of one tree from the document store, and saying that something about it has changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pymongo import ReturnDocument

from core.database import Database
from core.records import Message, Ranking, Reaction, Record, Review, Tree
from core.scoring import Credit

MARK = {"$set": {"dirty": True}, "$inc": {"version": 1}}
"""The update that says that a fact about a tree has come or gone."""
AnyRecord = TypeVar("AnyRecord", bound=Record)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A tree, its messages, and all that people said about them."""

    tree: Tree
    messages: tuple[Message, ...]
    reviews: tuple[Review, ...]
    rankings: tuple[Ranking, ...]
    reactions: tuple[Reaction, ...]
    credits: tuple[Credit, ...] = ()


SAID: dict[str, tuple[type[Record], str]] = {
    "messages": (Message, "role"),
    "reviews": (Review, "labels"),
    "rankings": (Ranking, "served"),
    "reactions": (Reaction, "emoji"),
    "credits": (Credit, "what"),
}
"""What is read of a tree, in this order, by one command; the field tells whose document it is, the first that fits."""


async def load(database: Database, tree_id: str, *, marking: bool = False) -> Facts | None:
    """The facts of a tree; None where there is no such tree.

    The tree and its messages are read before what was said about them: whoever writes by their `version` and `rev`
    then knows that no later fact was taken for an earlier one.

    Args:
        marking: also say that a fact about the tree has come or gone (see `mark`), with the same command.
    """
    if marking:
        tree = await database["trees"].find_one_and_update({"_id": tree_id}, MARK, return_document=ReturnDocument.AFTER)
    else:
        tree = await database["trees"].find_one({"_id": tree_id})
    if tree is None:
        return None
    found = await _said(database, tree_id)
    return Facts(tree=Tree.from_document(tree), **found)


async def _said(database: Database, tree_id: str) -> dict[str, Any]:
    first, *others = SAID
    here = [{"$match": {"tree_id": tree_id}}]
    unions = [{"$unionWith": {"coll": name, "pipeline": here}} for name in others]
    found: dict[str, list[Record]] = {name: [] for name in SAID}
    async for document in await database[first].aggregate([*here, *unions]):
        name = next(name for name, (_, mark) in SAID.items() if mark in document)
        found[name].append(SAID[name][0].from_document(document))
    return {name: tuple(sorted(records, key=lambda record: record.id)) for name, records in found.items()}


async def of_tree(database: Database, name: str, kind: type[AnyRecord], tree_id: str) -> tuple[AnyRecord, ...]:
    """All records of a tree in the collection `name`, by id."""
    found = [kind.from_document(document) async for document in database[name].find({"tree_id": tree_id})]
    return tuple(sorted(found, key=lambda record: record.id))


async def mark(database: Database, tree_id: str) -> None:
    """Say that a fact about the tree has come or gone; `core.settle` or the sweeper then works it in."""
    await database["trees"].update_one({"_id": tree_id}, MARK)


async def move_tree(database: Database, tree: Tree, state: str, **changes: Any) -> Tree | None:
    """Put the tree into `state` by one write, if it is still as given, and mark it dirty; None otherwise."""
    moved = replace(tree, state=state, dirty=True, version=tree.version + 1, **changes)
    document = moved.to_document()
    del document["_id"]
    result = await database["trees"].update_one({"_id": tree.id, "version": tree.version}, {"$set": document})
    return moved if result.matched_count == 1 else None
