"""Workers as real processes on a real Ray: jobs are run once, survive every kind of kill, and leave nobody behind.

Two workers (each with a Ray cluster of its own) share one queue for the whole module, because a Ray cluster takes
seconds to start.
"""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from runner_kit import Desk, enqueue, make_spec, processes_of, publish_inputs, result_of, stage, start_worker, wait_for

from core import layout
from core.errors import OaError
from core.ids import new_id
from core.objects import ObjectStore
from jobs.events import merge, read_events


@dataclass
class Fleet:
    """Two workers, a queue and a desk."""

    store: ObjectStore
    desk: Desk
    folder: Path
    workers: dict[str, subprocess.Popen[bytes]]

    def var(self, name: str) -> Path:
        return self.folder / name

    def start(self, name: str) -> None:
        self.workers[name] = start_worker(self.store, self.var(name), self.desk)

    def result(self, job_id: str) -> dict[str, Any]:
        return wait_for(lambda: result_of(self.store, job_id), f"the result of {job_id}; see {self.folder}")

    def holder(self, pid: int) -> str:
        """Name of the worker to whose Ray cluster the training process `pid` belongs."""
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return next(name for name in self.workers if f"OA_VAR={self.var(name)}".encode() in environ)

    def log(self, name: str) -> str:
        return (self.var(name) / "worker.log").read_text()


@pytest.fixture(scope="module")
def fleet(s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    store = ObjectStore(f"test-{uuid.uuid4().hex[:12]}", s3_endpoint)
    store.ensure_bucket()
    publish_inputs(store)
    folder = tmp_path_factory.mktemp("fleet")
    fleet = Fleet(store, Desk(folder / "desk"), folder, {})
    fleet.start("a")
    fleet.start("b")
    yield fleet
    for process in fleet.workers.values():
        process.kill()
        process.wait()
    for name in fleet.workers:
        for pid in processes_of(fleet.var(name), agents=True):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_job_runs_all_its_stages_once_and_publishes_its_model(fleet: Fleet) -> None:
    store, spec = fleet.store, make_spec(stage(steps=6), stage("reward", steps=4), {"kind": "export"})
    job_id = enqueue(store, spec)
    result = fleet.result(job_id)
    assert (result["state"], result["error"], result["attempts"]) == ("succeeded", None, 1)
    assert [(item["name"], item["state"]) for item in result["stages"]] == [
        ("00-sft", "succeeded"), ("01-reward", "succeeded"), ("02-export", "succeeded"),
    ]  # fmt: skip
    assert result["stages"][1]["metrics"] == {"total": 10, "resumed_from": 0, "earlier": {"sft": {"total": 21}}}
    assert store.exists(layout.model_manifest("counter", result["model"]["version"]))
    wait_for(lambda: not store.exists(layout.queued(job_id)), "the queue to forget the job")
    # Two workers saw the same queue; every step was run by one process, once.
    trace = fleet.desk.trace(job_id)
    assert len({line["pid"] for line in trace}) == 1
    assert [line["step"] for line in trace] == [1, 2, 3, 4, 5, 6, 1, 2, 3, 4]
    events = merge(read_events(store, job_id))
    steps = [event["step"] for event in events if event["type"] == "progress" and event["stage"] == "00-sft"]
    assert steps == [1, 2, 3, 4, 5, 6]
    # All stages ran in one process on all cores: threads are the machine's, shared by the one rank.
    assert result["stages"][0]["info"]["threads"] == len(os.sched_getaffinity(0))


def test_a_killed_rank_is_replaced_and_a_gate_is_final(fleet: Fleet) -> None:
    """Two ranks; one is killed -9 after the checkpoint of step 4. Then a gate fails: nobody retries."""
    job_id = new_id()
    hold = fleet.desk.hold(job_id, "00-sft", 5)
    spec = make_spec(stage(steps=6), stage("reward", min_accuracy=0.9), resources={"workers": 2, "max_failures": 2})
    enqueue(fleet.store, spec, job_id)

    def both() -> list[int] | None:
        pids = [line["pid"] for line in fleet.desk.trace(job_id) if line["step"] == 5]
        return pids if len(pids) == 2 else None

    first, second = wait_for(both, "both ranks at step 5")
    os.kill(second, signal.SIGKILL)
    wait_for(lambda: fleet.desk.at(job_id, 5, after=2), "replacements at step 5")
    hold.unlink()
    result = fleet.result(job_id)
    sft = result["stages"][0]
    assert (result["state"], result["error"]["code"]) == ("failed", "GATE_FAILED")
    assert "below min_accuracy 0.9" in result["error"]["message"]
    assert (sft["state"], sft["metrics"]["total"], sft["metrics"]["resumed_from"]) == ("succeeded", 21, 4)
    assert [item["state"] for item in result["stages"]] == ["succeeded", "failed"]
    assert result["attempts"] == 1
    trace = fleet.desk.trace(job_id)
    assert {first, second}.isdisjoint(line["pid"] for line in trace if line["step"] == 6)
    assert sorted(line["step"] for line in trace if line["rank"] == 0) == [1, 2, 3, 4, 5, 5, 6]


def test_a_cancelled_job_ends_and_the_worker_goes_on(fleet: Fleet) -> None:
    job_id = new_id()
    fleet.desk.hold(job_id, "00-sft", 3)
    enqueue(fleet.store, make_spec(stage(steps=6)), job_id)
    wait_for(lambda: fleet.desk.at(job_id, 3), "step 3")
    fleet.store.put_json(layout.cancel(job_id), {})
    result = fleet.result(job_id)
    assert (result["state"], result["error"]) == ("cancelled", None)
    assert result["stages"][0]["state"] == "cancelled"
    assert not fleet.desk.at(job_id, 4)
    # Nothing of a finished job stays on the machines, however it finished.
    wait_for(lambda: not [*fleet.folder.glob(f"*/cache/jobs/{job_id}")], "the scratch folder to go")


def test_a_job_that_cannot_fit_or_is_wrong_fails_at_once(fleet: Fleet) -> None:
    cores = len(os.sched_getaffinity(0))
    large = enqueue(fleet.store, make_spec(stage(), resources={"workers": cores + 1}))
    wrong = new_id()
    fleet.store.put_json(layout.spec(wrong), {"name": "counter", "base": "tiny", "stages": []})
    fleet.store.put_json(layout.queued(wrong), {})
    lost = new_id()
    fleet.store.put_json(layout.queued(lost), {})
    errors = [fleet.result(job_id)["error"] for job_id in (large, wrong, lost)]
    assert [error["code"] for error in errors] == ["BAD_SPEC", "BAD_SPEC", "NOT_FOUND"]
    assert f"the cluster has {cores}" in errors[0]["message"]
    assert "stages" in errors[1]["message"]


def test_a_job_outlives_its_workers(fleet: Fleet) -> None:
    """SIGTERM hands the job over at once, kill -9 when the claim is stale; each time from a checkpoint."""
    store, desk, job_id = fleet.store, fleet.desk, new_id()
    holds = [desk.hold(job_id, "00-sft", step) for step in (3, 5)]
    enqueue(store, make_spec(stage(steps=6)), job_id)

    first = fleet.holder(wait_for(lambda: desk.at(job_id, 3, attempt=1), "attempt 1 at step 3")["pid"])
    other = {"a": "b", "b": "a"}[first]
    fleet.workers[first].send_signal(signal.SIGTERM)
    assert fleet.workers[first].wait(60) == 0
    assert store.get_json(layout.heartbeat(job_id, 1))["released"] is True
    wait_for(lambda: not processes_of(fleet.var(first)), "its Ray to be gone")

    holds[0].unlink()
    taken = wait_for(lambda: desk.at(job_id, 5, attempt=2), "attempt 2 at step 5")
    assert fleet.holder(taken["pid"]) == other
    fleet.start(first)
    wait_for(lambda: "Ray is ready" in fleet.log(first).rpartition("released")[2], "a worker to take over")
    fleet.workers[other].kill()
    wait_for(lambda: not processes_of(fleet.var(other)), "the training processes to die with their worker")

    holds[1].unlink()
    result = fleet.result(job_id)
    assert (result["state"], result["attempts"]) == ("succeeded", 3)
    assert result["stages"][0]["metrics"] == {"total": 21, "resumed_from": 4, "earlier": {}}
    steps = {
        attempt: [line["step"] for line in desk.trace(job_id) if line["attempt"] == attempt] for attempt in (1, 2, 3)
    }
    assert steps == {1: [1, 2, 3], 2: [3, 4, 5], 3: [5, 6]}
    merged = [event for event in merge(read_events(store, job_id)) if event["type"] == "progress"]
    assert [event["step"] for event in sorted(merged, key=lambda event: event["step"])] == [1, 2, 3, 4, 5, 6]


def test_a_worker_without_its_bucket_says_so(s3_endpoint: str, tmp_path: Path) -> None:
    store = ObjectStore("no-such-bucket", s3_endpoint)
    process = start_worker(store, tmp_path / "var", Desk(tmp_path / "desk"), "--once")
    assert process.wait(60) == 1
    assert "error BUCKET_MISSING: bucket 'no-such-bucket'" in (tmp_path / "var" / "worker.log").read_text()
    with pytest.raises(OaError):
        store.check_bucket()
