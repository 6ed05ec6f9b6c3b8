"""Reading everything known of one tree from the document store, and saying that something about it has changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from core.database import Database
from core.records import Message, Ranking, Reaction, Record, Review, Tree

AnyRecord = TypeVar("AnyRecord", bound=Record)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A tree, its messages, and all that people said about them."""

    tree: Tree
    messages: tuple[Message, ...]
    reviews: tuple[Review, ...]
    rankings: tuple[Ranking, ...]
    reactions: tuple[Reaction, ...]


async def load(database: Database, tree_id: str) -> Facts | None:
    """The facts of a tree; None where there is no such tree.

    The tree and its messages are read before what was said about them: whoever writes by their `version` and `rev`
    then knows that no later fact was taken for an earlier one.
    """
    tree = await database["trees"].find_one({"_id": tree_id})
    if tree is None:
        return None
    return Facts(
        tree=Tree.from_document(tree),
        messages=await of_tree(database, "messages", Message, tree_id),
        reviews=await of_tree(database, "reviews", Review, tree_id),
        rankings=await of_tree(database, "rankings", Ranking, tree_id),
        reactions=await of_tree(database, "reactions", Reaction, tree_id),
    )


async def of_tree(database: Database, name: str, kind: type[AnyRecord], tree_id: str) -> tuple[AnyRecord, ...]:
    """All records of a tree in the collection `name`, by id."""
    found = [kind.from_document(document) async for document in database[name].find({"tree_id": tree_id})]
    return tuple(sorted(found, key=lambda record: record.id))


async def mark(database: Database, tree_id: str) -> None:
    """Say that a fact about the tree has come or gone; `core.settle` or the sweeper then works it in."""
    await database["trees"].update_one({"_id": tree_id}, {"$set": {"dirty": True}, "$inc": {"version": 1}})


async def move_tree(database: Database, tree: Tree, state: str, **changes: Any) -> Tree | None:
    """Put the tree into `state` by one write, if it is still as given, and mark it dirty; None otherwise."""
    moved = replace(tree, state=state, dirty=True, version=tree.version + 1, **changes)
    document = moved.to_document()
    del document["_id"]
    result = await database["trees"].update_one({"_id": tree.id, "version": tree.version}, {"$set": document})
    return moved if result.matched_count == 1 else None
