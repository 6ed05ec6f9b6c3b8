"""The files of a snapshot, made of lines of rows and sources (`core.snapshot_reading`), and its version, their hash.

Knows the columns. Equal lines, settings and seed give equal files: rows come in the order of the lines.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from core.hubform import SCHEMA as COLUMNS
from core.ids import canonical_json
from core.row_groups import RowGroups
from core.snapshot_reading import ROW
from core.snapshot_rows import Row

_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string()), ("message_id", pa.string())]))
_TEXTS = ("tree_id", "lang", "split")
SCHEMAS = {
    "sft": pa.schema([("thread_id", pa.string()), *((each, pa.string()) for each in _TEXTS), ("messages", _TURNS)]),
    "preference": pa.schema(
        [(each, pa.string()) for each in ("pair_id", "parent_id", *_TEXTS)]
        + [("prompt", _TURNS)]
        + [(each, pa.string()) for each in ("chosen", "rejected", "chosen_id", "rejected_id")]
        + [("margin", pa.float64()), ("weight", pa.float64()), ("confidence", pa.float64())]
        + [("rankings", pa.int64()), ("alpha", pa.float64())]
    ),
    "prompts": pa.schema([("prompt_id", pa.string()), *((each, pa.string()) for each in _TEXTS), ("prompt", _TURNS)]),
    "trees": pa.schema([*COLUMNS, ("split", pa.string())]),
}
SOURCES = pa.schema([("kind", pa.string()), ("id", pa.string()), ("hash", pa.string())])
SPLITS = ("train", "validation")


@dataclass
class Made:
    """Files that were made, and what is in them."""

    version: str = ""
    rows: int = 0
    trees: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    langs: Counter[str] = field(default_factory=Counter)

    def counts(self) -> dict[str, Any]:
        """As a manifest has them."""
        return {
            "rows": self.rows,
            "trees": self.trees,
            "train": self.splits["train"],
            "validation": self.splits["validation"],
            "by_lang": dict(sorted(self.langs.items())),
        }


def make_files(lines: Iterable[bytes], folder: Path, settings: Mapping[str, Any], held_out: str | None) -> Made:
    """Write `train.parquet`, `validation.parquet` and `sources.parquet`, each if there is something for it. Blocking.

    Args:
        lines: as `core.snapshot_reading` makes them.
        folder: where to; it is made.
        settings: of the freeze; they are part of the version.
        held_out: a tree that goes to the validation side, whatever its rows say.
    """
    folder.mkdir()
    digest = hashlib.sha256(canonical_json(settings))
    made = Made()
    tree = "message_tree_id" if settings["kind"] == "trees" else "tree_id"
    with ExitStack() as stack:
        parts = {split: stack.enter_context(_Part(folder, split, SCHEMAS[settings["kind"]])) for split in SPLITS}
        sources = stack.enter_context(_Part(folder, "sources", SOURCES))
        for line in lines:
            packed, row = line[1:], orjson.loads(line[1:])
            if not line.startswith(ROW):
                made.trees += row["kind"] == "tree"
                sources.add(row)
            else:
                if row[tree] == held_out:
                    row["split"] = "validation"
                    packed = canonical_json(row)
                parts[row["split"]].add(row)
                made.rows += 1
                made.splits[row["split"]] += 1
                made.langs[row["lang"]] += 1
            digest.update(packed)
    made.version = digest.hexdigest()[:12]
    return made


class _Part:
    """One Parquet file, written in row groups; a file without a row is not kept (`datasets` reads none)."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema) -> None:
        self.path, self._schema = folder / f"{name}.parquet", schema
        self._rows = 0

    def __enter__(self) -> _Part:
        self._file = RowGroups(self.path, self._schema)
        return self

    def add(self, row: Row) -> None:
        self._file.add(row)
        self._rows += 1

    def __exit__(self, *error: object) -> None:
        self._file.close()
        if not self._rows:
            self.path.unlink()
