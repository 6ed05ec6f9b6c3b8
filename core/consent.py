"""Whose words may be learned from, as it is when a snapshot is frozen.

Writing in a collection is under its terms; a chat is learned from with its own consent. Both may be taken back: by a
person for all that they wrote (`User.no_training_since`), by a chat's owner for the chat. What is frozen already stays
as it is; who wants that marked leaves, or asks for a purge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.database import Database
from core.journal import record
from core.records import Message, Tree, User, milliseconds, now
from core.tree_reading import among

OF_CHAT = "chat"
"""Origin of trees that were made of a chat."""


@dataclass
class Consent:
    """Who said no, and what was left out for it.

    Attributes:
        people: who let nothing of theirs be learned from.
        messages, chats: left out so far: messages by `people`, trees of chats whose consent was taken back.
    """

    people: frozenset[str] = frozenset()
    messages: set[str] = field(default_factory=set)
    chats: set[str] = field(default_factory=set)

    def allowed(self, messages: Sequence[Message]) -> list[Message]:
        """Those of `messages` that may be learned from; what follows one that may not goes with it elsewhere."""
        refused = {message.id for message in messages if message.author_id in self.people}
        self.messages |= refused
        return [message for message in messages if message.id not in refused]

    async def taken_back(self, database: Database, trees: Sequence[Tree]) -> set[str]:
        """Ids of those of `trees` that were made of chats whose owner has taken the consent back; two reads at most."""
        ids = [tree.id for tree in trees if tree.origin == OF_CHAT]
        if not ids:
            return set()
        found = database["chat_messages"].find({"tree_id": among(ids)}, {"tree_id": 1, "chat_id": 1})
        tree_of = {(each["chat_id"], each["tree_id"]) async for each in found}
        query = {"_id": {"$in": sorted({chat_id for chat_id, _ in tree_of})}}
        chats = database["chats"].find(query, {"allow_training": 1})
        refused = {each["_id"] async for each in chats if not each["allow_training"]}
        back = {tree_id for chat_id, tree_id in tree_of if chat_id in refused}
        self.chats |= back
        return back


async def asked(database: Database) -> Consent:
    """Who says no now."""
    found = database["users"].find({"no_training_since": {"$gt": 0}}, {"_id": 1})
    return Consent(people=frozenset([each["_id"] async for each in found]))


async def set_consent(database: Database, user: User, allow: bool) -> User:
    """Let what the person wrote be learned from, or not; for snapshots frozen from now on."""
    since = None if allow else user.no_training_since or milliseconds(now())
    await database["users"].update_one({"_id": user.id}, {"$set": {"no_training_since": since}})
    await record(database, "set_training_consent", user.id, {"allow": allow}, by=user.id)
    found = await database["users"].find_one({"_id": user.id})
    return user if found is None else User.from_document(found)
