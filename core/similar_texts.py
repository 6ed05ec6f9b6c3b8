"""Alike texts across all trees: what is kept of each text so that the next one finds it, and the groups there are.

A text is kept as one row of `text_bands`, with its sketch and the sketch's keys (`core.sketches`), each a field with an
index of its own. Knows the store; who reads the rows, and what is made of a likeness, is said elsewhere
(`core.surroundings`, `core.screening`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from core.alike import Alike
from core.database import Database, Document
from core.records import Message
from core.sketches import bands, similarity, sketch, unpacked
from core.text_rows import bands_row
from core.writes import New

PER_KEY = 20
"""Rows read of one key, the oldest: a flood has several people's among them, and each costs who comes next."""


def candidates(text: str) -> list[Document]:
    """The stages that add to what is read the rows that share a key with `text` (those documents with a `sketch`)."""
    keys = bands(sketch(text)).items()
    parts: list[list[Document]] = [[{"$match": {name: key}}, {"$limit": PER_KEY}] for name, key in keys]
    return [{"$unionWith": {"coll": "text_bands", "pipeline": part}} for part in parts]


def among(text: str, rows: Iterable[Document], least: float, *, but: str | None = None) -> list[Alike]:
    """Texts of `rows` that share at least the part `least` with `text`, most alike first.

    Args:
        but: id of the message that is not meant: the text's own.
    """
    mine = sketch(text)
    texts = {row["_id"]: row for row in rows}
    texts.pop(but, None)
    found = [
        Alike(
            message_id=row["_id"], tree_id=row["tree_id"], user_id=row["user_id"], lang=row["lang"],
            similarity=similarity(mine, unpacked(row["sketch"])),
        )
        for row in texts.values()
    ]  # fmt: skip
    return sorted(
        (each for each in found if each.similarity >= least), key=lambda each: (-each.similarity, each.message_id)
    )


async def remember(database: Database, message: Message) -> None:
    """Keep a message's text, in place of one that it had before, so that others find it; twice is as once."""
    row = bands_row(message)
    if row is None:
        await forget(database, [message.id])
    else:
        await database["text_bands"].replace_one({"_id": message.id}, row, upsert=True)


def rows_of(message: Message) -> list[New]:
    """What is kept of a new message's text, for `core.writes.together`."""
    row = bands_row(message)
    return [] if row is None else [New("text_bands", row)]


async def forget(database: Database, message_ids: Collection[str]) -> None:
    """Let no other text find these messages', and say no more whose they were."""
    await database["text_bands"].delete_many({"_id": {"$in": list(message_ids)}})
