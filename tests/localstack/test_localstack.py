"""A small training job with LocalStack as its object store: claims, events, checkpoints, result over S3 as it is.

Runs where `OA_S3_ENDPOINT` names a LocalStack (`make localstack`), and only there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core import layout, manifest
from core.objects import ObjectStore

MAKEFILE = Path(__file__).resolve().parents[2] / "Makefile"


@pytest.fixture(scope="module")
def localstack() -> dict[str, Any]:
    """What LocalStack says of itself; skips where the object store is another."""
    endpoint = os.environ.get("OA_S3_ENDPOINT")
    if not endpoint:
        pytest.skip("OA_S3_ENDPOINT names no LocalStack; start one with `make localstack`")
    try:
        with urllib.request.urlopen(f"{endpoint}/_localstack/health", timeout=10) as answer:
            return json.load(answer)
    except OSError:
        pytest.skip(f"what listens at {endpoint} is no LocalStack")


def test_it_is_the_version_that_is_pinned(localstack: dict[str, Any]) -> None:
    assert f"localstack-core[runtime]=={localstack['version']}" in MAKEFILE.read_text()
    assert {"s3", "iam", "sts"} <= {name for name, state in localstack["services"].items() if state != "disabled"}


def rows() -> list[dict[str, Any]]:
    """Sixteen one-turn threads, a quarter of them held out."""
    return [
        {
            "thread_id": f"thread-{number}", "tree_id": f"tree-{number}", "lang": "en",
            "split": "validation" if number % 4 == 0 else "train",
            "messages": [
                {"role": "user", "content": f"What is {number} plus one?", "message_id": f"q-{number}"},
                {"role": "assistant", "content": f"It is {number + 1}.", "message_id": f"a-{number}"},
            ],
        }
        for number in range(16)
    ]  # fmt: skip


def freeze(store: ObjectStore, folder: Path) -> None:
    """Publish the snapshot `threads/v1`."""
    for split in ("train", "validation"):
        chosen = [row for row in rows() if row["split"] == split]
        pq.write_table(pa.Table.from_pylist(chosen), folder / f"{split}.parquet")
    pq.write_table(pa.Table.from_pylist([{"kind": "tree", "id": "t", "hash": "h"}]), folder / "sources.parquet")
    about = {"format": 1, "name": "threads", "version": "v1", "kind": "sft", "sources": "sources.parquet"}
    manifest.publish(store, folder, layout.dataset("threads", "v1"), about)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_small_training_job(localstack: dict[str, Any], store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "snapshot").mkdir()
    freeze(store, tmp_path / "snapshot")
    stage = {"kind": "sft", "dataset": {"name": "threads", "version": "v1"}, "learning_rate": 0.01}
    sizes = {"max_steps": 4, "max_length": 64, "save_every": 2}
    spec = {"format": 1, "name": "small", "base": "tiny", "stages": [{**stage, **sizes}]}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    environment = {
        **os.environ, "OA_S3_BUCKET": store.bucket, "OA_VAR": str(tmp_path / "var"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip

    def oa(*arguments: str) -> str:
        command = [sys.executable, "-m", "oa", *arguments]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=500)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout.strip()

    job = oa("jobs", "launch", str(tmp_path / "spec.json"))
    oa("jobs", "worker", "--once")
    result = store.get_json(layout.result(job))
    assert result["state"] == "succeeded", result
    assert result["attempts"] == 1
    assert not store.exists(layout.queued(job))
    assert [item.key for item in store.list(layout.events(job))] != []
