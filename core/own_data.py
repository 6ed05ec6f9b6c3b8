"""All of one's own data as one gzipped JSON document, asked for, made in the background, fetched by a signed URL.

One export a person, kept for `KEPT`; asking again within `AGAIN` gives the same. Written as it is read, so memory does
not grow with the account. Notes that moderators made about a person are not in it.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from core import layout
from core.database import Database
from core.ids import new_id
from core.journal import record
from core.objects import ObjectStore
from core.people_records import DataExport
from core.personal_data import EXPORTED, collection_of_part
from core.records import User, now
from core.score_documents import board, troll
from core.scoring import FRAMES
from core.scratch import scratch_folder
from core.times import moment

KEPT = timedelta(days=7)
"""How long an export can be fetched."""
AGAIN = timedelta(hours=1)
"""An export younger than this is given again instead of a new one."""
HIDDEN = ("_id", "notes", "by_time", "by_author", "by_user", "by_lang", "by_collection", "holder", "deadline",
          "identity", "owner_key", "linked_rev", "content_hash", "rev", "seen", "unapplied", "applied", "key",
          "changes", "trust_due", *(place(frame) for frame in FRAMES for place in (board, troll)))  # fmt: skip
"""Fields that say nothing about the person."""


async def request(database: Database, user: User) -> DataExport:
    """Ask for an export; the one that is under way, or was made just now, where there is one."""
    present = await of_user(database, user.id)
    if present is not None and (present.state == "waiting" or now() - present.created_at < AGAIN):
        return present
    fresh = DataExport(id=user.id, number=1 + (present.number if present else 0), name=new_id())
    document = fresh.to_document()
    del document["_id"]
    guard = {"_id": user.id, "number": present.number if present else 0}
    if present is None:
        await database["data_exports"].update_one({"_id": user.id}, {"$setOnInsert": document}, upsert=True)
    else:
        await database["data_exports"].update_one(guard, {"$set": document})
    await record(database, "request_data_export", user.id, {}, by=user.id, key=str(fresh.number))
    return await of_user(database, user.id) or fresh


async def of_user(database: Database, user_id: str) -> DataExport | None:
    """The person's export, where there is one."""
    document = await database["data_exports"].find_one({"_id": user_id})
    return None if document is None else DataExport.from_document(document)


async def work_on(database: Database, store: ObjectStore, export: DataExport) -> None:
    """Make an export that is waited for, or remove one whose time is up; may be repeated."""
    if export.state == "ready":
        await asyncio.to_thread(store.delete, layout.personal_export(export.id, export.name))
        await database["data_exports"].delete_one({"_id": export.id, "number": export.number})
        return
    with scratch_folder("oa-own-data-") as folder:
        path = folder / "own-data.json.gz"
        with gzip.open(path, "wb") as file:
            async for piece in document(database, export.id):
                file.write(piece)
        size = path.stat().st_size
        await asyncio.to_thread(store.upload, path, layout.personal_export(export.id, export.name))
    ready = replace(export, state="ready", size=size, expires_at=now() + KEPT)
    changes = {"state": ready.state, "size": size, "expires_at": ready.expires_at, **ready.keys()}
    await database["data_exports"].update_one({"_id": export.id, "number": export.number}, {"$set": changes})


def mine(user_id: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Part of the export -> collection and query; what there is, `core.personal_data` says."""
    span = {"$gte": f"{user_id}|", "$lt": f"{user_id}}}"}
    return {
        part: (collection_of_part(part), {holding.by: span if holding.ordered else user_id})
        for part, holding in EXPORTED.items()
    }


async def document(database: Database, user_id: str) -> AsyncIterator[bytes]:
    """The export, piece by piece: an object with a list for each part."""
    yield b'{"format":1,"made_at":' + orjson.dumps(now())
    for part, (name, query) in mine(user_id).items():
        yield f',"{part}":['.encode()
        comma = b""
        async for each in database[name].find(query):
            shown = await _with_more(database, part, each)
            yield comma + orjson.dumps(shown, default=str)
            comma = b","
        yield b"]"
    yield b"}"


async def _with_more(database: Database, part: str, each: dict[str, Any]) -> dict[str, Any]:
    """What is shown of a document, a message with its earlier texts, a chat with its messages."""
    shown = {"id": each["_id"]} | {name: _zoned(name, value) for name, value in each.items() if not _hidden(name)}
    if part == "messages" and each.get("revision"):
        found = database["revisions"].find({"message_id": each["_id"]})
        shown["revisions"] = [{"text": one["text"], "at": _zoned("at", one["at"])} async for one in found]
    if part == "chats":
        found = database["chat_messages"].find({"chat_id": each["_id"]})
        names = ("_id", "parent_id", "role", "text", "model_version", "score", "score_reason", "created_at")
        shown["messages"] = [{name: _zoned(name, one.get(name)) for name in names} async for one in found]
    return shown


def _zoned(name: str, value: Any) -> Any:
    """A stored time with its zone: those that an update set may be text without one (`core.times.moment`)."""
    is_time = isinstance(value, str | datetime) and (name == "at" or name.endswith(("_at", "_since")))
    return moment(value) if is_time else value


def _hidden(name: str) -> bool:
    return name in HIDDEN or name.endswith(("_hash", "_secret"))
