"""The 18 flat columns in which oasst1 and oasst2 are published, as Parquet: their types, rows, and a streaming reader.

A row is one message; the rows of a tree follow each other, depth first, replies in the order of the export, so order
carries what the columns do not. What they cannot carry is left out: events (rankings among them), where a tree comes
from, keys of one's own, and whether a key was missing or null. A message of which nothing was said of reviews counts as
accepted and is written so. Reading rows back is the business of `core.flatform`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import BadInput
from core.row_groups import RowGroups

Node = dict[str, Any]

SCORES = ("toxicity", "severe_toxicity", "obscene", "identity_attack", "insult", "threat", "sexual_explicit")
SCHEMA = pa.schema(
    [
        ("message_id", pa.string()),
        ("parent_id", pa.string()),
        ("user_id", pa.string()),
        ("created_date", pa.string()),
        ("text", pa.string()),
        ("role", pa.string()),
        ("lang", pa.string()),
        ("review_count", pa.int32()),
        ("review_result", pa.bool_()),
        ("deleted", pa.bool_()),
        ("rank", pa.int32()),
        ("synthetic", pa.bool_()),
        ("model_name", pa.string()),
        ("detoxify", pa.struct([(name, pa.float64()) for name in SCORES])),
        ("message_tree_id", pa.string()),
        ("tree_state", pa.string()),
        ("emojis", pa.struct([("name", pa.list_(pa.string())), ("count", pa.list_(pa.int32()))])),
        (
            "labels",
            pa.struct(
                [("name", pa.list_(pa.string())), ("value", pa.list_(pa.float64())), ("count", pa.list_(pa.int32()))]
            ),
        ),
    ]
)
_PLAIN = [
    name for name in SCHEMA.names if name not in ("detoxify", "emojis", "labels", "message_tree_id", "tree_state")
]


def row_of(message: Mapping[str, Any]) -> Node:
    """The 18 columns of one flat message."""
    row = {name: message.get(name) for name in _PLAIN}
    if "review_result" not in message and "review_count" not in message:
        row["review_result"] = True
    scores, emojis, labels = (message.get(name) for name in ("detoxify", "emojis", "labels"))
    return row | {
        "detoxify": None if scores is None else {name: scores.get(name) for name in SCORES},
        "message_tree_id": message["message_tree_id"],
        "tree_state": message.get("tree_state"),
        "emojis": None if emojis is None else {"name": list(emojis), "count": list(emojis.values())},
        "labels": None if labels is None else _label_columns(labels),
    }


def _label_columns(labels: Mapping[str, Mapping[str, Any]]) -> Node:
    return {"name": list(labels)} | {
        field: [each.get(field) for each in labels.values()] for field in ("value", "count")
    }


class RowWriter:
    """Writes flat messages as Parquet into a binary stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._groups = RowGroups(stream, SCHEMA)

    def write(self, message: Mapping[str, Any]) -> None:
        """Take one message."""
        self._groups.add(row_of(message))

    def close(self) -> None:
        """Write what waits, and the end of the file."""
        self._groups.close()


def read_rows(path: Path) -> Iterator[Node]:
    """The rows of a Parquet file, a few hundred in memory at a time.

    Raises:
        BadInput: it is no Parquet file, or lacks a column without which there is no message.
    """
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            missing = {"message_id", "text", "role"} - set(file.schema_arrow.names)
            if missing:
                raise BadInput(f"{str(path)!r} has no column {min(missing)!r}; the columns of oasst2 are wanted")
            for batch in file.iter_batches(batch_size=256):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise BadInput(f"cannot read {str(path)!r} as Parquet: {reason}") from error
