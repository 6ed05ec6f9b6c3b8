"""What is stored around a text that somebody is about to add: all that its rules ask for, read by one command."""

from __future__ import annotations

from dataclasses import dataclass

from core.database import Database, Document
from core.records import Message, Tree, text_hash
from core.similar_texts import PER_KEY, candidates
from core.sketches import BANDS


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is stored around a text.

    Attributes:
        same: messages with that very text.
        parent: the message that it replies to.
        tree: the tree that it is for.
        rows: what is kept of texts that may be alike (`core.similar_texts`).
    """

    same: tuple[Message, ...] = ()
    parent: Message | None = None
    tree: Tree | None = None
    rows: tuple[Document, ...] = ()


async def look_around(
    database: Database, text: str, parent_id: str | None = None, tree_id: str | None = None
) -> Surroundings:
    """The surroundings of `text`; parent and tree where they are named and exist."""
    content = text_hash(text)
    stages: list[Document] = [{"$match": {"content_hash": content}}, *candidates(text)]
    for name, identity in (("messages", parent_id), ("trees", tree_id)):
        if identity is not None:
            stages.append({"$unionWith": {"coll": name, "pipeline": [{"$match": {"_id": identity}}]}})
    found = await database["messages"].aggregate(stages, batchSize=2 * BANDS * PER_KEY)
    documents = [document async for document in found]
    messages = [Message.from_document(each) for each in documents if "content_hash" in each]
    trees = [Tree.from_document(each) for each in documents if "goal_size" in each]
    return Surroundings(
        same=tuple(each for each in messages if each.content_hash == content),
        parent=next((each for each in messages if each.id == parent_id), None),
        tree=next(iter(trees), None),
        rows=tuple(each for each in documents if "band" in each),
    )
