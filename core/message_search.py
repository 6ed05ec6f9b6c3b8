"""Finding messages: by author, collection, state, role, or words of their texts.

Words are found by the text index of `message_words`, the rest by one scalar key and what is then left out
(`core.pages.chosen`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from core.database import Database, Document
from core.errors import BadInput
from core.message_words import has_all
from core.pages import Page, chosen
from core.pools import DEFAULT
from core.records import MESSAGE_STATES, ROLES, Message
from core.wanted import WantedMessages

FOUND = 1000
"""Messages with the words, in that language and by that author, that one search looks at."""
LOOKED = 10_000
"""Those that it looks at where too few of the first are such as are asked for."""
TOGETHER = 500
"""Messages that are looked at by one command."""
MAX_WORDS, MAX_SEARCH = 10, 200
"""Words, and characters, of a search."""
NOWHERE: dict[str, Any] = {"lang": {"$in": []}}
"""The query of who may look in no language that is asked for; the store would look at everything to find nothing."""


async def find(database: Database, wanted: WantedMessages, after: str | None, first: int) -> Page[Message]:
    """A page of messages, oldest (or newest) first.

    Of words that more than `FOUND` messages have, those of as many are found, and not always the oldest; `LOOKED` are
    looked at where that fills no page.

    Raises:
        BadInput: a state or role is unknown, or there are no words or too many.
    """
    also = _filters(wanted)
    if _langs(wanted) == NOWHERE:
        return Page((), has_next=False)
    if wanted.words is not None:
        return await _with_words(database, wanted, also | _langs(wanted), after, first)
    field, prefix = ("by_time", "") if wanted.lang is None else ("by_lang", f"{wanted.lang}|")
    if wanted.collection not in (None, DEFAULT):
        field, prefix = "by_collection", f"{wanted.collection}|"
    if wanted.author_id is not None:
        field, prefix = "by_author", f"{wanted.author_id}|"
    also |= _langs(wanted)
    return await chosen(database, "messages", Message, field, prefix, after, first, also, wanted.newest_first)


def _filters(wanted: WantedMessages) -> dict[str, Any]:
    for name, value, known in (("state", wanted.state, MESSAGE_STATES), ("role", wanted.role, ROLES)):
        if value not in (None, *known):
            raise BadInput(f"{name} is {value!r}; one of: {', '.join(known)}", path=(name,))
    fields = {"author_id": wanted.author_id, "state": wanted.state, "role": wanted.role}
    also: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if wanted.collection is not None:
        # Those of the default one that are from before there were others say nothing of it.
        also["collection"] = {"$in": [DEFAULT, None]} if wanted.collection == DEFAULT else wanted.collection
    return also if wanted.deleted else also | {"deleted": False}


def _langs(wanted: WantedMessages) -> dict[str, Any]:
    """The languages to look in: the one asked for, if it is among those that may be looked in."""
    if wanted.langs is None:
        return {} if wanted.lang is None else {"lang": wanted.lang}
    return {"lang": {"$in": [each for each in wanted.langs if wanted.lang in (None, each)]}}


async def _with_words(
    database: Database, wanted: WantedMessages, also: dict[str, Any], after: str | None, first: int
) -> Page[Message]:
    low, high = ("", after or "}") if wanted.newest_first else (after or "", "}")
    words = words_in(wanted.words or "")
    query = {"$text": {"$search": phrase(words)}, "by_time": {"$gt": low, "$lt": high}}
    query |= {name: also[name] for name in ("lang", "author_id") if name in also}  # which rows of words have
    found: list[Message] = []
    for most in (FOUND, LOOKED):
        rows = [row async for row in database["message_words"].find(query, {"unsure": 1}, batch_size=FOUND).limit(most)]
        found = await _such_as(database, rows, also, words)
        if len(rows) < most or len(found) > first:
            break
    found.sort(key=Page.key, reverse=wanted.newest_first)
    return Page(tuple(found[:first]), has_next=len(found) > first)


async def _such_as(
    database: Database, rows: Sequence[Document], also: dict[str, Any], words: Sequence[str]
) -> list[Message]:
    """The messages of rows of words that are such as is asked for, up to `FOUND` or some more."""
    found: list[Message] = []
    unsure = {row["_id"] for row in rows if row.get("unsure")}
    for start in range(0, len(rows), TOGETHER):
        ids = [row["_id"] for row in rows[start : start + TOGETHER]]
        asked = database["messages"].find({"_id": {"$in": ids}} | also)
        messages = [Message.from_document(each) async for each in asked]
        found += [each for each in messages if each.id not in unsure or has_all(each.text, words)]
        if len(found) >= FOUND:
            break
    return found


def phrase(words: Sequence[str]) -> str:
    """What to ask the text index for, such that each word has to be there and none is read as an operator."""
    return " ".join(f'"{word}"' for word in words)


def words_in(words: str) -> list[str]:
    """The words of a search.

    Raises:
        BadInput: there is no word, or more than `MAX_WORDS`, or the text is longer than `MAX_SEARCH`.
    """
    found = "".join(one if _is_of_word(one) else " " for one in words[: MAX_SEARCH + 1]).split()
    if not 1 <= len(found) <= MAX_WORDS or len(words) > MAX_SEARCH:
        limits = f"it must have 1 to {MAX_WORDS} words and at most {MAX_SEARCH} characters"
        raise BadInput(f"search has {len(found)} words and {len(words)} characters; {limits}", path=("search",))
    return found


def _is_of_word(one: str) -> bool:
    """Whether a character is part of a word: letters, digits, and the marks of letters, as vowels are in Hindi."""
    return unicodedata.category(one)[0] in "LMN"
