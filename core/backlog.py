"""The backlog: trees that wait to be ranked, such as those made of chats, and how one comes in."""

from __future__ import annotations

import random

from core.advance import has_siblings
from core.config import CollectionConfig
from core.database import Database
from core.facts import move_tree, of_tree
from core.journal import record
from core.records import Message, Tree


async def in_state(database: Database, state: str, pool: str, limit: int) -> list[Tree]:
    """Trees of one state and pool, oldest first."""
    query = {"by_state_lang": {"$gte": f"{state}|{pool}|", "$lt": f"{state}|{pool}}}"}}
    found = database["trees"].find(query).sort("by_state_lang").limit(limit)
    return [Tree.from_document(document) async for document in found]


async def bring(database: Database, config: CollectionConfig, pool: str) -> Tree | None:
    """Put the oldest backlog tree of a pool into ranking, for `core.settle` to open its work; None without one.

    A tree without two replies to compare is put aside (`aborted_low_grade`), and the next is taken.
    """
    while waiting := await in_state(database, "backlog_ranking", pool, 1):
        tree = waiting[0]
        rankable = has_siblings(tree, await of_tree(database, "messages", Message, tree.id), config)
        moved = await move_tree(database, tree, "ranking" if rankable else "aborted_low_grade")
        if moved is not None:
            await record(database, "backlog", tree.id, {"lang": tree.lang, "rankable": rankable}, lang=tree.lang)
        if moved is not None and rankable:
            return moved
    return None


async def after_end(database: Database, config: CollectionConfig, ended: Tree) -> None:
    """A tree has ended: with the configured probability, bring one of its language from the backlog.

    The draw follows from the tree's id, so that a repetition draws the same.
    """
    if random.Random(ended.id).random() < config.p_activate_backlog_tree:  # noqa: S311 - see above
        await bring(database, config, ended.pool)
