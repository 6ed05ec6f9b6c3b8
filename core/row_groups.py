"""Rows into a Parquet file, in constant memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 1_000
"""Rows held as Python's values, before Arrow holds them."""
GROUP = 5_000
"""Rows of one group. A writer keeps what it says of each group until the end: with few groups that is little."""


class RowGroups:
    """Writes rows of one schema; `close` ends the file.

    Of long texts no least and greatest are kept: they say nothing, and are held for every group.
    """

    def __init__(self, out: IO[bytes] | Path, schema: pa.Schema) -> None:
        told = [field.name for field in schema if field.name != "text" and not pa.types.is_nested(field.type)]
        self._schema = schema
        self._file = pq.ParquetWriter(out, schema, compression="zstd", write_statistics=told)
        self._rows: list[Mapping[str, Any]] = []
        self._tables: list[pa.Table] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one row."""
        self._rows.append(row)
        if len(self._rows) >= ROWS:
            self._pack()
            if len(self._tables) * ROWS >= GROUP:
                self._write()

    def _pack(self) -> None:
        self._tables.append(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []

    def _write(self) -> None:
        self._file.write_table(pa.concat_tables(self._tables), row_group_size=GROUP)
        self._tables = []

    def close(self) -> None:
        """Write what waits, and the end of the file."""
        if self._rows:
            self._pack()
        if self._tables:
            self._write()
        self._file.close()
