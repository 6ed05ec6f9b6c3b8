"""Lines in a compressed file of this machine, written and read one by one. Knows no meaning.

Arrow, which packs them, is loaded by who writes or reads some: it is heavy.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKING = "zstd"


class PackedLines:
    """Writes lines to `path`; `close` ends the file."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self._file: Any = pa.CompressedOutputStream(str(path), PACKING)

    def add(self, line: bytes) -> None:
        """Write one line, which has no end."""
        self._file.write(line + b"\n")

    def close(self) -> None:
        """Write what waits."""
        self._file.close()


def packed_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, without their ends."""
    import pyarrow as pa

    with io.BufferedReader(pa.CompressedInputStream(str(path), PACKING)) as lines:
        for line in lines:
            yield line[:-1]
