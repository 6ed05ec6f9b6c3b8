"""Where conversation trees are written to: a file, a folder in parts, or the object store, in one of three forms.

Knows names and forms: `trees` (nested, one a line), `messages` (flat, one a line) and `parquet` (the 18 columns of
oasst2). A file appears when it is whole; the parts of a folder, and objects, one after the other as each is whole.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from core.errors import BadInput
from core.flatform import flat_messages
from core.jsonl import writer
from core.sources import S3, bucket_and_key

if TYPE_CHECKING:
    from core.hubform import RowWriter
    from core.objects import ObjectStore

FORMS = ("trees", "messages", "parquet")
SUFFIX = {"trees": ".jsonl.gz", "messages": ".jsonl.gz", "parquet": ".parquet"}
PER_PART = 100_000
"""Messages of one part of a folder, unless asked otherwise."""


class TreeWriter:
    """Takes exported trees one by one."""

    def write(self, tree: dict[str, Any]) -> None:
        """Write one tree, as `core.treeform.export_tree` gives it."""
        raise NotImplementedError

    def close(self) -> None:
        """Bring all to where it belongs."""


class _Stream(TreeWriter):
    """Into one stream of bytes."""

    def __init__(self, stream: IO[bytes], form: str) -> None:
        self._stream, self._form = stream, form
        self._rows: RowWriter | None = None
        if form == "parquet":
            from core.hubform import RowWriter  # here: it brings Arrow, and most exports are lines

            self._rows = RowWriter(stream)

    def write(self, tree: dict[str, Any]) -> None:
        if self._form == "trees":
            self._stream.write(orjson.dumps(tree, option=orjson.OPT_APPEND_NEWLINE))
            return
        for message in flat_messages(tree):
            if self._rows is not None:
                self._rows.write(message)
            else:
                self._stream.write(orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        if self._rows is not None:
            self._rows.close()


class _Parts(TreeWriter):
    """Into files of a folder, or under a prefix of the object store, a new one every `per_part` messages."""

    def __init__(self, folder: Path, form: str, per_part: int, store: ObjectStore | None, prefix: str) -> None:
        self._folder, self._form, self._per_part, self._store, self._prefix = folder, form, per_part, store, prefix
        self._number = self._messages = 0
        self._open: ExitStack | None = None
        self._file: _Stream

    def write(self, tree: dict[str, Any]) -> None:
        if self._open is None:
            self._begin()
        self._file.write(tree)
        self._messages += sum(1 for _ in flat_messages(tree))
        if self._messages >= self._per_part:
            self.close()

    def _begin(self) -> None:
        self._path = self._folder / f"part-{self._number:05d}{SUFFIX[self._form]}"
        self._open = ExitStack()
        self._file = _Stream(self._open.enter_context(writer(self._path)), self._form)

    def close(self) -> None:
        if self._open is None:
            return
        self._file.close()
        self._open.close()
        if self._store is not None:
            self._store.upload(self._path, self._prefix + self._path.name)
            self._path.unlink()
        self._open, self._messages, self._number = None, 0, self._number + 1

    def abandon(self) -> None:
        """Let go of the part being written; those before it stay."""
        if self._open is not None:
            self._file.close()
            self._open.__exit__(BadInput, BadInput("abandoned"), None)


@contextmanager
def tree_writer(out: str | Path | IO[bytes], form: str | None = None, per_part: int = PER_PART) -> Iterator[TreeWriter]:
    """Where to write trees.

    Args:
        out: a path (`.gz` for gzip), `-`, a binary stream, a folder (there already, or with a last `/`),
            `s3://bucket/key`, or `s3://bucket/prefix/`.
        form: of `FORMS`; None for `parquet` where the name says so, else `trees`.
        per_part: messages of one part, for a folder or prefix.

    Raises:
        BadInput: an unknown form, a folder that is not empty, or `out` cannot be written.
    """
    name = str(out) if isinstance(out, str | Path) else ""
    form = form or ("parquet" if name.endswith(".parquet") else "trees")
    if form not in FORMS:
        raise BadInput(f"form {form!r} is none of {', '.join(FORMS)}", path=("form",))
    if per_part < 1:
        raise BadInput(f"per_part is {per_part!r}; it must be a whole number from 1", path=("per_part",))
    if name.startswith(S3):
        yield from _to_objects(name, form, per_part)
    elif name and (name.endswith("/") or Path(name).is_dir()):
        yield from _finished(_Parts(_empty(Path(name)), form, per_part, None, ""))
    else:
        with writer(out) as stream:
            yield from _closed(_Stream(stream, form))


def _to_objects(address: str, form: str, per_part: int) -> Iterator[TreeWriter]:
    store, key = bucket_and_key(address)
    store.check_bucket()
    with tempfile.TemporaryDirectory(prefix="oa-export-") as folder:
        if key[-1:] in ("", "/"):
            if next(iter(store.list(key)), None) is not None:
                raise BadInput(f"{address!r} is not empty; parts of two exports must not mix")
            yield from _finished(_Parts(Path(folder), form, per_part, store, key))
            return
        path = Path(folder) / key.rpartition("/")[2]
        with writer(path) as stream:
            yield from _closed(_Stream(stream, form))
        store.upload(path, key)


def _closed(stream: _Stream) -> Iterator[TreeWriter]:
    """Closed in any case: what is abandoned is not kept, but its writer must not outlive the file."""
    try:
        yield stream
    finally:
        stream.close()


def _finished(parts: _Parts) -> Iterator[TreeWriter]:
    try:
        yield parts
        parts.close()
    except BaseException:
        parts.abandon()
        raise


def _empty(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise BadInput(f"folder {str(folder)!r} is not empty; parts of two exports must not mix")
    except OSError as error:
        raise BadInput(f"cannot write into {str(folder)!r}: {error.strerror}") from error
    return folder
