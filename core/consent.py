"""Whose words may be learned from, as it is when a snapshot is frozen.

Writing in a collection is under its terms; a chat is learned from with its own consent. Both may be taken back: by a
person for all that they wrote (`User.no_training_since`), by a chat's owner for the chat. What is frozen already stays
as it is, and is marked in the background (`follow`), until the consent is given again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core import propagation
from core.database import Database
from core.ids import new_id
from core.journal import record
from core.records import Message, Tree, User, milliseconds, now
from core.tree_reading import among

if TYPE_CHECKING:
    from core.objects import ObjectStore

OF_CHAT = "chat"
"""Origin of trees that were made of a chat."""


@dataclass
class Consent:
    """Who said no, and what was left out for it.

    Attributes:
        people: who let nothing of theirs be learned from.
        messages, chats: how many were left out so far: messages by `people`, trees of chats whose consent was taken
            back.
    """

    people: frozenset[str] = frozenset()
    messages: int = 0
    chats: int = 0

    def allowed(self, messages: Sequence[Message]) -> list[Message]:
        """Those of `messages` that may be learned from; what follows one that may not goes with it elsewhere."""
        refused = {each.id for each in messages if each.no_training or each.author_id in self.people}
        self.messages += len(refused)
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
        self.chats += len(back)
        return back


async def asked(database: Database) -> Consent:
    """Who says no now."""
    found = database["users"].find({"no_training_since": {"$gt": 0}}, {"_id": 1})
    return Consent(people=frozenset([each["_id"] async for each in found]))


async def set_consent(database: Database, user: User, allow: bool) -> User:
    """Let what the person wrote be learned from, or not; for snapshots frozen from now on. Those that there are get
    their marks in the background."""
    moment = milliseconds(now())
    since = None if allow else user.no_training_since or moment
    if user.consent_key is None:
        await database["users"].update_one({"_id": user.id, "consent_key": None}, {"$set": {"consent_key": new_id()}})
    await database["users"].update_one({"_id": user.id}, {"$set": {"no_training_since": since, "consent_due": moment}})
    await record(database, "set_training_consent", user.id, {"allow": allow}, by=user.id)
    found = await database["users"].find_one({"_id": user.id})
    return user if found is None else User.from_document(found)


async def follow(database: Database, store: ObjectStore, name: str, identity: str) -> None:
    """Mark the snapshots that hold what a person (or chat) took the consent back for, or lift those marks.

    Args:
        name: `users` or `chats`.
        identity: of the person or chat.
    """
    document = await database[name].find_one({"_id": identity})
    if document is None or document.get("consent_key") is None:  # left, or deleted
        return
    key, due = document["consent_key"], document["consent_due"]
    refused = not document["allow_training"] if name == "chats" else document["no_training_since"] is not None
    if refused:
        sources = await (_of_chat if name == "chats" else _by_person)(database, identity)
        await propagation.mark_snapshots(database, store, sources, key, propagation.WITHDRAWN)
        await propagation.finish(database, key)
    else:
        await propagation.lift(database, key)
    done = await database[name].update_one({"_id": identity, "consent_due": due}, {"$set": {"consent_due": None}})
    if not done.matched_count:  # said anew meanwhile, and perhaps followed already, across what was done here
        again = {"_id": identity, "consent_key": key}
        await database[name].update_one(again, {"$set": {"consent_due": milliseconds(now())}})


async def _by_person(database: Database, user_id: str) -> dict[str, list[str]]:
    """Tree -> ids of the messages that the person wrote in it."""
    found: dict[str, list[str]] = defaultdict(list)
    own = {"by_author": {"$gte": f"{user_id}|", "$lt": f"{user_id}}}"}}
    async for each in database["messages"].find(own, {"tree_id": 1}):
        found[each["tree_id"]].append(each["_id"])
    return found


async def _of_chat(database: Database, chat_id: str) -> dict[str, list[str]]:
    """Tree that was made of the chat -> ids of all of its messages."""
    found: dict[str, list[str]] = defaultdict(list)
    if trees := await trees_of(database, chat_id):
        async for each in database["messages"].find({"tree_id": among(trees)}, {"tree_id": 1}):
            found[each["tree_id"]].append(each["_id"])
    return found


async def trees_of(database: Database, chat_id: str) -> list[str]:
    """Ids of the trees that were made of a chat."""
    turns = database["chat_messages"].find({"chat_id": chat_id}, {"tree_id": 1})
    return sorted({each["tree_id"] async for each in turns if each.get("tree_id")})
