"""A conversation tree: its state, and its messages as pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import strawberry

from core.records import Message, Tree

from .context import Context, Info
from .enums import TreeState
from .message_types import MessageNode, load_message, may_reveal
from .nodes import reads
from .prefetch import prefetch
from .relay import After, Connection, First, Node, global_id, slice_connection


@strawberry.type(name="Tree", description="A conversation tree: one prompt and everything said after it.")
class TreeNode(Node):
    """A tree."""

    record: strawberry.Private[Tree]
    state: TreeState = strawberry.field(description="Where it is on its way.")
    lang: str = strawberry.field(description="Language, as a BCP 47 tag.")
    collection_id: strawberry.ID = strawberry.field(description="The collection that it belongs to.")
    goal_size: int = strawberry.field(description="Accepted messages at which it stops growing, root included.")
    max_depth: int = strawberry.field(description="Deepest level of a message; the root is 0.")
    max_children: int = strawberry.field(description="Replies wanted under one prompt.")
    num_rankings: int = strawberry.field(description="Rankings wanted of each set of siblings.")
    created_at: datetime = strawberry.field(description="When its prompt was written.")

    @strawberry.field(description="Where it came from, such as an import or `chat`; null until the tree has ended.")
    def origin(self, info: Info) -> str | None:
        """The origin, for whom it may be shown: of a tree made from a chat, models wrote all replies."""
        return self.record.origin if may_reveal(info.context, self.record) else None

    @strawberry.field(
        description="How far those who ranked its replies agreed when it ended: Krippendorff's alpha, ordinal, pooled "
        "over all sets of siblings; 1 is full agreement, 0 chance. Null before, and where nothing can disagree."
    )
    async def agreement(self, info: Info) -> float | None:
        """Alpha, for whom it may be shown."""
        if not may_reveal(info.context, self.record):
            return None
        found = await info.context.loaders.agreements.load(self.record.id)
        return None if found is None else found.alpha

    @strawberry.field(description="The prompt that opened it.")
    async def root(self, info: Info) -> MessageNode | None:
        """The root message; its id is the tree's."""
        return await load_message(info.context, self.record.id)

    @strawberry.field(description="Its messages: parents before their replies, siblings by rank, then by time.")
    async def messages(self, info: Info, first: First, after: After = None) -> Connection[MessageNode]:
        """A page of the tree's messages, read whole and cut here: a tree has at most a few dozen."""
        records = await info.context.loaders.tree_messages.load(self.record.id) or []
        await prefetch(records, info, self.record)
        return message_slice(records, info.context, first, after)

    @classmethod
    def of(cls, record: Tree) -> TreeNode:
        """The tree."""
        return cls(
            id=global_id("Tree", record.id),
            record=record,
            state=TreeState(record.state),
            lang=record.lang,
            collection_id=global_id("Collection", record.collection),
            goal_size=record.goal_size,
            max_depth=record.max_depth,
            max_children=record.max_children,
            num_rankings=record.num_rankings,
            created_at=record.created_at,
        )


@reads("Tree")
async def load_tree(context: Context, tree_id: str) -> TreeNode | None:
    """The tree with that id; None if there is none."""
    context.user()
    record = await context.loaders.trees.load(tree_id)
    return None if record is None else TreeNode.of(record)


def message_slice(
    records: Sequence[Message], context: Context, first: int, after: str | None
) -> Connection[MessageNode]:
    """A page of messages that are at hand whole."""
    return slice_connection(
        records, first, after, key=lambda record: record.id, node=lambda record: MessageNode.of(record, context)
    )
