"""The words that messages are found by, in the collection `message_words`, which has the text index: a message changes
with every review and ranking, and an index of its words would be written anew each time.

Whoever stores a message stores its row (`core.text_rows`) after it, in what is repeated after a crash; whoever erases
one erases the row before. While a text is being changed its row has both texts and is `unsure` (`widen`, then `keep`):
the message is found by either, and the search looks at the message itself.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from core.database import Database, Document
from core.records import Message
from core.text_rows import words_row
from core.writes import Change, New, together


async def widen(database: Database, message: Message, text: str) -> None:
    """Let `message` be found by the words of `text`, too, which is about to take the place of its own."""
    await _put(database, message, {"text": f"{message.text}\n{text}", "unsure": True})


async def keep(database: Database, message: Message) -> None:
    """Let `message` be found by the words of its text, as it is stored now; twice is as once."""
    await _put(database, message, _own(message))


async def _put(database: Database, message: Message, changes: Document) -> None:
    """Change the row, or make it, unless it has a later text than `message` already."""
    fresh = New("message_words", words_row(message) | changes)
    await together(database, [_no_later(message, changes), fresh])


def _own(message: Message) -> Document:
    return {"text": message.text, "revision": message.revision, "unsure": False}


def _no_later(message: Message, changes: Document) -> Change:
    return Change("message_words", {"_id": message.id, "revision": {"$lte": message.revision}}, {"$set": changes})


async def nobodys(database: Database, message: Message) -> None:
    """Say no more whose words these are, nor what others were to take their place."""
    cut = Change("message_words", {"_id": message.id}, {"$set": {"author_id": None}})
    await together(database, [cut, _no_later(message, _own(message))])


async def forget(database: Database, message_ids: Sequence[str]) -> None:
    """Let nobody find these messages by their words."""
    await database["message_words"].delete_many({"_id": {"$in": list(message_ids)}})


def has_all(text: str, words: Sequence[str]) -> bool:
    """Whether each of the words is in the text, whatever their case and marks."""
    plain = _plain(text)
    return all(_plain(word) in plain for word in words)


def _plain(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text).casefold()
    return "".join(one for one in parts if not unicodedata.combining(one))
