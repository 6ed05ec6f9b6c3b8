"""Files of one JSON value a line: plain, gzipped, or the standard streams. Knows bytes and lines, and no meaning.

A name that ends in `.gz` is gzipped, `-` is standard input or output. Lines are read and written one by one, so memory
does not grow with the file.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson

from core.errors import BadInput, BadRecord

MAX_LINE_BYTES = 64 << 20
"""Threat: a line without end. Far above any tree: the largest of OASST2 is below 1 MiB."""


class Lines:
    """The lines of `source`, with their numbers from 1.

    Args:
        source: a path, `-` for standard input, or lines (bytes, text, or values parsed already).

    Attributes:
        total: size of the file in bytes, compressed as it lies there; None where unknown.

    Raises:
        BadInput: the file is not there or cannot be read.
        BadRecord: while iterating: a line is too long, or the gzip stream is broken.
    """

    def __init__(self, source: str | Path | Iterable[Any]) -> None:
        self._raw: IO[bytes] | None = None
        self.total: int | None = None
        self._lines: Iterable[Any]
        if isinstance(source, str | Path):
            self._lines = self._open(str(source))
        else:
            self._lines = source

    def _open(self, name: str) -> Iterator[bytes]:
        if name == "-":
            return _split(sys.stdin.buffer)
        try:
            self._raw = Path(name).open("rb")  # noqa: SIM115 - closed when the lines are read
            self.total = Path(name).stat().st_size
        except OSError as error:
            raise BadInput(f"cannot read {name!r}: {error.strerror}; give a .jsonl or .jsonl.gz file, or -") from error
        stream = gzip.GzipFile(fileobj=self._raw) if name.endswith(".gz") else self._raw
        return _split(stream)

    @property
    def consumed(self) -> int:
        """Bytes of the file read so far; 0 where there is no file."""
        return self._raw.tell() if self._raw is not None and not self._raw.closed else self.total or 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        number = 0
        try:
            for number, line in enumerate(self._lines, start=1):
                if not isinstance(line, bytes | str) or line.strip():
                    yield number, line
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BadRecord(f"the gzip stream is broken here: {error}", line=number + 1) from error
        finally:
            if self._raw is not None:
                self._raw.close()


def _split(stream: Any) -> Iterator[bytes]:
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise BadRecord(f"longer than {MAX_LINE_BYTES >> 20} MiB; one line holds one tree or message", line=number)
        yield line


def parse_object(line: Any) -> dict[str, Any]:
    """The JSON object of a line (a mapping is one already).

    Raises:
        BadRecord: it is no JSON (NaN and Infinity are none either) or no object.
    """
    if isinstance(line, bytes | str):
        try:
            line = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise BadRecord(f"no JSON: {error}") from error
    if not isinstance(line, dict):
        raise BadRecord(f"a {type(line).__name__}; an object is wanted: a tree or a message")
    return line


@contextmanager
def writer(out: str | Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """A stream of bytes into a path (gzipped by its name, `-` for standard output) or into an open stream.

    A path gets its content at the end, all at once: an export that fails leaves what was there before. The same lines
    give the same bytes, gzipped or not.
    """
    if not isinstance(out, str | Path):
        yield out
    elif str(out) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with _whole(Path(out)) as raw:
            if str(out).endswith(".gz"):
                with (
                    gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
                    io.BufferedWriter(packed) as lines,
                ):
                    yield lines
            else:
                yield raw


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    # A device or a pipe is written to; only a file is replaced.
    direct = path.exists() and not path.is_file()
    partial = path if direct else path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as raw:
            yield raw
            if not direct:
                raw.flush()
                os.fsync(raw.fileno())
        if not direct:
            partial.replace(path)
    except OSError as error:
        raise BadInput(f"cannot write {str(path)!r}: {error.strerror}") from error
    finally:
        if not direct:
            partial.unlink(missing_ok=True)
