"""Snapshots, jobs and models over HTTP: how many commands each operation takes, and what it says without a bucket."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_counting import Counts, counting
from running_api import Caller, serving
from training_operations import TRAINING

from api.settings import Settings
from core import layout, manifest
from core.database import connect
from core.interchange import import_trees
from core.objects import ObjectStore
from graphql_schema.relay import global_id, raw_id

SAMPLES = Path(__file__).parents[2] / "samples" / "trees.jsonl"


class Training:
    """An API with trees to train on and a bucket of its own; an operation of `TRAINING` is asked by its name."""

    def __init__(self, settings: Settings, base: str, counts: Counts) -> None:
        self.settings, self.counts = settings, counts
        self.store = ObjectStore(settings.s3_bucket, settings.s3_endpoint, region=settings.s3_region)
        self.admin = Caller(base).sign_in("root", "ADMIN")

    async def fill(self) -> None:
        async with connect(self.settings.mongodb_uri) as client:
            with SAMPLES.open("rb") as lines:
                await import_trees(client[self.settings.mongodb_database], lines, origin="samples")

    def publish(self, folder: Path) -> None:
        """What a job leaves: a model of version v1."""
        folder.joinpath("onnx").mkdir()
        folder.joinpath("onnx", "model.onnx").write_bytes(b"v1")
        about = {
            "format": 1, "name": "assistant", "version": "v1", "created_at": "2026-01-01T00:00:00Z", "job_id": "job-1",
            "base": "tiny", "checks": {"parity": {"passed": True}}, "datasets": [],
        }  # fmt: skip
        manifest.publish(self.store, folder, layout.model("assistant", "v1"), about)

    def run(self, name: str, **variables: Any) -> Any:
        """The answer of the root field; what is to be done must be."""
        answer = self.counts.ask(name, self.admin, TRAINING[name], variables)
        assert "errors" not in answer, (name, answer["errors"])
        payload = next(iter(answer["data"].values()))
        assert not payload.get("userErrors"), (name, payload)
        return payload

    def code(self, name: str, **variables: Any) -> str:
        """The code with which it is refused."""
        answer = self.admin.post(TRAINING[name], variables).json()
        if answer.get("errors"):
            return answer["errors"][0]["extensions"]["code"]
        return next(iter(answer["data"].values()))["userErrors"][0]["code"]


@pytest.fixture
def training(settings: Settings) -> Iterator[Training]:
    name = uuid.uuid4().hex[:12]
    named = {"mongodb_database": f"test_training_{name}", "s3_bucket": f"test-training-{name}"}
    own = replace(settings, **named, sweep_seconds=0)
    with counting() as counts, serving(own) as base:
        yield Training(own, base, counts)


def spec(snapshot: dict[str, Any]) -> dict[str, Any]:
    dataset = {"name": snapshot["name"], "version": snapshot["version"]}
    return {"name": "assistant", "base": "tiny", "stages": [{"kind": "sft", "dataset": dataset}, {"kind": "export"}]}


def test_operations_on_the_object_store_keep_to_their_ceilings_and_say_when_the_bucket_is_gone(training, tmp_path):
    asyncio.run(training.fill())
    training.publish(tmp_path)
    frozen = {"kind": "sft", "name": "sft", "filters": {"langs": ["en"]}}
    snapshot = training.run("Freeze", input=frozen)["snapshot"]
    assert snapshot["rows"] > 0
    assert len(training.run("Download", input={"snapshotId": snapshot["id"]})["files"]) > 2
    launch = {"spec": spec(snapshot), "idempotencyKey": "k"}
    job = training.run("Launch", input=launch)["job"]
    told = json.dumps({"type": "progress", "ts": "1", "attempt": 1, "step": 1, "total": 3, "stage": "00-sft"})
    training.store.put(layout.event_batch(raw_id(job["id"], "Job"), "00-sft", 1, 0), told.encode())
    training.counts.first_event("FollowJob", training.admin, TRAINING["FollowJob"], {"jobId": job["id"]})
    training.run("Cancel", input={"jobId": job["id"]})
    promoted = {"name": "assistant", "version": "v1"}
    assert training.run("Promote", input=promoted)["model"]["promoted"]
    assert len(training.run("Snapshots")["nodes"]) == len(training.run("Models")["nodes"]) == 1
    assert training.run("Node", id=snapshot["id"])["id"] == snapshot["id"]
    training.counts.check("training")

    for item in list(training.store.list("")):
        training.store.delete(item.key)
    training.store._client.delete_bucket(Bucket=training.store.bucket)
    gone = {
        "Freeze": {"input": frozen}, "Download": {"input": {"snapshotId": snapshot["id"]}},
        "Launch": {"input": {"spec": spec(snapshot)}}, "Promote": {"input": promoted}, "Snapshots": {}, "Models": {},
        "Node": {"id": snapshot["id"]},
    }  # fmt: skip
    assert {name: training.code(name, **given) for name, given in gone.items()} == dict.fromkeys(gone, "BUCKET_MISSING")
    assert training.code("Node", id=global_id("Model", "assistant@v1")) == "BUCKET_MISSING"
