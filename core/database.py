"""The connection to the document store. Knows the driver and its settings, and no collection by name."""

from __future__ import annotations

from typing import Any

from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient, timeout
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from core.connections import Connections, Sessionless
from core.errors import BadInput, OaError, Unavailable
from core.migrations import MIGRATIONS
from core.records import now

Document = dict[str, Any]
Client = AsyncMongoClient[Document]
Database = AsyncDatabase[Document]
CALL_SECONDS = 20.0
"""How long one call may take where nothing else is said."""
MIGRATION_SECONDS = 3600.0
"""How long the calls of one migration may take: an index of a large collection is long in the making."""
DUPLICATE = 11000
"""The store's code for a document that is there already."""


def connect(uri: str, *listeners: Any, seconds: float = CALL_SECONDS) -> Client:
    """A client for the server at `uri` (mongodb://...); it connects on first use.

    Datetimes come back aware. A server that cannot be reached is given up after 5 s. Writes ask for the majority of
    a replica set, whatever the address says: what a guard let through must outlast the server that let it through.

    Args:
        uri: the address.
        listeners: are told of each command (`pymongo.monitoring`).
        seconds: how long a single call may take, with its wait for a connection and what is tried again.

    Raises:
        BadInput: `uri` is no such address. It is not quoted: it may hold a password.
    """
    check_uri(uri)
    try:
        return Sessionless(
            uri, tz_aware=True, serverSelectionTimeoutMS=5_000, connectTimeoutMS=5_000,
            timeoutMS=round(seconds * 1000),
            maxPoolSize=100, retryWrites=False, appname="open-assistant", w="majority",
            event_listeners=listeners, _pool_class=Connections,
        )  # fmt: skip
    except (ConfigurationError, ValueError) as error:
        raise BadInput(f"OA_MONGODB_URI is no address of a document store: {error}") from error


def check_uri(uri: str) -> None:
    """Raise `BadInput` unless `uri` begins as an address does; the driver takes any other text for a host's name."""
    if not uri.startswith(("mongodb://", "mongodb+srv://")):
        raise BadInput("OA_MONGODB_URI must be mongodb://HOST:PORT or mongodb+srv://HOST, with user and options")


class Kept(AsyncDatabase[Document]):
    """A database that makes each of its collections once; the driver's own makes one whenever it is named.

    Datetimes come back aware, whoever made the client.
    """

    def __init__(self, of: Database) -> None:
        options: CodecOptions[Document] = CodecOptions(tz_aware=True)
        super().__init__(of.client, of.name, options, of.read_preference, of.write_concern, of.read_concern)
        self._made: dict[str, AsyncCollection[Document]] = {}

    def __getitem__(self, name: str) -> AsyncCollection[Document]:
        """The collection of that name."""
        if (made := self._made.get(name)) is None:
            made = self._made[name] = super().__getitem__(name)
        return made


def aware(database: Database) -> Database:
    """`database` such that datetimes come back aware, and that it is quick to name its collections."""
    return database if isinstance(database, Kept) else Kept(database)


def is_silent(error: PyMongoError) -> bool:
    """Whether a driver error means that the store does not answer."""
    return error.timeout or isinstance(error, AutoReconnect | ServerSelectionTimeoutError)


def unavailable(error: PyMongoError) -> OaError:
    """The caller's error for a driver error that means that the store does not answer; others are raised again."""
    if is_silent(error):
        return Unavailable(f"the document store does not answer: {type(error).__name__}", retry_after=2.0)
    raise error


async def count_range(
    database: Database, name: str, key: str, start: str, end: str, cap: int, also: Document | None = None
) -> int:
    """Documents of collection `name` with `start <= key < end`, counted up to `cap`.

    A bounded read in the index's order: the embedded document store counts a whole range, whatever the limit.
    """
    query = {key: {"$gte": start, "$lt": end}} | (also or {})
    found = database[name].find(query, {"_id": 1}).sort(key).limit(cap)
    return len([document async for document in found])


async def migrate(database: Database) -> list[str]:
    """Apply the migrations that `database` has not had, in order; each is idempotent and recorded by its name.

    Stores that were migrated before records had the name for an id have it beside a number, and keep it so.

    Returns:
        the names of those applied now.
    """
    records = database["migrations"]
    had = {record.get("name", record["_id"]) async for record in records.find()}
    applied = []
    for name, apply in MIGRATIONS:
        if name not in had:
            with timeout(MIGRATION_SECONDS):
                await apply(database)
            await records.update_one({"_id": name}, {"$setOnInsert": {"at": now()}}, upsert=True)
            applied.append(name)
    return applied
