"""Where conversation trees are written to: a file, a folder in parts, or the object store, in one of three forms.

Knows names and forms: `trees` (nested, one a line), `messages` (flat, one a line) and `parquet` (the 18 columns of
oasst2). A file appears when it is whole; the parts of a folder, and objects, one after the other as each is whole.
All but streams are written in parts with a mark of how far it is (`core.export_marks`), so an export that was killed
goes on. The parts of a file, or of one object, are lines beside it, of which it is made at the end: the same bytes,
whether it was killed or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from core import export_marks
from core.errors import BadInput, OaError
from core.export_marks import Folder, Mark, Place, Prefix
from core.flatform import flat_messages
from core.jsonl import writer
from core.scratch import scratch_folder
from core.sources import S3, SUFFIXES, bucket_and_key

if TYPE_CHECKING:
    from core.hubform import RowWriter

FORMS = ("trees", "messages", "parquet")
LINES = (".jsonl", ".jsonl.gz")
SUFFIX = {"trees": ".jsonl.gz", "messages": ".jsonl.gz", "parquet": ".parquet"}
PER_PART = 100_000
"""Messages of one part of a folder, unless asked otherwise."""
STEP = 20_000
"""Messages, at most, that a killed export of one file writes again."""


@dataclass(frozen=True)
class Plan:
    """How trees are to be written.

    Attributes:
        form: of `FORMS`; None for what the name says: `parquet` or `trees`.
        per_part: messages of one part of a folder or prefix; a killed export writes as many again.
        settings: what else decides the content; who goes on with an export must have the same.
        anew: begin again, where an export was interrupted.
    """

    form: str | None = None
    per_part: int = PER_PART
    settings: Mapping[str, Any] | None = None
    anew: bool = False


class TreeWriter:
    """Takes exported trees one by one.

    Attributes:
        mark: how far it is: what is written for good.
    """

    mark = Mark()

    def write(self, tree: dict[str, Any], name: str) -> None:
        """Write one tree, as `core.treeform.export_tree` gives it; who goes on with the export finds it by `name`."""
        raise NotImplementedError


class _Stream(TreeWriter):
    """Into one stream of bytes."""

    def __init__(self, stream: IO[bytes], form: str) -> None:
        self._stream, self._form = stream, form
        self._rows: RowWriter | None = None
        if form == "parquet":
            from core.hubform import RowWriter  # here: it brings Arrow, and most exports are lines

            self._rows = RowWriter(stream)

    def write(self, tree: dict[str, Any], name: str) -> None:
        if self._form == "trees":
            self._stream.write(orjson.dumps(tree, option=orjson.OPT_APPEND_NEWLINE))
        else:
            for message in flat_messages(tree):
                self._add(message)

    def _add(self, message: Mapping[str, Any]) -> None:
        if self._rows is not None:
            self._rows.write(message)
        else:
            self._stream.write(orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE))

    def copy(self, lines: Iterable[bytes]) -> None:
        """Write what is trees or messages of this form as lines already."""
        if self._rows is None:
            self._stream.writelines(lines)
        else:
            for line in lines:
                self._rows.write(orjson.loads(line))

    def close(self) -> None:
        if self._rows is not None:
            self._rows.close()


class _Parts(TreeWriter):
    """Into parts that lie in a place, a new one every `per_part` messages, from where the mark says."""

    def __init__(self, place: Place, mark: Mark, form: str, suffix: str, per_part: int) -> None:
        self.mark = mark
        self._place, self._form, self._suffix, self._per_part = place, form, suffix, per_part
        self._trees = self._messages = 0
        self._open: ExitStack | None = None
        self._name = ""
        self._file: _Stream

    def write(self, tree: dict[str, Any], name: str) -> None:
        if self._open is None:
            self._begin()
        self._file.write(tree, name)
        self._name = name
        self._trees += 1
        self._messages += sum(1 for _ in flat_messages(tree))
        if self._messages >= self._per_part:
            self.close()

    def part(self, number: int) -> str:
        """The name of a part."""
        return f"part-{number:05d}{self._suffix}"

    def _begin(self) -> None:
        self._path = self._place.scratch / self.part(self.mark.parts)
        self._open = ExitStack()
        self._file = _Stream(self._open.enter_context(writer(self._path)), self._form)

    def close(self) -> None:
        """Bring the part being written to its place."""
        if self._open is None:
            return
        self._file.close()
        self._open.close()
        self._open = None
        self._place.take(self._path)
        self.mark = self.mark.forward(self._name, self._trees, self._messages)
        export_marks.keep(self._place, self.mark)
        self._trees = self._messages = 0

    def abandon(self) -> None:
        """Let go of the part being written; those before it stay, and where there are none nothing does."""
        if self._open is not None:
            self._file.close()
            self._open.__exit__(BadInput, BadInput("abandoned"), None)
        with suppress(OaError):  # of a store that does not answer the reason is told already
            export_marks.give_up(self._place, self.mark)

    def lines(self) -> Iterator[bytes]:
        """The lines of all parts."""
        for number in range(self.mark.parts):
            with self._place.at_hand(self.part(number)) as path, path.open("rb") as file:
                yield from file


@contextmanager
def tree_writer(out: str | Path | IO[bytes], plan: Plan | None = None) -> Iterator[TreeWriter]:
    """Where to write trees.

    Args:
        out: a path (`.gz` for gzip), `-`, a binary stream, a folder (there already, or with a last `/`),
            `s3://bucket/key`, or `s3://bucket/prefix/`.
        plan: how.

    Raises:
        BadInput: an unknown form or name, a folder that is not empty, other settings than those of the interrupted
            export that lies there, or `out` cannot be written.
        Conflict: another export to the same place has taken over.
    """
    plan = plan or Plan()
    name = str(out) if isinstance(out, str | Path) else ""
    form = _form(name, plan)
    with ExitStack() as held:
        if name.startswith(S3):
            scratch = held.enter_context(scratch_folder("oa-export-"))
            store, key = bucket_and_key(name)
            store.check_bucket()
            if key[-1:] in ("", "/"):
                yield from _into_parts(Prefix(store, key, scratch), form, plan)
                return
            path = scratch / key.rpartition("/")[2]
            yield from _into_one(Prefix(store, f"{key}.export/", scratch, name), path, form, plan)
            store.upload(path, key)
            export_marks.clear(Prefix(store, f"{key}.export/", scratch, name))
        elif name and _is_folder(name):
            yield from _into_parts(Folder(Path(name)), form, plan)
        elif name and _is_file(name):
            path = Path(name)
            place = Folder(path.with_name(f".{path.name}.export"), name)
            yield from _into_one(place, path, form, plan)
            export_marks.clear(place)
        else:
            stream = _Stream(held.enter_context(writer(out)), form)
            held.callback(stream.close)  # what is abandoned is not kept, but its writer must not outlive the stream
            yield stream


def _form(name: str, plan: Plan) -> str:
    """The form, checked against the name."""
    form = plan.form or ("parquet" if name.endswith(".parquet") else "trees")
    if form not in FORMS:
        raise BadInput(f"form {form!r} is none of {', '.join(FORMS)}", path=("form",))
    if plan.per_part < 1:
        raise BadInput(f"per_part is {plan.per_part!r}; it must be a whole number from 1", path=("per_part",))
    check_name(name, (".parquet",) if form == "parquet" else LINES, form)
    return form


def check_name(name: str, suffixes: tuple[str, ...] = LINES, what: str = "lines") -> None:
    """Refuse the name of a file that does not say what will be in it; of folders, streams and devices none does.

    Raises:
        BadInput: it ends in none of `suffixes`.
    """
    key = name.removeprefix(S3).partition("/")[2]
    named = key and not key.endswith("/") if name.startswith(S3) else name and _is_file(name)
    if not named or name.endswith(suffixes):
        return
    if name.endswith(SUFFIXES):
        raise BadInput(f"{name!r} is no name for {what}; it must end in {' or '.join(suffixes)}", path=("out",))
    raise BadInput(
        f"{name!r} does not say what to write; it must end in .jsonl or .jsonl.gz (lines: trees or messages), .parquet "
        "(18 columns), or / (a folder)",
        path=("out",),
    )


@contextmanager
def lines_writer(out: str | Path | IO[bytes], what: str) -> Iterator[IO[bytes]]:
    """A stream of bytes for lines: into a file, an object, or as `core.jsonl.writer` takes it; whole or not at all.

    Raises:
        BadInput: the name is that of something else.
    """
    name = str(out) if isinstance(out, str | Path) else ""
    check_name(name, what=what)
    if name and (_is_folder(name) or (name.startswith(S3) and not name.endswith(LINES))):
        raise BadInput(f"{name!r} is a folder; {what} go into one file, which ends in .jsonl or .jsonl.gz")
    if not name.startswith(S3):
        with writer(out) as stream:
            yield stream
        return
    store, key = bucket_and_key(name)
    store.check_bucket()
    with scratch_folder("oa-export-") as folder:
        path = folder / key.rpartition("/")[2]
        with writer(path) as stream:
            yield stream
        store.upload(path, key)


def _is_folder(name: str) -> bool:
    return name.endswith("/") or Path(name).is_dir()


def _is_file(name: str) -> bool:
    """Whether a file is meant: no stream, and no device or pipe, which is written to as it is."""
    return name != "-" and not _is_folder(name) and (Path(name).is_file() or not Path(name).exists())


def _into_parts(place: Place, form: str, plan: Plan) -> Iterator[TreeWriter]:
    settings = {"form": form, "per_part": plan.per_part, **(plan.settings or {})}
    parts = _Parts(place, export_marks.begin(place, settings, anew=plan.anew), form, SUFFIX[form], plan.per_part)
    yield from _finished(parts)
    place.remove([export_marks.NAME])


def _into_one(place: Place, path: Path, form: str, plan: Plan) -> Iterator[TreeWriter]:
    """Lines in parts first, then of them the file at `path`."""
    lines = "messages" if form == "parquet" else form
    mark = export_marks.begin(place, {"form": form, **(plan.settings or {})}, anew=plan.anew)
    parts = _Parts(place, mark, lines, ".part", min(plan.per_part, STEP))
    yield from _finished(parts)
    with writer(path) as stream:
        whole = _Stream(stream, form)
        try:
            whole.copy(parts.lines())
        finally:
            whole.close()


def _finished(parts: _Parts) -> Iterator[TreeWriter]:
    try:
        yield parts
        parts.close()
    except BaseException:
        parts.abandon()
        raise
