"""Reading everything known of one tree from the document store, and saying that something about it has changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from core.database import Database, Document
from core.lessons import Lesson
from core.opinions import Ranking, Reaction, Review
from core.records import Message, Record, Tree
from core.tree_credits import TreeCredits
from core.work_records import Work

MARK = {"$set": {"dirty": True}, "$inc": {"version": 1}}
"""The update that says that a fact about a tree has come or gone."""
AT_ONCE = 2_000
"""Documents of one answer of the store: more than most trees have."""
AnyRecord = TypeVar("AnyRecord", bound=Record)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A tree, its messages, all that people said about them, what that earned them (lines of `core.tree_credits`), and
    its open work."""

    tree: Tree
    messages: tuple[Message, ...]
    reviews: tuple[Review, ...] = ()
    rankings: tuple[Ranking, ...] = ()
    reactions: tuple[Reaction, ...] = ()
    credits: tuple[str, ...] = ()
    work: tuple[Work, ...] = ()
    lessons: tuple[Lesson, ...] = ()


READ: dict[str, tuple[type[Record], str]] = {
    "work": (Work, "holds"),
    "trees": (Tree, "goal_size"),
    "messages": (Message, "role"),
    "reviews": (Review, "labels"),
    "rankings": (Ranking, "served"),
    "reactions": (Reaction, "emoji"),
    "tree_credits": (TreeCredits, "taken"),
    "lessons": (Lesson, "said"),
}
"""What is read of a tree, in this order; the field tells whose document it is, the first that fits.

Open work comes first, then the tree and its messages, then what was said about them: whoever writes by their `rev` and
`version` then knows that no later fact was taken for an earlier one.
"""
FIRST = next(iter(READ))


async def load(database: Database, tree_id: str) -> Facts | None:
    """The facts of a tree, by one command; None where there is no such tree."""
    found = await database[FIRST].aggregate(reading(tree_id), batchSize=AT_ONCE)
    return facts_of([document async for document in found])


def reading(tree_id: str) -> list[Document]:
    """The stages that read the facts of a tree, from the collection `FIRST` on."""
    first, *others = [{"$match": {_key(name): tree_id}} for name in READ]
    unions = [{"$unionWith": {"coll": name, "pipeline": [of]}} for name, of in zip(list(READ)[1:], others, strict=True)]
    return [first, *unions]


def facts_of(documents: Iterable[Document]) -> Facts | None:
    """The facts that were read, some of them maybe twice; None where there is no tree among them."""
    found: dict[str, dict[str, Document]] = {name: {} for name in READ}
    for document in documents:
        name = next(name for name, (_, mark) in READ.items() if mark in document)
        found[name][document["_id"]] = document
    records: dict[str, Any] = {
        name: tuple(READ[name][0].from_document(each) for _, each in sorted(of.items())) for name, of in found.items()
    }
    trees, credits = records.pop("trees"), records.pop("tree_credits")
    return Facts(tree=trees[0], credits=credits[0].taken if credits else (), **records) if trees else None


def joined(facts: Facts, fact: Message | Review | Ranking) -> Facts:
    """The facts with one more, or as they are where they hold it."""
    name = next(name for name, (kind, _) in READ.items() if isinstance(fact, kind))
    had: tuple[Record, ...] = getattr(facts, name)
    if any(each.id == fact.id for each in had):
        return facts
    changed: dict[str, Any] = {name: tuple(sorted([*had, fact], key=lambda each: each.id))}
    return replace(facts, **changed)


def _key(name: str) -> str:
    return "_id" if name in ("trees", "tree_credits") else "tree_id"


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
