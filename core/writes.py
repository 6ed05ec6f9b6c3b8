"""Several writes, to several collections, by one command (`bulkWrite`, MongoDB 8.0): what it saves is the way there.

No transaction: each write is guarded by itself, and a crash may leave the first few done. So what stands in one list
must be safe to repeat, and to be found done in part. A store that is older is sent each write by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakSet

from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, WriteConcernError

from core.database import DUPLICATE, Client, Database, Document

CHUNK = 1_000
"""Writes of one command."""
UNKNOWN_COMMAND = (59, 115, 303)
"""Stores' codes for a command that they do not know (MongoDB: CommandNotFound, CommandNotSupported) or do not have."""
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
    while rest := writes[len(done) : len(done) + CHUNK]:
        if len(rest) == 1 or database.client in _too_old:
            done.append(await _alone(database, rest[0]))
        else:
            done += await _at_once(database, rest)
    return tuple(done)


async def _at_once(database: Database, writes: Sequence[Write]) -> list[bool]:
    """Whether each was done, up to and with the first document that was there already; none for a store too old.

    The command is sent as it is, since the driver's own form of it takes half as much time again.
    """
    client = database.client
    names = list(dict.fromkeys(write.collection for write in writes))
    command = {
        "bulkWrite": 1, "ordered": True, "errorsOnly": False, "writeConcern": database.write_concern.document,
        "ops": [_operation(names.index(write.collection), write) for write in writes],
        "nsInfo": [{"ns": f"{database.name}.{name}"} for name in names],
    }  # fmt: skip
    try:
        answer = await client["admin"].command(command)
    except OperationFailure as error:
        if not _is_unknown(error):
            raise
        _too_old.add(client)
        return []
    done: list[bool] = []
    for result in answer["cursor"]["firstBatch"]:
        if not result["ok"] and result["code"] != DUPLICATE:
            raise OperationFailure(result.get("errmsg", "a write failed"), result["code"], result)
        done.append(bool(result["ok"] and result["n"]))
    if concern := answer.get("writeConcernError"):
        raise WriteConcernError(concern.get("errmsg", "not replicated"), concern.get("code"), concern)
    return done


def _is_unknown(error: OperationFailure) -> bool:
    """Whether the store does not know the command; some that are no MongoDB tell no code."""
    return error.code in UNKNOWN_COMMAND or (error.code is None and "bulkWrite" in str(error))


def _operation(namespace: int, write: Write) -> Document:
    """The form of a write in the command."""
    if isinstance(write, New):
        return {"insert": namespace, "document": write.document}
    if isinstance(write, Change | Whole):
        made = write.update if isinstance(write, Change) else write.document
        return {"update": namespace, "filter": write.guard, "updateMods": made, "multi": False}
    return {"delete": namespace, "filter": write.guard, "multi": False}


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


async def insert_new(database: Database, name: str, documents: list[Document]) -> None:
    """Store those of `documents` that are not there yet, by one command."""
    try:
        await database[name].insert_many(documents, ordered=False)
    except BulkWriteError as error:
        if any(each["code"] != DUPLICATE for each in error.details["writeErrors"]):
            raise
