"""Has ready what the messages of a list will be asked for, so that none of them has to wait for it by itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from graphql import FieldNode, FragmentSpreadNode

from core.records import Message, Tree

from .context import Info
from .message_types import may_name

SECRETS = frozenset({"emojis", "labels", "author", "synthetic", "modelVersion", "replyConsensus", "refusedFor"})
"""Fields of a message that depend on its tree."""


async def prefetch(records: Sequence[Message], info: Info, tree: Tree | None = None) -> None:
    """Fill the loaders of the operation for `records`, by at most one read of trees and one of people.

    Args:
        records: messages that will be shown.
        info: of the field that shows them.
        tree: their tree, where it is known and they are all of one.
    """
    context, loaders = info.context, info.context.loaders
    loaders.messages.prime_many({record.id: record for record in records})
    if tree is not None:
        loaders.trees.prime(tree.id, tree)
    if context.viewer is not None and asks_for(info, {"myEmojis"}):
        await loaders.emojis.load_many([f"{record.id}|{context.viewer.id}" for record in records])
    if not asks_for(info, SECRETS):
        return
    await loaders.trees.load_many(list({record.tree_id for record in records}))
    if asks_for(info, {"author"}):
        viewer = "" if context.viewer is None else context.viewer.id
        shown = {
            record.author_id
            for record in records
            if record.author_id is not None
            and (record.author_id == viewer or may_name(context, record, loaders.trees.now(record.tree_id)))
        }
        await loaders.users.load_many(list(shown))


def asks_for(info: Info, names: Collection[str]) -> bool:
    """Whether a field of one of these names stands somewhere below this one in the document."""
    raw: Any = info._raw_info
    pending: list[Any] = [node.selection_set for node in raw.field_nodes]
    spread: set[str] = set()
    while pending:
        for node in () if (nodes := pending.pop()) is None else nodes.selections:
            if isinstance(node, FragmentSpreadNode):
                if node.name.value not in spread:
                    spread.add(node.name.value)
                    pending.append(raw.fragments[node.name.value].selection_set)
            elif isinstance(node, FieldNode) and node.name.value in names:
                return True
            else:
                pending.append(node.selection_set)
    return False
