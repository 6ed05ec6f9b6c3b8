"""What the stages' tests run on: contexts on temporary folders and small synthetic snapshots."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.context import StageContext, StageOutput, StageResult


@dataclass
class FolderCheckpoints:
    """Checkpoints in a local folder: a copy, renamed into place when it is whole."""

    folder: Path
    saved: list[int] = field(default_factory=list)

    def latest(self) -> tuple[int, Path] | None:
        found = sorted(path for path in self.folder.glob("[0-9]*") if path.is_dir())
        return (int(found[-1].name), found[-1]) if found else None

    def save(self, step: int, folder: Path) -> None:
        target = self.folder / f"{step:08d}"
        shutil.copytree(folder, target.with_suffix(".part"))
        target.with_suffix(".part").rename(target)
        self.saved.append(step)


@dataclass
class Recorder:
    """A reporter that keeps what it is told."""

    steps: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)
    metrics: list[tuple[str, float]] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    samples: list[tuple[str, str]] = field(default_factory=list)

    def progress(self, step: int, total: int, **metrics: float) -> None:
        self.steps.append((step, total, metrics))

    def metric(self, name: str, value: float, **about: Any) -> None:
        self.metrics.append((name, value))

    def log(self, message: str) -> None:
        self.logs.append(message)

    def sample(self, prompt: str, reply: str, **about: Any) -> None:
        self.samples.append((prompt, reply))


WORDS = ("red", "blue", "green", "cat", "dog", "sun", "moon", "tea")


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content, "message_id": f"{role}-{abs(hash(content))}"}


def synthetic_rows(kind: str, count: int = 24) -> list[dict[str, Any]]:
    """Rows whose pattern a tiny model can learn: a good reply repeats the word asked for, a bad one is x's."""
    draw = random.Random(kind)
    rows: list[dict[str, Any]] = []
    for index in range(count):
        word = draw.choice(WORDS)
        about = {
            "tree_id": f"t{index}",
            "lang": "en" if index % 3 else "de",
            "split": "validation" if index % 4 == 0 else "train",
        }
        prompt, good, bad = [_message("user", f"say {word}")], f"{word} {word}", "x" * draw.randint(3, 12)
        if kind == "sft":
            rows.append({"thread_id": f"th{index}", **about, "messages": [*prompt, _message("assistant", good)]})
        elif kind == "preference":
            extra = {"pair_id": f"p{index}", "parent_id": f"q{index}", "chosen_id": "c", "rejected_id": "r"}
            rows.append(
                {**extra, **about, "prompt": prompt, "chosen": good, "rejected": bad, "margin": 0.1, "weight": 1.0}
            )
        else:
            rows.append({"prompt_id": f"q{index}", **about, "prompt": prompt})
    return rows


def write_snapshot(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows-00000.parquet")
    pq.write_table(pa.Table.from_pylist([{"kind": "tree", "id": "t", "hash": "h"}]), folder / "sources.parquet")
    manifest = {
        "format": 1, "name": kind, "version": "v1", "kind": kind, "created_at": "2026-01-01T00:00:00Z",
        "filters": {}, "licence": "Apache-2.0", "content_hash": "0" * 64, "files": [],
        "counts": {"rows": len(rows), "trees": len(rows), "train": 0, "validation": 0, "by_lang": {}},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


ContextFactory = Callable[..., StageContext]


def as_output(kind: str, result: StageResult) -> StageOutput:
    """A finished stage as the next one sees it."""
    return StageOutput(kind, result.folder, result.metrics, result.info)
