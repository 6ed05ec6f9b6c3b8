"""Conversation trees into the document store, streaming: `import_trees` (out: `core.tree_export`).

Knows the order of writes that leaves nothing half-imported: a batch's messages and rankings first, its tree documents
last, and a tree without its document does not exist (what an interrupted import left of it is replaced by the next).
The forms themselves are in `core.treeform` and `core.flatform`. Memory does not grow with the file: a batch of trees is
held.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pymongo.errors import BulkWriteError, PyMongoError

from core.database import Database, Document, aware, unavailable
from core.errors import BadInput, BadRecord, Conflict
from core.flatform import Gatherer
from core.jsonl import parse_object
from core.pools import DEFAULT
from core.records import Record, now
from core.rules import find
from core.sources import Source
from core.text_rows import words_row
from core.treeform import ImportedTree, parse_tree

AnyRecord = TypeVar("AnyRecord", bound=Record)
BATCH = 1_000
"""Messages that are written, and trees' ids that are looked up, at a time."""
PROBLEMS_KEPT = 100


@dataclass
class ImportReport:
    """How an import went, or how far it is.

    Attributes:
        lines: lines or rows read.
        trees, messages, rankings: imported now (with `dry_run`: that would be).
        unchanged: trees that were there already (or twice in the file) with all of their messages.
        bad: lines or rows refused.
        problems: what was wrong with the first 100 of them, each with its line number.
        bytes_read, bytes_total: of the file as it lies there; None where there is no file.
    """

    lines: int = 0
    trees: int = 0
    messages: int = 0
    rankings: int = 0
    unchanged: int = 0
    bad: int = 0
    problems: list[str] = field(default_factory=list)
    bytes_read: int = 0
    bytes_total: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


async def import_trees(
    database: Database,
    source: str | Path | Iterable[Any],
    *,
    origin: str | None = None,
    collection: str = DEFAULT,
    on_error: str = "stop",
    dry_run: bool = False,
    progress: Callable[[ImportReport], None] | None = None,
    on_bad: Callable[[BadRecord], None] | None = None,
) -> ImportReport:
    """Read conversation trees into the document store; reading the same again changes nothing.

    Args:
        database: a migrated database.
        source: as `core.sources.Source` takes it: a path, a folder, `s3://bucket/key`, `-`, or an iterable of lines or
            rows: nested trees, or flat messages whose trees follow each other, or both.
        origin: kept with each tree that names none itself.
        collection: id of the collection that the trees become part of.
        on_error: at a wrong line, `stop` (the trees before it stay imported) or `skip` (report it and go on). A flat
            message that is skipped is missing from its tree, with its replies; of a nested tree all or nothing.
        dry_run: check everything, write nothing. What occurs twice in the file is then found only when both places
            are near each other.
        progress: called with the report as it stands, after each batch.
        on_bad: called with each wrong line that is skipped, of which the report keeps the first 100 only.

    Raises:
        BadInput: `on_error` is neither, or the source cannot be read.
        BadRecord: a line is wrong and `on_error` is `stop`; it has the line number.
        Conflict: another import of the same trees runs at the same time.
        NotFound: there is no such collection.
    """
    if on_error not in ("stop", "skip"):
        raise BadInput(f"on_error is {on_error!r}; it must be 'stop' or 'skip'", path=("on_error",))
    run = _Import(aware(database), Source(source), origin, collection, on_error == "skip", dry_run, on_bad)
    try:
        if collection != DEFAULT:
            await find(run.database, collection)
        async for report in run.batches():
            if progress is not None:
                progress(report)
    except BulkWriteError as error:
        raise Conflict(f"the same trees are being imported by another process: {_first(error)}") from error
    except PyMongoError as error:
        raise unavailable(error) from error
    return run.report


def _first(error: BulkWriteError) -> str:
    problems = (error.details or {}).get("writeErrors") or [{}]
    return str(problems[0].get("errmsg", error))


class _Import:
    def __init__(
        self, database: Database, lines: Source, origin: str | None, collection: str, skip: bool, dry_run: bool,
        on_bad: Callable[[BadRecord], None] | None,
    ) -> None:  # fmt: skip
        self.database, self.lines, self.origin, self.skip, self.dry_run = database, lines, origin, skip, dry_run
        self.collection, self.on_bad = collection, on_bad
        self.report = ImportReport(bytes_total=lines.total)

    async def batches(self) -> AsyncIterator[ImportReport]:
        """Import batch after batch, giving the report after each, and once at the end.

        The store writes one batch while the next is read and checked.
        """
        batch: dict[str, tuple[int, ImportedTree]] = {}
        ids: set[str] = set()
        async with _OneAtATime() as writing:
            for number, tree in self._trees():
                with self._line(number):
                    parsed = parse_tree(tree, origin=self.origin, imported_at=now(), collection=self.collection)
                    self._take(batch, ids, number, parsed)
                await asyncio.sleep(0)  # lets the batch before go on
                if len(ids) >= BATCH:
                    await writing.start(self._store(batch))
                    batch, ids = {}, set()
                    yield self._told()
            await writing.start(self._store(batch))
        yield self._told()

    def _take(
        self, batch: dict[str, tuple[int, ImportedTree]], ids: set[str], number: int, parsed: ImportedTree
    ) -> None:
        """Add a tree to the batch, unless it is in it already (real files have lines twice)."""
        if parsed.tree.id in batch:
            _check_same(parsed, {message.id: message.tree_id for message in batch[parsed.tree.id][1].messages})
            self.report.unchanged += 1
            return
        own = {message.id for message in parsed.messages}
        if twice := ids & own:
            raise BadRecord(f"message {min(twice)!r} of tree {parsed.tree.id!r} occurs in another tree of the file")
        ids |= own
        batch[parsed.tree.id] = (number, parsed)

    def _told(self) -> ImportReport:
        self.report.bytes_read = self.lines.consumed
        return self.report

    def _trees(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each tree of the source as parsed JSON, with the number of its (last) line."""
        flat = Gatherer()
        last = 0
        for number, line in self._numbered():
            done: dict[str, Any] | None = None
            with self._line(number):
                value = parse_object(line)
                if "message_id" in value:
                    done = flat.add(value)
                else:
                    done = flat.finish()
                    yield number, value
            if done is not None:
                yield last, done
            last = number
        if (done := flat.finish()) is not None:
            yield last, done

    def _numbered(self) -> Iterator[tuple[int, Any]]:
        for number, line in self.lines:
            self.report.lines += 1
            yield number, line

    @contextmanager
    def _line(self, number: int) -> Iterator[None]:
        """Gives a `BadRecord` its line number and raises it, or, when skipping, notes it in the report."""
        try:
            yield
        except BadRecord as error:
            placed = BadRecord(error.message, line=number)
            if not self.skip:
                raise placed from error
            self.report.bad += 1
            if len(self.report.problems) < PROBLEMS_KEPT:
                self.report.problems.append(placed.message)
            if self.on_bad is not None:
                self.on_bad(placed)

    async def _store(self, batch: dict[str, tuple[int, ImportedTree]]) -> None:
        """Write the trees of `batch` that are new, and refuse those at odds with what is there."""
        present = await self._present("trees", batch)
        owners = await self._present("messages", [m.id for _, each in batch.values() for m in each.messages])
        new: list[ImportedTree] = []
        for number, tree in batch.values():
            with self._line(number):
                if tree.tree.id in present:
                    _check_same(tree, owners)
                    self.report.unchanged += 1
                else:
                    _check_free(tree, owners)
                    new.append(tree)
        if not self.dry_run:
            await self._write(new, list(owners))
        self.report.trees += len(new)
        self.report.messages += sum(len(tree.messages) for tree in new)
        self.report.rankings += sum(len(tree.rankings) for tree in new)

    async def _present(self, collection: str, ids: Iterable[str]) -> dict[str, str]:
        """Of `ids` those that are stored, each with the tree that it belongs to."""
        wanted = list(ids)
        found: dict[str, str] = {}
        for start in range(0, len(wanted), BATCH):
            query = {"_id": {"$in": wanted[start : start + BATCH]}}
            async for document in self.database[collection].find(query, {"tree_id": 1}):
                found[document["_id"]] = document.get("tree_id") or document["_id"]
        return found

    async def _write(self, trees: list[ImportedTree], stored: list[str]) -> None:
        messages = [message for tree in trees for message in tree.messages]
        rankings = [ranking for tree in trees for ranking in tree.rankings]
        if {message.id for message in messages}.intersection(stored):
            await self._remove("message_words", messages)
            await self._remove("messages", messages)
            await self._remove("rankings", rankings)
        await self._insert("messages", messages)
        await self._insert("message_words", messages, words_row)
        await self._insert("rankings", rankings)
        await self._insert("trees", [tree.tree for tree in trees])

    async def _remove(self, collection: str, records: Sequence[Record]) -> None:
        """What an interrupted import left of trees that do not exist."""
        for start in range(0, len(records), BATCH):
            ids = [record.id for record in records[start : start + BATCH]]
            await self.database[collection].delete_many({"_id": {"$in": ids}})

    async def _insert(
        self, collection: str, records: Sequence[AnyRecord], form: Callable[[AnyRecord], Document] = Record.to_document
    ) -> None:
        for start in range(0, len(records), BATCH):
            documents = [form(record) for record in records[start : start + BATCH]]
            await self.database[collection].insert_many(documents, ordered=False)


class _OneAtATime:
    """Runs one coroutine beside the caller; starting another, and leaving, wait for the one before and raise its error.

    A caller that fails still waits: what was read before the fault is written.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def start(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await self._wait()
        except BaseException:
            work.close()
            raise
        self._task = asyncio.create_task(work)

    async def _wait(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await task

    async def __aenter__(self) -> _OneAtATime:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._wait()


def _check_same(tree: ImportedTree, owners: dict[str, str]) -> None:
    missing = [message.id for message in tree.messages if owners.get(message.id) != tree.tree.id]
    if missing:
        raise BadRecord(
            f"tree {tree.tree.id!r} is there already, but without message {missing[0]!r} and {len(missing) - 1} more; "
            "an import never changes a tree that exists"
        )


def _check_free(tree: ImportedTree, owners: dict[str, str]) -> None:
    for message in tree.messages:
        if (owner := owners.get(message.id, tree.tree.id)) != tree.tree.id:
            raise BadRecord(f"message {message.id!r} of tree {tree.tree.id!r} is there already, in tree {owner!r}")
