"""Deleting an account: the person is gone at once, what they left is dealt with step by step, whatever crashes.

`depart` writes down that somebody leaves and empties the account, in one write each; nobody can sign in to it any more.
`carry_out` does the rest, and may be repeated: marks what was learned from (`core.propagation`) before anything is cut;
ends tasks; cuts every link between the account and what stays (messages, reviews, rankings, reactions, reports, the
journal of their own acts), or takes the messages and their texts out, when asked to; deletes chats, sign-ins, points.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pymongo.errors import DuplicateKeyError

from core import answers, layout, message_words, similar_texts, text_changes, tree_credits
from core.config import CollectionConfig
from core.consent import trees_of
from core.database import Database
from core.facts import mark
from core.free_labels import FreeLabels
from core.gold import forget
from core.ids import new_id
from core.journal import record
from core.moderation_queue import rename_evidence
from core.objects import ObjectStore
from core.opinions import Ranking, Reaction, Report, Review
from core.personal_data import personal
from core.propagation import finish, mark_snapshots
from core.records import Message, Record, Task, User, milliseconds, now
from core.rulings import rewrite
from core.settle import settle
from core.user_admin import end_tasks

BATCH = 200
OWN_ACTS = ("edit_message", "withdraw_message", "appeal", "accept_terms", "link_identity", "unlink_identity")
"""Acts of the journal that would tell whose a message was; what somebody did as a moderator stays theirs."""


@dataclass(frozen=True, kw_only=True)
class Departure(Record):
    """Somebody leaving; the id is the account's.

    Attributes:
        withdraw: take the messages along; otherwise they stay, nobody's.
        no_training: the person had said that nothing of theirs may be learned from; messages that stay keep that.
        secret: random; makes pseudonyms that nobody can trace when it is gone.
        state: `open` or `done`.
    """

    withdraw: bool
    secret: str
    key: str
    state: str = "open"
    no_training: bool = False
    created_at: datetime = field(default_factory=now)

    def _keys(self) -> dict[str, Any]:
        return {"open": milliseconds(self.created_at) if self.state == "open" else None}


async def depart(database: Database, user: User, withdraw: bool) -> Departure:
    """Begin to delete an account; the first word on `withdraw` counts."""
    refused = user.no_training_since is not None
    fresh = Departure(id=user.id, withdraw=withdraw, no_training=refused, secret=os.urandom(16).hex(), key=new_id())
    try:
        await database["departures"].insert_one(fresh.to_document())
    except DuplicateKeyError:
        document = await database["departures"].find_one({"_id": user.id})
        fresh = Departure.from_document(document) if document else fresh
    await _empty(database, user.id)
    return fresh


async def _empty(database: Database, user_id: str) -> None:
    """Take out of the account who it was; one write, after which nobody can use it."""
    document = await database["users"].find_one({"_id": user_id})
    if document is None or document["deleted"]:
        return
    gone = User(
        id=user_id, auth_method="deleted", subject=user_id, display_name="", enabled=False, deleted=True,
        show_on_leaderboard=False, created_at=User.from_document(document).created_at,
    ).to_document()  # fmt: skip
    del gone["_id"], gone["created_at"], gone["by_time"]
    await database["users"].update_one({"_id": user_id}, {"$set": gone})


async def carry_out(
    database: Database, config: CollectionConfig, store: ObjectStore | None, departure: Departure
) -> None:
    """Do all that is left of a departure."""
    user_id = departure.id
    await _empty(database, user_id)
    await database["scores"].delete_one({"_id": user_id})  # whoever has some is taken to have an account
    if store is not None:
        await mark_snapshots(database, store, await _sources(database, user_id), departure.key)
    await _finish_tasks(database, config, user_id)
    trees = await _cut_said(database, user_id)
    trees |= await _cut_messages(database, departure)
    trees |= await _cut_reactions(database, departure)
    for tree_id in sorted(trees):
        await mark(database, tree_id)
        await settle(database, config, tree_id)
    await _cut_journal(database, user_id)
    await _delete_chats(database, user_id)
    for name, key in personal():
        await database[name].delete_many({key: user_id})
    await database["appeals"].delete_many({"by_user": _of(user_id)})
    await database["moderation_items"].delete_many({"subject": f"user:{user_id}"})
    await _delete_exports(database, store, user_id)
    await finish(database, departure.key)
    details = {"withdraw": departure.withdraw}
    await record(database, "account_deleted", user_id, details, by=user_id, key="")
    done = {"state": "done", "open": None, "secret": ""}
    await database["departures"].update_one({"_id": user_id}, {"$set": done})


def _of(user_id: str) -> dict[str, str]:
    """The range of a scalar key that begins with the user's id."""
    return {"$gte": f"{user_id}|", "$lt": f"{user_id}}}"}


async def _sources(database: Database, user_id: str) -> dict[str, list[str]]:
    """Tree -> ids of what the person gave to it: messages, reviews, rankings."""
    found: dict[str, list[str]] = defaultdict(list)
    spans = (("messages", {"by_author": _of(user_id)}), ("reviews", {"user_id": user_id}),
             ("rankings", {"user_id": user_id}))  # fmt: skip
    for name, query in spans:
        async for each in database[name].find(query, {"tree_id": 1}):
            found[each["tree_id"]].append(each["_id"])
    return found


async def _finish_tasks(database: Database, config: CollectionConfig, user_id: str) -> None:
    """Work in what was answered, end what is open, and delete all: a task names person, message and text."""
    await end_tasks(database, config, user_id)
    mine = {"holder": _of(user_id)}
    async for document in database["tasks"].find({"holder": f"{user_id}|answered"}):
        await answers.apply(database, config, Task.from_document(document))
    await database["tasks"].delete_many(mine)


async def _cut_said(database: Database, user_id: str) -> set[str]:
    """Let reviews and rankings stand, nobody's; returns the trees that they are in."""
    trees: set[str] = set()
    for name, kind in (("reviews", Review), ("rankings", Ranking)):
        async for document in _batches(database, name, {"user_id": user_id}):
            tree_id = document["tree_id"]
            trees.add(tree_id)
            await tree_credits.forget(database, tree_id, lambda line: tree_credits.user_of(line) == user_id)
            await database["lessons"].update_many(
                {"tree_id": tree_id}, {"$unset": {f"said.{user_id}": "", f"following.said.{user_id}": ""}}
            )
            cut = replace(kind.from_document(document), user_id=None)
            await database[name].update_one({"_id": cut.id}, {"$set": {"user_id": None, **cut.keys()}})
    return trees


async def _cut_messages(database: Database, departure: Departure) -> set[str]:
    """Let messages stand, nobody's, or take them out with their texts; returns the trees that they are in."""
    trees: set[str] = set()
    async for document in _batches(database, "messages", {"by_author": _of(departure.id)}):
        tree_id = document["tree_id"]
        trees.add(tree_id)
        await mark(database, tree_id)
        await tree_credits.forget(database, tree_id, lambda line: tree_credits.user_of(line) == departure.id)
        await text_changes.forget(database, Message.from_document(document), along=departure.withdraw)
        await database["revisions"].delete_many({"message_id": document["_id"]})
        await similar_texts.forget(database, [document["_id"]])
        await database["text_checks"].delete_one({"_id": document["_id"]})
        await database["moderation_items"].delete_many({"_id": f"message:{document['_id']}|appeal"})
        await database["trees"].update_one(
            {"_id": tree_id, "author_id": departure.id}, {"$set": {"author_id": None}, "$inc": {"version": 1}}
        )
        if departure.withdraw:
            await forget(database, [document["_id"]])
            await message_words.forget(database, [document["_id"]])
            await rewrite(database, document["_id"], _taken_along)
            await mark(database, tree_id)  # before the link is cut, by which a repetition finds the message
        else:
            await message_words.nobodys(database, Message.from_document(document))
        await rewrite(database, document["_id"], _refused if departure.no_training else _nobodys)
    return trees


def _nobodys(message: Message) -> Message:
    own = message.edit is not None and message.edit["by"] == message.author_id
    return replace(message, author_id=None, edit=None if own else message.edit)


def _refused(message: Message) -> Message:
    return replace(_nobodys(message), no_training=True)


def _taken_along(message: Message) -> Message:
    return replace(message, deleted=True, removed="account", text="", content_hash="", source=None)


async def _cut_reactions(database: Database, departure: Departure) -> set[str]:
    """Put reactions, reports and free labels under an untraceable name, so that they count once; returns the trees."""
    trees: set[str] = set()
    nobody = "left-" + hashlib.sha256(f"{departure.secret}|{departure.id}".encode()).hexdigest()[:24]
    kinds: tuple[tuple[str, type[Reaction] | type[Report] | type[FreeLabels]], ...] = (
        ("reactions", Reaction), ("reports", Report), ("free_labels", FreeLabels),
    )  # fmt: skip
    for name, kind in kinds:
        async for document in _batches(database, name, {"user_id": departure.id}):
            old = kind.from_document(document)
            trees.add(old.tree_id)
            await mark(database, old.tree_id)
            for reason in ("report", "red_flag"):
                await rename_evidence(
                    database, f"message:{old.message_id}|{reason}", departure.id, nobody, departure.withdraw
                )
            cut = replace(old, id=old.id.replace(departure.id, nobody), user_id=nobody)
            if isinstance(cut, Report) and departure.withdraw:
                cut = replace(cut, reason="")
            new = cut.to_document()
            identity = new.pop("_id")
            await database[name].update_one({"_id": identity}, {"$setOnInsert": new}, upsert=True)
            await database[name].delete_one({"_id": old.id})
    return trees


async def _cut_journal(database: Database, user_id: str) -> None:
    for kind in OWN_ACTS:
        mine = {"by_actor": _of(user_id), "kind": kind}
        await database["events"].update_many(mine, {"$set": {"by": None}, "$unset": {"by_actor": ""}})


async def _delete_chats(database: Database, user_id: str) -> None:
    async for chat in _batches(database, "chats", {"owner_key": _of(user_id)}):
        if not chat["allow_training"]:  # the trees that it gave stay, and so does the refusal
            for tree_id in await trees_of(database, chat["_id"]):
                await database["messages"].update_many(
                    {"tree_id": tree_id}, {"$set": {"no_training": True}, "$inc": {"rev": 1}}
                )
        async for message in database["chat_messages"].find({"chat_id": chat["_id"]}, {"_id": 1}):
            await database["chat_chunks"].delete_many(
                {"key": {"$gte": f"{message['_id']}|", "$lt": f"{message['_id']}|~"}}
            )
        await database["chat_messages"].delete_many({"chat_id": chat["_id"]})
        await database["chats"].delete_one({"_id": chat["_id"]})


async def _delete_exports(database: Database, store: ObjectStore | None, user_id: str) -> None:
    if store is not None:
        await asyncio.to_thread(store.delete_prefix, layout.personal_exports(user_id))
    await database["data_exports"].delete_many({"_id": user_id})


async def _batches(database: Database, name: str, query: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Documents that fit `query`, until none does: the caller sees to it that those yielded no longer do."""
    while found := [document async for document in database[name].find(query).limit(BATCH)]:
        for document in found:
            yield document
