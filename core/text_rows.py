"""What is kept of a message's text beside the message, as documents: what finds its words, what finds texts like it.

Beside it, since messages change often and their texts hardly ever. Pure: who stores and who reads the rows is in
`core.message_words` and `core.similar_texts`.
"""

from __future__ import annotations

from typing import Any

from core.records import Message, milliseconds, time_key
from core.sketches import bands, packed, sketch, unpacked


def words_row(message: Message) -> dict[str, Any]:
    """The row of `message_words`: the text, its number among those that the message had, and what stays of a message
    for good (its author until they leave)."""
    return {
        "_id": message.id, "text": message.text, "revision": message.revision, "lang": message.lang,
        "by_time": time_key(message.created_at, message.id), "author_id": message.author_id,
    }  # fmt: skip


def bands_row(message: Message) -> dict[str, Any] | None:
    """The row of `text_bands`: a sketch and its keys; None for a text too short to have any."""
    mine = sketch(message.text)
    keys = bands(mine)
    if not keys:
        return None
    return {
        "_id": message.id, "sketch": packed(mine), "tree_id": message.tree_id, "user_id": message.author_id or "",
        "lang": message.lang, "at": milliseconds(message.created_at), **keys,
    }  # fmt: skip


def from_band(row: dict[str, Any]) -> dict[str, Any]:
    """The row of `text_bands` in place of those that one text had, one for each key; `row` is any of these."""
    same = {name: row[name] for name in ("sketch", "tree_id", "user_id", "lang", "at")}
    return {"_id": row["message_id"], **same, **bands(unpacked(row["sketch"]))}
