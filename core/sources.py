"""Where conversation trees are read from: a file, a folder of files, or the object store, as numbered lines and rows.

Knows names: what ends in `.jsonl`, `.jsonl.gz` or `.parquet` is a file of trees, messages or rows; a folder or a key
that ends in `/` stands for all such files under it, in order of name. Objects are fetched one at a time and removed
again. Holds one line, or a few hundred rows, at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import BadInput, BadRecord
from core.jsonl import Lines
from core.scratch import scratch_folder

if TYPE_CHECKING:
    from core.objects import ObjectStore

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
S3 = "s3://"


class Place(int):
    """The number of a line or row, from 1, which says the file too where there are several."""

    file: str = ""

    @classmethod
    def of(cls, number: int, file: str) -> Place:
        """Line `number` of `file`."""
        place = cls(number)
        place.file = file
        return place

    def __format__(self, spec: str) -> str:
        plain = int.__format__(self, spec)
        return f"{plain} of {self.file}" if self.file else plain


class Source:
    """The lines and rows of `origin`, numbered.

    Args:
        origin: a path, `-`, `s3://bucket/key`, `s3://bucket/prefix/`, or an iterable of lines or rows.

    Attributes:
        total: bytes to read; None where unknown.

    Raises:
        BadInput: nothing is there, or it cannot be read.
        BadRecord: while iterating: a line is too long, or a gzip stream is broken.
    """

    def __init__(self, origin: str | Path | Iterable[Any]) -> None:
        self._done = 0
        self._lines: Lines | None = None
        self._files: list[_File] = []
        self.total: int | None
        if isinstance(origin, str | Path) and str(origin) != "-":
            self._files = _objects(str(origin)) if str(origin).startswith(S3) else _local(Path(origin))
            self.total = sum(file.size for file in self._files)
        else:
            self._lines = Lines(origin)
            self.total = self._lines.total

    @property
    def consumed(self) -> int:
        """Bytes read so far; 0 where that is unknown."""
        return self._done + (self._lines.consumed if self._lines is not None else 0)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        if not self._files:
            yield from self._lines or ()
            return
        for file in self._files:
            name = file.name if len(self._files) > 1 else ""
            with file.at_hand() as path:
                for number, value in self._values(path):
                    yield Place.of(number, name), value
            self._lines = None
            self._done += file.size

    def _values(self, path: Path) -> Iterator[tuple[int, Any]]:
        if path.name.endswith(".parquet"):
            from core.hubform import read_rows  # here: it brings Arrow, and most imports are of lines

            yield from enumerate(read_rows(path), start=1)
            return
        self._lines = Lines(path)
        try:
            yield from self._lines
        except BadRecord as error:
            raise BadRecord(f"{path.name}: {error.message}") from error if len(self._files) > 1 else None


class _File:
    """One file, on this machine or (with `store`) an object."""

    def __init__(self, name: str, size: int, path: Path | None = None, store: ObjectStore | None = None) -> None:
        self.name, self.size, self._path, self._store = name, size, path, store

    def at_hand(self) -> AbstractContextManager[Path]:
        return nullcontext(self._path) if self._path is not None else _fetched(self._store, self.name)


@contextmanager
def _fetched(store: ObjectStore | None, key: str) -> Iterator[Path]:
    with scratch_folder("oa-import-") as folder:
        path = folder / key.rpartition("/")[2]
        if store is not None:
            store.download(key, path)
        yield path


def _local(path: Path) -> list[_File]:
    if path.is_dir():
        inside = sorted(each for each in path.rglob("*") if each.is_file() and _is_data(each.name))
        if not inside:
            raise BadInput(f"folder {str(path)!r} has no file that ends in {', '.join(SUFFIXES)}")
        return [_File(str(each.relative_to(path)), each.stat().st_size, each) for each in inside]
    try:
        with path.open("rb"):
            if path.is_file():  # a pipe or a device gives lines, whatever its name
                _check_name(str(path))
            return [_File(path.name, path.stat().st_size, path)]
    except OSError as error:
        raise BadInput(
            f"cannot read {str(path)!r}: {error.strerror}; give a .jsonl, .jsonl.gz or .parquet file, a folder of "
            "such, s3://BUCKET/KEY, or -"
        ) from error


def _objects(address: str) -> list[_File]:
    store, key = bucket_and_key(address)
    found = [each for each in store.list(key) if each.key == key or (key[-1:] in ("", "/") and _is_data(each.key))]
    if not found:
        raise BadInput(f"{address!r} names no object; give the key of a file, or a prefix with its last /")
    if key[-1:] not in ("", "/"):
        _check_name(address)
    return [_File(each.key, each.size, store=store) for each in found]


def bucket_and_key(address: str) -> tuple[ObjectStore, str]:
    """The object store and key of `s3://bucket/key`; endpoint and region are those of the environment.

    Raises:
        BadInput: no bucket is named.
    """
    from core.objects import ObjectStore  # here: it brings boto3, and most sources are files

    bucket, _, key = address.removeprefix(S3).partition("/")
    if not bucket:
        raise BadInput(f"{address!r} names no bucket; the form is s3://BUCKET/KEY")
    usual = ObjectStore.from_env()
    return ObjectStore(bucket, usual.endpoint, usual.region), key


def _check_name(name: str) -> None:
    if not name.endswith(SUFFIXES):
        raise BadInput(
            f"{name!r} does not say what it holds; its name must end in .jsonl or .jsonl.gz (lines: trees or messages) "
            "or .parquet (18 columns); lines of another name can be read from standard input, as -"
        )


def _is_data(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.rpartition("/")[2].startswith(".")
