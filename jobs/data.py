"""Rows of a frozen snapshot as a stage reads them.

Knows the snapshot's files and columns (docs/architecture.md, Seams). Does not know tokens or models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BadInput, NotFound
from core.jobspec import SnapshotRef
from jobs.context import StageContext

Row = dict[str, Any]

SOURCES = "sources.parquet"
COLUMNS = {
    "sft": ("thread_id", "tree_id", "lang", "split", "messages"),
    "preference": ("pair_id", "tree_id", "lang", "split", "prompt", "chosen", "rejected", "margin", "weight"),
    "prompts": ("prompt_id", "tree_id", "lang", "split", "prompt"),
}
"""Columns that the stages read, by kind of snapshot."""


@dataclass(frozen=True)
class Rows:
    """A snapshot's rows, each split in stored order, and its manifest."""

    train: list[Row]
    validation: list[Row]
    manifest: dict[str, Any]


def load(context: StageContext, reference: SnapshotRef, kind: str) -> Rows:
    """The rows of the snapshot that a stage names.

    Raises:
        NotFound: the runner was not given that snapshot.
        BadInput: it is of another kind, lacks a column, or has no training or no held-out rows.
    """
    name = f"{reference.name}/{reference.version}"
    folder = context.datasets.get(name)
    if folder is None:
        raise NotFound(f"snapshot {name!r} is not among this job's data sets ({', '.join(context.datasets) or 'none'})")
    return read(folder, kind, name)


def read(folder: Path, kind: str, name: str) -> Rows:
    """The rows of the snapshot in `folder`, which must be of `kind`; errors as in `load`."""
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    if manifest["kind"] != kind:
        raise BadInput(
            f"snapshot {name!r} is of kind {manifest['kind']!r}; this stage needs {kind!r}", path=("dataset",)
        )
    rows = list(_rows(folder, kind, name))
    train, validation = ([row for row in rows if row["split"] == split] for split in ("train", "validation"))
    for split, part in (("train", train), ("validation", validation)):
        if not part:
            raise BadInput(
                f"snapshot {name!r} has no {split!r} rows; freeze more trees, or with another validation percentage",
                path=("dataset",),
            )
    return Rows(train, validation, manifest)


def _rows(folder: Path, kind: str, name: str) -> Iterable[Row]:
    import pyarrow.parquet as pq

    for path in sorted(folder.rglob("*.parquet")):
        if path.name == SOURCES:
            continue
        file = pq.ParquetFile(path)
        if missing := set(COLUMNS[kind]) - set(file.schema_arrow.names):
            raise BadInput(f"snapshot {name!r}: {path.name} lacks the columns {', '.join(sorted(missing))}")
        for batch in file.iter_batches(columns=list(COLUMNS[kind])):
            yield from batch.to_pylist()
