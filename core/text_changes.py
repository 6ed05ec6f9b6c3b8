"""What follows from a change of a message's text, or from its being taken back, whatever crashes.

Whoever changes one begins with a note in `text_changes` (`begin`), makes the change by one write to the message, which
then says who did it (`Message.edit`, `removed`), does what follows (`follow`) and takes the note away (`end`). What a
crash leaves is done by the sweeper, or by who comes next: the text among the revisions, what finds it, the end of tasks
on the text before, the journal.
"""

from __future__ import annotations

from typing import Any

from core import message_words, screening, similar_texts, tasks
from core.config import CollectionConfig
from core.database import Database, Document
from core.facts import mark
from core.ids import new_id
from core.journal import record
from core.pages import one
from core.records import Message, Task, Tree, milliseconds, now
from core.rules import rules_of
from core.screening import Screening
from core.settle import settle
from core.surroundings import look_around

TAKEN = 120_000
"""Milliseconds for which who began is left alone: longer than any operation may take."""
BATCH = 100
EDITED, CORRECTED = "edit_message", "correct_message"
"""Acts of `Message.edit`, named as in the journal."""


async def begin(database: Database, config: CollectionConfig, message: Message) -> str:
    """Note that the text of `message`, as it is, is about to change; returns the note's key, for `end`.

    What an earlier change left is done first, since the message says only who made the latest.
    """
    await finish(database, config, message)
    key = new_id()
    note = {"revision": message.revision, "due": milliseconds(now()) + TAKEN, "key": key}
    await database["text_changes"].update_one({"_id": message.id}, {"$set": note}, upsert=True)
    await mark(database, message.tree_id)
    return key


async def end(database: Database, message_id: str, key: str) -> None:
    """Take the note away, unless somebody else has begun since."""
    await database["text_changes"].delete_one({"_id": message_id, "key": key})


async def finish(database: Database, config: CollectionConfig, message: Message) -> None:
    """Do what a change of `message`, or a crash amid it, has left to do; what is under way elsewhere, too."""
    if (note := await database["text_changes"].find_one({"_id": message.id})) is not None:
        await _finish(database, config, message, note)


async def forget(database: Database, message: Message, *, along: bool) -> None:
    """Leave a change of a message that loses its author as a crash left it, but for the journal.

    Args:
        along: the author takes the message along; the note stays for what may still be stored of its texts.
    """
    if (note := await database["text_changes"].find_one({"_id": message.id})) is not None:
        await journal(database, message)
        if not along:
            await end(database, message.id, note["key"])


async def heal(database: Database, config: CollectionConfig, note: Document) -> None:
    """Finish a change that a crash left; the note of one that was never made is dropped, and what was stored for the
    change of a message that was erased meanwhile."""
    document = await database["messages"].find_one({"_id": note["_id"]})
    if document is None or document.get("removed") == "account":
        await message_words.forget(database, [note["_id"]])
        await similar_texts.forget(database, [note["_id"]])
        await database["revisions"].delete_many({"message_id": note["_id"]})
        await database["text_checks"].delete_one({"_id": note["_id"]})
    else:
        message = Message.from_document(document)
        await message_words.keep(database, message)  # without those of a text that never came
        await _finish(database, config, message, note)
    await end(database, note["_id"], note["key"])


async def _finish(database: Database, config: CollectionConfig, message: Message, note: Document) -> None:
    edited = message.revision > note["revision"]
    if edited or message.removed == "author":
        await follow(database, config, message, edited=edited)
        await end(database, message.id, note["key"])


async def overdue(database: Database) -> list[Document]:
    """Notes of changes that should have ended, and of such as were never made: the oldest."""
    found = database["text_changes"].find({"due": {"$lte": milliseconds(now())}}).sort("due").limit(BATCH)
    return [note async for note in found]


async def follow(
    database: Database, config: CollectionConfig, message: Message, *, edited: bool, found: Screening | None = None
) -> None:
    """Do what follows from the change of `message` that is stored; twice is as once.

    Args:
        edited: it has got another text; otherwise it was taken back.
        found: in the text that its author gave it, where that is known.
    """
    if edited and message.edit is not None:
        await keep_text(database, message)
        await message_words.keep(database, message)
        if message.edit["act"] == EDITED:
            tree = await one(database, "trees", Tree, message.tree_id)
            rules = await rules_of(database, config, tree.collection)
            if found is None:
                found = await screening.look(rules, message, (await look_around(database, message.text)).rows)
            await screening.keep(database, rules, message, found)
        else:
            await similar_texts.remember(database, message)
    await end_tasks(database, message)  # those handed out since the change began may show the text before
    await journal(database, message)
    await mark(database, message.tree_id)
    await settle(database, config, message.tree_id)


async def journal(database: Database, message: Message) -> None:
    """Write down who gave the message its present text, and that its author took it back; twice is as once."""
    if edit := message.edit:
        told = {"revision": message.revision} | ({"reason": edit["reason"]} if "reason" in edit else {})
        await record(
            database, edit["act"], message.id, told, by=edit["by"], key=str(message.revision), lang=message.lang
        )
    if message.removed == "author":
        told = {"tree": message.tree_id}
        await record(database, "withdraw_message", message.id, told, by=message.author_id, key="", lang=message.lang)


async def keep_text(database: Database, message: Message) -> None:
    """Keep the text that a message has now among its revisions; twice is as once."""
    fields: dict[str, Any] = {
        "message_id": message.id, "number": message.revision, "text": message.text,
        "at": message.edited_at or message.created_at,
    }  # fmt: skip
    identity = f"{message.id}|{message.revision}"
    await database["revisions"].update_one({"_id": identity}, {"$setOnInsert": fields}, upsert=True)


async def end_tasks(database: Database, message: Message) -> bool:
    """End the open tasks on a message (their places return when the tree is settled); False when one was answered."""
    none_answered = True
    async for work in database["work"].find({"tree_id": message.tree_id}):
        held: list[str] = list(work["holds"]) if work["target_id"] == message.id else []
        async for document in database["tasks"].find({"_id": {"$in": held}}):
            task = Task.from_document(document)
            ended = task.state == "open" and await tasks.move(database, task, "expired")
            none_answered &= ended or task.state in ("expired", "skipped")
    return none_answered
