"""Editing and taking back one's own messages, while nobody has reviewed, ranked or answered them.

Open tasks on the message end, so that nobody reviews a text that is no more. The texts before an edit are kept in
`revisions`, for moderators.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from core import message_words, screening, tasks
from core.answers import checked_text
from core.config import CollectionConfig
from core.database import Database
from core.errors import Conflict, NotFound
from core.facts import mark
from core.journal import record
from core.pages import one
from core.people_records import Revision, untouched
from core.records import Message, Task, Tree, User, moment, now, text_hash
from core.rules import rules_of
from core.rulings import rewrite
from core.settle import settle


async def edit(database: Database, config: CollectionConfig, user: User, message_id: str, text: str) -> Message:
    """Give one's own message another text; the same text changes nothing.

    Raises:
        BadInput, Conflict: as a submission of that text would.
        Conflict: somebody has reviewed, ranked or answered the message, or is doing so right now.
        NotFound: there is no such message of one's own.
    """
    message = await _own(database, user, message_id)
    tree = await one(database, "trees", Tree, message.tree_id)
    rules = await rules_of(database, config, tree.collection)
    text, around = await checked_text(database, rules, replace(message, text=text))
    if text == message.text:
        return message
    await _free(database, message)
    await keep_text(database, message)
    await mark(database, message.tree_id)
    edited_at = now()
    found = await screening.look(rules, replace(message, text=text), around.rows)
    more = max(message.extra_reviews, screening.extra_reviews(found, rules))
    await message_words.widen(database, message, text)
    _, after = await rewrite(database, message_id, lambda each: _edited(each, message, text, edited_at, more))
    await keep_text(database, after)
    await message_words.keep(database, after)
    await screening.keep(database, rules, after, found)
    await end_tasks(database, message)  # those handed out since may show the text before
    told, number = {"revision": after.revision}, str(after.revision)
    await record(database, "edit_message", message_id, told, by=user.id, key=number, lang=message.lang)
    await mark(database, message.tree_id)
    await settle(database, config, message.tree_id)
    return await one(database, "messages", Message, message_id)


def _edited(each: Message, seen: Message, text: str, at: datetime, extra_reviews: int) -> Message:
    _check_untouched(each)
    if each.revision != seen.revision:
        raise Conflict("this message was edited elsewhere meanwhile; read it again")
    return replace(
        each, text=text, content_hash=text_hash(text), revision=each.revision + 1, edited_at=at,
        extra_reviews=extra_reviews,
    )  # fmt: skip


async def withdraw(database: Database, config: CollectionConfig, user: User, message_id: str) -> Message:
    """Take one's own message back; twice is as once. Errors as those of `edit`."""
    message = await _own(database, user, message_id)
    if message.removed == "author":
        return message
    await _free(database, message)
    await mark(database, message.tree_id)

    def taken_back(each: Message) -> Message:
        _check_untouched(each)
        return replace(each, deleted=True, removed="author")

    await rewrite(database, message_id, taken_back)
    await end_tasks(database, message)
    told = {"tree": message.tree_id}
    await record(database, "withdraw_message", message_id, told, by=user.id, key="", lang=message.lang)
    await mark(database, message.tree_id)
    await settle(database, config, message.tree_id)
    return await one(database, "messages", Message, message_id)


async def revisions(database: Database, message_id: str) -> list[Revision]:
    """The texts that a message had, the first one first; empty when it was never edited."""
    found = [document async for document in database["revisions"].find({"message_id": message_id})]
    texts = [Revision(each["number"], each["text"], moment(each["at"])) for each in found]
    return sorted(texts, key=lambda each: each.number)


async def _own(database: Database, user: User, message_id: str) -> Message:
    message = await one(database, "messages", Message, message_id)
    if message.author_id != user.id:
        raise NotFound(f"there is no message {message_id!r} of yours")
    return message


def _check_untouched(message: Message) -> None:
    if message.deleted or message.ruling is not None:
        raise Conflict(f"message {message.id} was taken out or decided by a moderator; it stays as it is")
    if not untouched(message):
        raise Conflict(f"message {message.id} has been reviewed; it can no longer be changed")


async def _free(database: Database, message: Message) -> None:
    """See to it that nobody is at work on the message; raises `Conflict` when somebody has done some."""
    _check_untouched(message)
    if not await end_tasks(database, message):
        raise Conflict(f"message {message.id} is being reviewed right now; it can no longer be changed")
    for name, key in (("reviews", "message_id"), ("messages", "parent_id"), ("rankings", "parent_id")):
        async for document in database[name].find({"tree_id": message.tree_id}):
            if document[key] == message.id:
                raise Conflict(f"message {message.id} has been answered or reviewed; it can no longer be changed")


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


async def keep_text(database: Database, message: Message) -> None:
    """Keep the text that a message has now among its revisions; twice is as once."""
    fields: dict[str, Any] = {
        "message_id": message.id, "number": message.revision, "text": message.text,
        "at": message.edited_at or message.created_at,
    }  # fmt: skip
    identity = f"{message.id}|{message.revision}"
    await database["revisions"].update_one({"_id": identity}, {"$setOnInsert": fields}, upsert=True)
