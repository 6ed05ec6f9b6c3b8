"""What is stored around a text that somebody is about to add: all that its rules ask for, read by one command."""

from __future__ import annotations

from dataclasses import dataclass

from core.database import Database, Document
from core.facts import AT_ONCE, FIRST, Facts, facts_of, reading
from core.records import Message, text_hash
from core.similar_texts import candidates


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is stored around a text.

    Attributes:
        same: the author's messages with that very text.
        facts: of the tree that it is for, but for a new tree's.
        parent: the message that it replies to.
        rows: what is kept of texts that may be alike (`core.similar_texts`).
    """

    same: tuple[Message, ...] = ()
    facts: Facts | None = None
    parent: Message | None = None
    rows: tuple[Document, ...] = ()


async def look_around(
    database: Database, text: str, parent_id: str | None = None, tree_id: str | None = None,
    author_id: str | None = None,
) -> Surroundings:  # fmt: skip
    """The surroundings of `text`; parent and facts where they are named and exist."""
    content = text_hash(text)
    same: Document = {"$match": {"content_hash": content, "author_id": author_id}}  # of a flood there are thousands
    if tree_id is None:
        name, stages = "messages", [same]
    else:
        name, stages = FIRST, [*reading(tree_id), {"$unionWith": {"coll": "messages", "pipeline": [same]}}]
    found = await database[name].aggregate([*stages, *candidates(text)], batchSize=AT_ONCE)
    documents = [document async for document in found]
    rows = tuple(each for each in documents if "sketch" in each)
    others = [each for each in documents if "sketch" not in each]
    facts = facts_of(each for each in others if tree_id in (each.get("tree_id"), each["_id"]))
    return Surroundings(
        same=tuple(
            Message.from_document(each)
            for each in others
            if (each.get("content_hash"), each.get("author_id")) == (content, author_id)
        ),
        facts=facts,
        parent=next((each for each in (facts.messages if facts else ()) if each.id == parent_id), None),
        rows=rows,
    )
