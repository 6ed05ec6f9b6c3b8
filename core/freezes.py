"""How far a freeze is, kept so that one that was killed goes on where it was.

Knows its record (`freezes` in the document store: whose turn it is, and what is counted so far) and where its parts lie
in the object store: the ids of its trees, listed at the beginning, and rows and sources as packed lines, of which the
files are made at the end. A part is there before the record counts it. Whoever goes on takes over, and who went on
before stops at its next part. What nobody goes on with is removed (`tidy`), and nothing is left of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError, PyMongoError

from core import layout, snapshot_members
from core.database import Database
from core.errors import BadInput, Conflict, NotFound, OaError
from core.ids import content_hash, new_id
from core.packed_lines import packed_lines
from core.records import Record, milliseconds, now

if TYPE_CHECKING:
    from core.objects import ObjectStore

KEPT = 12 * 3_600_000
"""Milliseconds for which a freeze can go on: what was read of trees that have changed since must not become older."""
FORM = 1
"""Of the parts; those of another form are not gone on with."""
IDS = "ids.zst"


@dataclass(frozen=True, kw_only=True)
class Freeze(Record):
    """A freeze under way; the id is the hash of what decides its content.

    Attributes:
        label: of the snapshot, `name@version`; without a version as long as that is not known.
        run: of the process that goes on with it.
        place: where its parts lie in the object store.
        began: milliseconds since 1970.
        due: when it is removed, milliseconds since 1970.
        total: trees to look at; None while they are not listed.
        looked: trees looked at, of which all rows are in whole parts.
        parts: whole parts.
        tally: what is counted in them (`core.snapshot_reading.Tally`).
        over: nobody goes on with it.
    """

    label: str
    run: str = field(default_factory=new_id)
    place: str = field(default_factory=new_id)
    began: int = field(default_factory=lambda: milliseconds(now()))
    due: int = field(default_factory=lambda: milliseconds(now()) + KEPT)
    total: int | None = None
    looked: int = 0
    parts: int = 0
    tally: dict[str, Any] = field(default_factory=dict)
    over: bool = False


class UnderWay:
    """A freeze, as the process sees it that goes on with it.

    Attributes:
        at: how far it is.
        folder: of this machine, for files on their way.
    """

    def __init__(self, database: Database, store: ObjectStore, at: Freeze, folder: Path) -> None:
        self.at, self.folder = at, folder
        self._database, self._store = database, store

    async def keep(self, **changes: Any) -> None:
        """Write down how far it is.

        Raises:
            Conflict: another process goes on with it.
        """
        values = {**changes, "due": milliseconds(now()) + KEPT}
        guard = {"_id": self.at.id, "run": self.at.run}
        if not (await self._database["freezes"].update_one(guard, {"$set": values})).matched_count:
            raise _outrun(self.at)
        self.at = replace(self.at, **values)

    async def bring(self, path: Path) -> None:
        """Bring a file of `folder` to the parts."""
        await asyncio.to_thread(self._store.upload, path, layout.freezing(self.at.place) + path.name)

    async def ids(self) -> Path:
        """The file with the ids of the trees."""
        path = self.folder / IDS
        if not path.exists():
            await asyncio.to_thread(self._fetch, path)
        return path

    def lines(self) -> Iterator[bytes]:
        """The lines of all parts. Blocking."""
        for number in range(self.at.parts):
            path = self.folder / part(number)
            self._fetch(path)
            yield from packed_lines(path)
            path.unlink()

    def _fetch(self, path: Path) -> None:
        try:
            self._store.download(layout.freezing(self.at.place) + path.name, path)
        except NotFound as error:
            raise _outrun(self.at) from error

    async def end(self) -> None:
        """Remove the parts and, where no snapshot came of it, all that was made for it."""
        await _remove(self._database, self._store, self.at)


def part(number: int) -> str:
    """The name of a part."""
    return f"part-{number:05d}.zst"


def _outrun(freeze: Freeze) -> Conflict:
    name = freeze.label.partition("@")[0]
    return Conflict(f"another process goes on with this freeze of {name!r}; freeze again to see what came of it")


@asynccontextmanager
async def under_way(
    database: Database, store: ObjectStore, name: str, settings: Mapping[str, Any], folder: Path, *, anew: bool
) -> AsyncIterator[UnderWay]:
    """The freeze of `settings` into the snapshot `name`: one that was interrupted, or a fresh one.

    It is over when the context ends well, and when the caller is told that it cannot be done; after another fault it
    can go on where a part of it is whole.

    Args:
        folder: of this machine, for files on their way.
        anew: forget one that was interrupted.

    Raises:
        Conflict: another process has begun or taken over the same.
    """
    await tidy(database, store)
    run = UnderWay(database, store, await _begun(database, store, name, settings, anew=anew), folder)
    try:
        yield run
    except OaError as error:
        if isinstance(error, BadInput) or not run.at.parts:
            with suppress(OaError, PyMongoError):  # of a store that does not answer the reason is told already
                await run.end()
        raise
    await run.end()


async def _begun(
    database: Database, store: ObjectStore, name: str, settings: Mapping[str, Any], *, anew: bool
) -> Freeze:
    identity = content_hash([FORM, name, settings])
    document = await database["freezes"].find_one({"_id": identity})
    old = None if document is None else Freeze.from_document(document)
    if old is not None and (anew or not await _goes_on(database, store, old)):
        await _remove(database, store, old)
        old = None
    if old is None:
        fresh = Freeze(id=identity, label=name)
        try:
            await database["freezes"].insert_one(fresh.to_document())
        except DuplicateKeyError as error:
            raise _outrun(fresh) from error
        return fresh
    taken = replace(old, run=new_id())
    if not await _taken(database, old, {"run": taken.run}):
        raise _outrun(old)
    return taken


async def _goes_on(database: Database, store: ObjectStore, freeze: Freeze) -> bool:
    """Whether a freeze can go on: its parts are there, and since it began nothing was erased and no consent changed."""
    if freeze.over or not freeze.parts or freeze.began < milliseconds(now()) - KEPT:
        return False
    prefix = layout.freezing(freeze.place)
    there = await asyncio.to_thread(lambda: {each.key.removeprefix(prefix) for each in store.list(prefix)})
    if not there.issuperset((IDS, *map(part, range(freeze.parts)))):
        return False
    if await database["gone_sources"].find_one({"until": {"$gte": freeze.began}}) is not None:
        return False
    waiting = [await database[name].find_one({"consent_due": {"$gte": 0}}) for name in ("users", "chats")]
    return waiting == [None, None]


async def _taken(database: Database, freeze: Freeze, changes: Mapping[str, Any]) -> bool:
    """Change the record of a freeze if nobody has taken it since; whether that was so."""
    guard = {"_id": freeze.id, "run": freeze.run}
    return (await database["freezes"].update_one(guard, {"$set": dict(changes)})).matched_count == 1


async def tidy(database: Database, store: ObjectStore) -> int:
    """Remove what nobody goes on with; returns how many freezes that were."""
    found = database["freezes"].find({"due": {"$lte": milliseconds(now())}}).limit(10)
    left = [Freeze.from_document(each) async for each in found]
    for each in left:
        await _remove(database, store, each)
    return len(left)


async def _remove(database: Database, store: ObjectStore, freeze: Freeze) -> None:
    """Remove a freeze, its parts, and what was made for a snapshot that did not come of it; may be repeated, and is by
    `tidy` where a process dies in it. Nothing where another process has taken it."""
    mine = replace(freeze, run=new_id())
    if not await _taken(database, freeze, {"run": mine.run, "over": True, "due": milliseconds(now())}):
        return
    name, _, version = freeze.label.partition("@")
    if version and not await asyncio.to_thread(store.exists, layout.dataset_manifest(name, version)):
        await snapshot_members.forget(database, freeze.label)
        await database["deleted_contributions"].delete_one({"_id": freeze.label})
        if await _taken(database, mine, {"over": True}):
            await asyncio.to_thread(store.delete_prefix, layout.dataset(name, version))
    await asyncio.to_thread(store.delete_prefix, layout.freezing(freeze.place))
    await database["freezes"].delete_one({"_id": freeze.id, "run": mine.run})
