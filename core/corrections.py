"""A moderator mends somebody's text, such as personal data in it: the texts before stay in `revisions`.

Verdict, labels and rankings stay, as in Open-Assistant: a correction is to be small. The journal says who and why; the
author sees all texts of their message.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from core import message_words, text_changes
from core.config import CollectionConfig
from core.database import Database
from core.errors import BadInput, Conflict, Forbidden
from core.moderation_records import check_moderator
from core.pages import one
from core.records import COPY, Message, Tree, User, now, text_hash
from core.rules import rules_of
from core.rulings import check_reason, rewrite
from core.texts import check_text


async def correct(
    database: Database, config: CollectionConfig, moderator: User, message_id: str, text: str, reason: str
) -> Message:
    """Give a message another text; the same text changes nothing. Tasks on it end: they show what is no more.

    Raises:
        BadInput: the text may not stand in its collection, or there is no reason.
        Conflict: it was taken out, or is edited elsewhere right now, or is a copy that a gold item holds.
        Forbidden: it is the moderator's own, or in a language of others.
        NotFound: there is no such message.
    """
    message = await one(database, "messages", Message, message_id)
    check_moderator(moderator, message.lang)
    if message.author_id == moderator.id:
        raise Forbidden("this is your own message; another moderator may correct it")
    if not (reason := check_reason(reason)):
        raise BadInput("no reason is given; the author should know why", path=("reason",))
    tree = await one(database, "trees", Tree, message.tree_id)
    text = check_text(text, (await rules_of(database, config, tree.collection)).max_text_length)
    if text == message.text:
        await text_changes.finish(database, config, message)
        return message
    _check(message, message)
    key = await text_changes.begin(database, config, message)
    at, edit = now(), {"act": text_changes.CORRECTED, "by": moderator.id, "reason": reason}
    await text_changes.keep_text(database, message)
    await message_words.widen(database, message, text)
    _, after = await rewrite(database, message_id, lambda each: replace(_corrected(each, message, text, at), edit=edit))
    await text_changes.follow(database, config, after, edited=True)
    await text_changes.end(database, message_id, key)
    return await one(database, "messages", Message, message_id)


def _corrected(each: Message, seen: Message, text: str, at: datetime) -> Message:
    _check(each, seen)
    return replace(each, text=text, content_hash=text_hash(text), revision=each.revision + 1, edited_at=at)


def _check(each: Message, seen: Message) -> None:
    if each.deleted:
        raise Conflict(f"message {each.id} was taken out; put it back first")
    if each.content_hash.startswith(COPY):
        raise Conflict(f"message {each.id} is the copy that a gold item asks about; it stays as it is")
    if each.revision != seen.revision:
        raise Conflict("this message was edited elsewhere meanwhile; read it again")
