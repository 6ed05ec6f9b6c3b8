"""Changes of the document store's shape: known by name, in the order of `MIGRATIONS`, idempotent, never edited later.

Every index that a hot path reads by has one scalar field. Ids are `_id` and need none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from core.oauth_records import SIGN_IN_INDEXES
from core.pools import DEFAULT
from core.records import Message, Task, User
from core.score_migration import credits_of_trees, one_document_a_person
from core.text_migrations import nobody_asks_by_parent, one_row_a_text, text_index, words_beside_messages

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    Migration = tuple[str, Callable[[AsyncDatabase[dict[str, Any]]], Awaitable[None]]]

COLLECTION_INDEXES: dict[str, tuple[str, ...]] = {
    "users": ("by_time",),
    "trees": ("by_time", "by_lang", "by_state", "by_state_lang", "dirty"),
    "messages": ("tree_id", "parent_id", "by_time", "by_lang", "by_author", "content_hash"),
    "tasks": ("holder", "deadline"),
    "work": ("key", "tree_id", "check_at"),
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


CHAT_INDEXES: dict[str, tuple[str, ...]] = {
    "chats": ("owner_key",),
    "chat_messages": ("chat_id", "lease_until", "wheel_due"),
    "jobs": ("by_time", "open"),
}


async def _chat_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    for collection, names in CHAT_INDEXES.items():
        for name in names:
            await database[collection].create_index(name, sparse=name in ("lease_until", "wheel_due", "open"))
    await database["chat_chunks"].create_index("key", unique=True)
    await database["chat_chunks"].create_index("expires_at", expireAfterSeconds=0)


async def _limit_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    await database["rate_buckets"].create_index("full_at")
    await database["documents"].create_index("by_time")
    await database["documents"].create_index("expires_at", expireAfterSeconds=0)


async def _sign_in_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    for collection, names in SIGN_IN_INDEXES.items():
        for name in names:
            await database[collection].create_index(name)


PEOPLE_INDEXES: dict[str, tuple[str, ...]] = {
    "moderation_items": ("open_all", "open_lang", "open_reason", "open_lang_reason", "subject", "tree_id"),
    "events": ("by_subject", "by_actor", "by_kind"),
    "appeals": ("by_user", "unapplied"),
    "revisions": ("message_id",),
    "reviews": ("by_user",),
    "rankings": ("by_user",),
    "reactions": ("user_id",),
    "reports": ("user_id",),
    "scores": ("user_id",),
    "score_marks": ("at",),
    "data_exports": ("due",),
    "departures": ("open",),
    "purges": ("open",),
    "deleted_contributions": ("by_time",),
}


async def _people_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    for collection, names in PEOPLE_INDEXES.items():
        for name in names:
            sparse = name in ("by_actor", "unapplied", "due", "open")
            await database[collection].create_index(name, sparse=sparse)


async def _learning_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    await database["lessons"].create_index("tree_id")


async def _idempotency_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    await database["idempotent_answers"].create_index("expires_at", expireAfterSeconds=0)


async def _text_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    for name in ("band", "at"):
        await database["text_bands"].create_index(name)


async def _gold_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    for name in ("by_time", "sources"):
        await database["gold"].create_index(name)


async def _trust_index(database: AsyncDatabase[dict[str, Any]]) -> None:
    await database["scores"].create_index("trust_due", sparse=True)


async def _agreement_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    await database["tree_agreement"].create_index("due", sparse=True)
    await database["agreement_periods"].create_index("by_period")


async def _languages_of_acts(database: AsyncDatabase[dict[str, Any]]) -> None:
    """Give the journal's entries the language of what they concern, as they have it from now on."""
    concerned = ("set_enabled", "set_notes", "set_trusted", "trust_by_work")
    await database["events"].update_many(
        {"kind": {"$in": concerned}, "lang": {"$exists": False}}, {"$set": {"lang": "*"}}
    )
    async for entry in database["events"].find({"lang": {"$exists": False}}, {"subject": 1}):
        about = {"_id": entry["subject"]}
        for name in ("messages", "trees", "gold"):
            if (found := await database[name].find_one(about, {"lang": 1})) is not None:
                await database["events"].update_one({"_id": entry["_id"]}, {"$set": {"lang": found["lang"]}})
                break


async def _member_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    await database["snapshot_members"].create_index("tree")
    for name in ("key", "until"):
        await database["gone_sources"].create_index(name)
    await database["gone_sources"].create_index("expires_at", expireAfterSeconds=0)


async def _free_label_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    for name in ("message_id", "user_id", "by_time"):
        await database["free_labels"].create_index(name)


async def _assertion_index(database: AsyncDatabase[dict[str, Any]]) -> None:
    await database["client_assertions"].create_index("expires_ms")


async def _trouble_and_consent_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    await database["scores"].create_index("troll", sparse=True)
    await database["users"].create_index("no_training_since", sparse=True)
    await database["chat_messages"].create_index("tree_id", sparse=True)


async def _consent_due_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    for name in ("users", "chats"):
        await database[name].create_index("consent_due", sparse=True)


async def _people_and_texts_found(database: AsyncDatabase[dict[str, Any]]) -> None:
    """What moderators find people and messages by; people who are there already get their keys."""
    async for document in database["users"].find({}):
        await database["users"].update_one({"_id": document["_id"]}, {"$set": User.from_document(document).listed()})
    for name in ("by_name", "by_rank", "by_state"):
        await database["users"].create_index(name, sparse=name == "by_state")
    await text_index(database, "messages")


async def _skip_index(database: AsyncDatabase[dict[str, Any]]) -> None:
    """What the reasons of skips are found by."""
    async for document in database["tasks"].find({"state": "skipped"}):
        if skipped := Task.from_document(document).keys().get("skipped"):
            await database["tasks"].update_one({"_id": document["_id"]}, {"$set": {"skipped": skipped}})
    await database["tasks"].create_index("skipped", sparse=True)


async def _collections_of_items(database: AsyncDatabase[dict[str, Any]]) -> None:
    """Give what waits for moderators the collection of its tree, as it has it from now on."""
    waiting = {"open_all": {"$gt": ""}, "collection": None}
    async for item in database["moderation_items"].find(waiting, {"tree_id": 1}):
        tree = await database["trees"].find_one({"_id": item["tree_id"]}, {"collection": 1})
        if tree is not None:
            change = {"$set": {"collection": tree.get("collection", DEFAULT)}}
            await database["moderation_items"].update_one({"_id": item["_id"]}, change)


async def _collections_of_messages(database: AsyncDatabase[dict[str, Any]]) -> None:
    """Give messages that are not in the default collection that of their tree, and the key that they are found by."""
    async for tree in database["trees"].find({"collection": {"$nin": [DEFAULT, None]}}, {"collection": 1}):
        missing = database["messages"].find({"tree_id": tree["_id"], "collection": None})
        for document in [each async for each in missing]:
            of = {"collection": tree["collection"]}
            keys = Message.from_document(document | of).keys()
            # Counted as a change: whoever read it before would write it back without.
            await database["messages"].update_one({"_id": document["_id"]}, {"$set": of | keys, "$inc": {"rev": 1}})
    await database["messages"].create_index("by_collection", sparse=True)


async def _text_change_index(database: AsyncDatabase[dict[str, Any]]) -> None:
    await database["text_changes"].create_index("due")


MIGRATIONS: tuple[Migration, ...] = (
    ("indexes of collection", _collection_indexes),
    ("indexes of chats and jobs", _chat_indexes),
    ("indexes of rate limits and registered documents", _limit_indexes),
    ("indexes of sign-in", _sign_in_indexes),
    ("indexes of moderation and people", _people_indexes),
    ("index of what is learned of reviewers and rankers", _learning_indexes),
    ("indexes of idempotent answers", _idempotency_indexes),
    ("indexes of texts that are alike", _text_indexes),
    ("indexes of gold items", _gold_indexes),
    ("index of whose work may have earned trust", _trust_index),
    ("indexes of agreement over time", _agreement_indexes),
    ("languages of the journal's entries", _languages_of_acts),
    ("index of the assertions of clients", _assertion_index),
    ("indexes of what is in which snapshot", _member_indexes),
    ("indexes of free labels", _free_label_indexes),
    ("indexes of troublemakers and of consent", _trouble_and_consent_indexes),
    ("indexes of consents that marks have to follow", _consent_due_indexes),
    ("what people and texts are found by", _people_and_texts_found),
    ("index of the reasons of skips", _skip_index),
    ("collections of what waits for moderators", _collections_of_items),
    ("one score document a person", one_document_a_person),
    ("words of messages in a collection of their own", words_beside_messages),
    ("one row for each text that others may be like", one_row_a_text),
    ("no index of messages by their parent", nobody_asks_by_parent),
    ("collections of messages", _collections_of_messages),
    ("credits with their tree", credits_of_trees),
    ("index of changes of texts under way", _text_change_index),
)
