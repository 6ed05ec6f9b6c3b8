"""Changes of the document store's shape: numbered by their place in `MIGRATIONS`, idempotent, never edited later.

Every index that a hot path reads by has one scalar field. Ids are `_id` and need none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    Migration = tuple[str, Callable[[AsyncDatabase[dict[str, Any]]], Awaitable[None]]]

COLLECTION_INDEXES: dict[str, tuple[str, ...]] = {
    "users": ("by_time",),
    "trees": ("by_time", "by_lang", "by_state", "by_state_lang", "dirty"),
    "messages": ("tree_id", "parent_id", "by_time", "by_lang", "by_author", "content_hash"),
    "tasks": ("holder", "deadline"),
    "work": ("key", "tree_id"),
    "reviews": ("tree_id", "user_id"),
    "rankings": ("tree_id", "user_id"),
    "reactions": ("tree_id", "message_id"),
    "reports": ("tree_id", "by_time"),
    "credits": ("tree_id", "applied"),
    "scores": ("board",),
    "events": ("by_time", "subject"),
}


async def _collection_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    for collection, names in COLLECTION_INDEXES.items():
        for name in names:
            await database[collection].create_index(name)
    await database["users"].create_index("identity", unique=True)


MIGRATIONS: tuple[Migration, ...] = (("indexes of collection", _collection_indexes),)
