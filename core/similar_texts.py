"""Alike texts across all trees: what is kept of each text so that the next one finds it, and the groups there are.

A text is kept as a few rows of `text_bands`, one for each key of its sketch (`core.sketches`), read by one scalar key
each. Knows the store; who reads the rows, and what is made of a likeness, is said elsewhere (`core.surroundings`,
`core.screening`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from core.alike import Alike, Group
from core.database import Database, Document
from core.records import Message, milliseconds, now
from core.sketches import BANDS, bands, packed, similarity, sketch, unpacked
from core.writes import New, together

PER_KEY = 50
"""Rows read of one key."""
GROUPED = 4000
"""Latest rows among which groups are looked for."""


def candidates(text: str) -> list[Document]:
    """The stages that add to what is read the rows that share a key with `text` (those documents with a `band`)."""
    parts: list[list[Document]] = [[{"$match": {"band": key}}, {"$limit": PER_KEY}] for key in bands(sketch(text))]
    return [{"$unionWith": {"coll": "text_bands", "pipeline": part}} for part in parts]


def among(text: str, rows: Iterable[Document], least: float, *, but: str | None = None) -> list[Alike]:
    """Texts of `rows` that share at least the part `least` with `text`, most alike first.

    Args:
        but: id of the message that is not meant: the text's own.
    """
    mine = sketch(text)
    texts = {row["message_id"]: row for row in rows}
    texts.pop(but, None)
    found = [
        Alike(
            message_id=row["message_id"], tree_id=row["tree_id"], user_id=row["user_id"], lang=row["lang"],
            similarity=similarity(mine, unpacked(row["sketch"])),
        )
        for row in texts.values()
    ]  # fmt: skip
    return sorted(
        (each for each in found if each.similarity >= least), key=lambda each: (-each.similarity, each.message_id)
    )


async def remember(database: Database, message: Message) -> None:
    """Keep a message's text, in place of one that it had before, so that others find it; twice is as once."""
    if message.revision:
        await forget(database, message.id)
    await together(database, rows_of(message))


def rows_of(message: Message) -> list[New]:
    """What is kept of a message's text."""
    mine = sketch(message.text)
    common = {
        "sketch": packed(mine), "message_id": message.id, "tree_id": message.tree_id,
        "user_id": message.author_id or "", "lang": message.lang, "at": milliseconds(message.created_at),
    }  # fmt: skip
    rows = [{"_id": f"{message.id}|{key.partition('|')[0]}", "band": key, **common} for key in bands(mine)]
    return [New("text_bands", row) for row in rows]


async def forget(database: Database, message_id: str) -> None:
    """Let no other text find this message's, and say no more whose it was."""
    await database["text_bands"].delete_many({"_id": {"$in": [f"{message_id}|{number}" for number in range(BANDS)]}})


async def groups(
    database: Database, since: datetime, people: int, langs: Sequence[str] = (), until: datetime | None = None
) -> list[Group]:
    """Groups of alike texts by at least `people` different people in that time, largest first.

    Looks at the latest `GROUPED` rows (eight a text) of these languages before `until`, which is now where it is not
    given: who wants to look at more goes back in time. Texts that share a key are in one group.
    """
    query: Document = {"at": {"$gte": milliseconds(since), "$lte": milliseconds(until or now())}}
    if langs:
        query["lang"] = {"$in": list(langs)}
    found = database["text_bands"].find(query, {"sketch": 0}).sort("at", -1).limit(GROUPED)
    by_key: dict[str, list[Document]] = defaultdict(list)
    async for row in found:
        by_key[row["band"]].append(row)
    made: dict[frozenset[str], Group] = {}
    taken: set[str] = set()
    for rows in sorted(by_key.values(), key=lambda rows: (-len({row["user_id"] for row in rows}), rows[0]["band"])):
        writers = {row["user_id"] for row in rows}
        messages = {row["message_id"]: row["at"] for row in rows}
        if len(writers) < people or taken & messages.keys():
            continue
        taken |= messages.keys()
        ordered = tuple(sorted(messages, key=lambda identity: (messages[identity], identity)))
        made[frozenset(ordered)] = Group(message_ids=ordered, user_ids=tuple(sorted(writers)), lang=rows[0]["lang"])
    return sorted(made.values(), key=lambda group: (-len(group.user_ids), group.message_ids))
