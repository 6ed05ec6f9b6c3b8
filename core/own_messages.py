"""Editing and taking back one's own messages, while nobody has reviewed, ranked or answered them.

Open tasks on the message end, so that nobody reviews a text that is no more. The texts before an edit are kept in
`revisions`, for moderators.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from core import message_words, screening, text_changes
from core.answers import checked_text
from core.config import CollectionConfig
from core.database import Database
from core.errors import Conflict, NotFound
from core.pages import one
from core.people_records import Revision, untouched
from core.records import Message, Tree, User, moment, now, text_hash
from core.rules import rules_of
from core.rulings import rewrite


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
        await text_changes.finish(database, config, message)
        return message
    await _free(database, message)
    key = await text_changes.begin(database, config, message)
    edited_at = now()
    found = await screening.look(rules, replace(message, text=text), around.rows)
    more = max(message.extra_reviews, screening.extra_reviews(found, rules))
    await text_changes.keep_text(database, message)
    await message_words.widen(database, message, text)
    _, after = await rewrite(database, message_id, lambda each: _edited(each, message, text, edited_at, more))
    await text_changes.follow(database, config, after, edited=True, found=found)
    await text_changes.end(database, message_id, key)
    return await one(database, "messages", Message, message_id)


def _edited(each: Message, seen: Message, text: str, at: datetime, extra_reviews: int) -> Message:
    _check_untouched(each)
    if each.revision != seen.revision:
        raise Conflict("this message was edited elsewhere meanwhile; read it again")
    return replace(
        each, text=text, content_hash=text_hash(text), revision=each.revision + 1, edited_at=at,
        extra_reviews=extra_reviews, edit={"act": text_changes.EDITED, "by": each.author_id},
    )  # fmt: skip


async def withdraw(database: Database, config: CollectionConfig, user: User, message_id: str) -> Message:
    """Take one's own message back; twice is as once. Errors as those of `edit`."""
    message = await _own(database, user, message_id)
    if message.removed == "author":
        await text_changes.finish(database, config, message)
        return message
    await _free(database, message)
    key = await text_changes.begin(database, config, message)

    def taken_back(each: Message) -> Message:
        _check_untouched(each)
        return replace(each, deleted=True, removed="author")

    _, after = await rewrite(database, message_id, taken_back)
    await text_changes.follow(database, config, after, edited=False)
    await text_changes.end(database, message_id, key)
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
    if not await text_changes.end_tasks(database, message):
        raise Conflict(f"message {message.id} is being reviewed right now; it can no longer be changed")
    for name, key in (("reviews", "message_id"), ("messages", "parent_id"), ("rankings", "parent_id")):
        async for document in database[name].find({"tree_id": message.tree_id}):
            if document[key] == message.id:
                raise Conflict(f"message {message.id} has been answered or reviewed; it can no longer be changed")
