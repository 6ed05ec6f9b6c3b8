"""Migrations that bring what is kept of texts into the form of `core.text_rows`; each may be stopped and begun anew."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pymongo.errors import BulkWriteError, OperationFailure

from core.records import Message
from core.sketches import BAND_NAMES
from core.text_rows import from_band, words_row

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    Store = AsyncDatabase[dict[str, Any]]

BATCH = 200
"""Texts that are moved at a time."""
NOT_FOUND = 27
DUPLICATE = 11000
"""The store's codes for an index that is not there, and a document that is."""
OLD_BANDS = 8
"""Rows that a text had, at most."""


async def words_beside_messages(database: Store) -> None:
    """Give every message its row of `message_words`, with the text index, and take that of `messages` away."""
    await text_index(database, "message_words")
    last = ""  # copies that gold items hold have no place in time: nobody finds them
    while True:
        found = database["messages"].find({"by_time": {"$gt": last}}).sort("by_time", 1).limit(BATCH)
        documents = [document async for document in found]
        if not documents:
            break
        last = documents[-1]["by_time"]
        await _add(database, "message_words", [words_row(Message.from_document(each)) for each in documents])
    await _drop_index(database, "messages", "words")
    with suppress(OperationFailure):  # the embedded document store names text indexes by their field, and elsewhere
        async for index in await database["messages"].aggregate([{"$listSearchIndexes": {}}]):
            if index.get("key") == {"text": "text"}:
                await database.command({"dropSearchIndex": "messages", "name": "text"})


async def text_index(database: Store, name: str) -> None:
    """An index of the words of `text`, of no language's stop words and endings: a tree may be in any language."""
    try:
        await database[name].create_index([("text", "text")], name="words", default_language="none")
    except OperationFailure as error:
        if error.code is not None:  # the embedded document store refuses, without a code, what it has already
            raise


async def one_row_a_text(database: Store) -> None:
    """Put one row with all keys of a text in the place of those that there were, one for each key."""
    for name in BAND_NAMES:
        await database["text_bands"].create_index(name)
    while True:
        found = database["text_bands"].find({"band": {"$gt": ""}}).sort("band", 1).limit(BATCH)
        texts = {row["message_id"]: from_band(row) async for row in found}
        if not texts:
            break
        await _add(database, "text_bands", list(texts.values()))
        olds = [f"{message_id}|{number}" for message_id in texts for number in range(OLD_BANDS)]
        await database["text_bands"].delete_many({"_id": {"$in": olds}})
    await _drop_index(database, "text_bands", "band_1")


async def nobody_asks_by_parent(database: Store) -> None:
    """Take away an index of messages that nothing is read by: whoever wants replies reads the tree."""
    await _drop_index(database, "messages", "parent_id_1")


async def _add(database: Store, name: str, rows: Collection[dict[str, Any]]) -> None:
    """Store the rows that are not there yet."""
    ids = {"_id": {"$in": [row["_id"] for row in rows]}}
    there = {row["_id"] async for row in database[name].find(ids, {"_id": 1})}
    if missing := [row for row in rows if row["_id"] not in there]:
        try:
            await database[name].insert_many(missing, ordered=False)
        except BulkWriteError as error:  # somebody stored the same meanwhile
            if any(each["code"] != DUPLICATE for each in (error.details or {})["writeErrors"]):
                raise


async def _drop_index(database: Store, collection: str, name: str) -> None:
    try:
        await database[collection].drop_index(name)
    except OperationFailure as error:
        if error.code != NOT_FOUND:
            raise
