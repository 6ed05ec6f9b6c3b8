"""A crash between any two writes: a database whose n-th write, and all after it, never happen."""

from __future__ import annotations

import random
from contextlib import contextmanager
from threading import get_ident
from unittest.mock import patch

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from core.collection import Collection

WRITES = (
    "insert_one", "update_one", "replace_one", "delete_one", "find_one_and_update", "bulk_write", "insert_many",
)  # fmt: skip


class Crashed(BaseException):
    """The process ended here."""


class Writes:
    """How many writes were asked for, and after how many the process ends."""

    def __init__(self, limit: int | None) -> None:
        self.limit, self.asked = limit, 0

    def ask(self) -> None:
        if self.limit is not None and self.asked >= self.limit:
            raise Crashed
        self.asked += 1


@contextmanager
def crash_after(limit: int | None):
    """Let `limit` writes of this thread through, then crash, amid a command of several too; None counts only.

    Other threads write on: an API that other tests share may run in one.
    """
    writes, thread = Writes(limit), get_ident()

    def counted(real):
        async def write(self, *args, **kwargs):
            if get_ident() == thread:
                writes.ask()
            return await real(self, *args, **kwargs)

        return write

    command = AsyncDatabase.command

    async def several(self, body, *args, **kwargs):
        if "bulkWrite" in body and get_ident() == thread:
            for place in range(len(body["ops"])):
                try:
                    writes.ask()
                except Crashed:
                    if place:
                        await command(self, body | {"ops": body["ops"][:place]}, *args, **kwargs)
                    raise
        return await command(self, body, *args, **kwargs)

    with (
        patch.multiple(AsyncCollection, **{name: counted(getattr(AsyncCollection, name)) for name in WRITES}),
        patch.object(AsyncDatabase, "command", several),
    ):
        yield writes


async def copy(collection: Collection, name: str) -> Collection:
    """The same collection in a database of its own, which a crash may ruin."""
    source = collection.database
    target = source.client[f"{source.name}_{name}"]
    for collected in await source.list_collection_names():
        if documents := [document async for document in source[collected].find()]:
            await target[collected].insert_many(documents)
        else:  # the embedded store's aggregations want every collection to be there, as a migration leaves it
            await target.create_collection(collected)
    return Collection(target, collection.config, random.Random(1))
