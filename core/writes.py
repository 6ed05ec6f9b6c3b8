"""Several writes, to several collections, by one command (`bulkWrite`, MongoDB 8.0): what it saves is the way there.

No transaction: each write is guarded by itself, and a crash may leave the first few done. So what stands in one list
must be safe to repeat, and to be found done in part. A store that is older is sent each write by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import (
    ClientBulkWriteException,
    DuplicateKeyError,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
)

from core.database import DUPLICATE, Client, Database, Document

UNKNOWN_COMMAND = 59
"""The store's code for a command that it does not know."""
_too_old: WeakSet[Client] = WeakSet()
"""Clients whose store does not know the command."""


@dataclass(frozen=True)
class New:
    """A new document of a collection; one that is there already stays as it is."""

    collection: str
    document: Document


@dataclass(frozen=True)
class Change:
    """A change of the one document that `guard` finds."""

    collection: str
    guard: Document
    update: Document


@dataclass(frozen=True)
class Whole:
    """A document in the place of the one that `guard` finds, with the same id."""

    collection: str
    guard: Document
    document: Document


@dataclass(frozen=True)
class Gone:
    """The end of the one document that `guard` finds."""

    collection: str
    guard: Document


Write = New | Change | Whole | Gone


async def together(database: Database, writes: Sequence[Write]) -> tuple[bool, ...]:
    """Make the writes, in their order.

    Returns:
        for each whether it was done: the document was new, or its guard found one. What was not done stops no other.
    """
    done: list[bool] = []
    while rest := writes[len(done) :]:
        if len(rest) == 1 or database.client in _too_old:
            done.append(await _alone(database, rest[0]))
        else:
            done += await _at_once(database, rest)
    return tuple(done)


async def _at_once(database: Database, writes: Sequence[Write]) -> list[bool]:
    """Whether each was done, up to and with the first document that was there already; none for a store too old."""
    client = database.client
    models = [_model(database.name, write) for write in writes]
    try:
        found: Any = await client.bulk_write(models, verbose_results=True)
    except InvalidOperation:
        _too_old.add(client)
        return []
    except ClientBulkWriteException as error:
        if isinstance(error.error, OperationFailure) and error.error.code == UNKNOWN_COMMAND:
            _too_old.add(client)
            return []
        if isinstance(error.error, PyMongoError):
            raise error.error from error  # a store that is silent or refuses is told as for any other command
        failed: Any = error.write_errors or []
        if not failed or any(each["code"] != DUPLICATE for each in failed):
            raise
        found, last = error.partial_result, failed[0]["idx"]
        return [_done(found, number, write) for number, write in enumerate(writes[:last])] + [False]
    return [_done(found, number, write) for number, write in enumerate(writes)]


def _model(name: str, write: Write) -> InsertOne[Document] | UpdateOne | ReplaceOne[Document] | DeleteOne:
    namespace = f"{name}.{write.collection}"
    if isinstance(write, New):
        return InsertOne(write.document, namespace=namespace)
    if isinstance(write, Change):
        return UpdateOne(write.guard, write.update, namespace=namespace)
    if isinstance(write, Whole):
        return ReplaceOne(write.guard, write.document, namespace=namespace)
    return DeleteOne(write.guard, namespace=namespace)


def _done(found: Any, number: int, write: Write) -> bool:
    if isinstance(write, New):
        return True
    if isinstance(write, Change | Whole):
        return bool(found.update_results[number].matched_count)
    return bool(found.delete_results[number].deleted_count)


async def _alone(database: Database, write: Write) -> bool:
    collection = database[write.collection]
    if isinstance(write, Change):
        return (await collection.update_one(write.guard, write.update)).matched_count > 0
    if isinstance(write, Whole):
        return (await collection.replace_one(write.guard, write.document)).matched_count > 0
    if isinstance(write, Gone):
        return (await collection.delete_one(write.guard)).deleted_count > 0
    try:
        await collection.insert_one(write.document)
    except DuplicateKeyError:
        return False
    return True
