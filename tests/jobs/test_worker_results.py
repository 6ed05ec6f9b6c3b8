"""What a worker decides before it needs Ray: jobs that were cancelled, cannot be read, or lost too many workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from runner_kit import enqueue, make_spec, publish_inputs, result_of, stage

from core import layout
from core.ids import new_id
from core.objects import ObjectStore
from jobs.claims import Claimant
from jobs.driver import Setup
from jobs.events import read_events
from jobs.worker import Worker, queued_jobs


@pytest.fixture
def worker(store: ObjectStore, tmp_path: Path) -> Worker:
    publish_inputs(store)
    return Worker(Setup(store.bucket, store.endpoint, store.region, str(tmp_path)))


def test_a_job_cancelled_in_the_queue_never_starts(worker: Worker, store: ObjectStore, tmp_path: Path) -> None:
    job_id = enqueue(store, make_spec(stage(), stage("reward")))
    store.put_json(layout.cancel(job_id), {})
    scratch = tmp_path / "cache" / "jobs" / job_id / "00-sft"
    scratch.mkdir(parents=True)
    assert worker.run_next()
    result = result_of(store, job_id) or {}
    assert (result["state"], result["error"], result["model"]) == ("cancelled", None, None)
    assert [item["state"] for item in result["stages"]] == ["not_run", "not_run"]
    assert [event["state"] for event in read_events(store, job_id)] == ["cancelled"]
    assert queued_jobs(store) == []
    assert not scratch.exists()
    assert worker.driver.dashboard == ""
    assert not worker.run_next()


def test_a_job_that_kills_its_workers_is_given_up(worker: Worker, store: ObjectStore) -> None:
    job_id = enqueue(store, make_spec(stage(), resources={"max_failures": 1}))
    for attempt, beat in ((1, {"released": True, "lost": True}), (2, {"released": True, "lost": True})):
        store.put_json(layout.claim(job_id, attempt), {"at": "2026-01-01T00:00:00Z"})
        store.put_json(layout.heartbeat(job_id, attempt), {"counter": 9, **beat})
    assert worker.run_next()
    result = result_of(store, job_id) or {}
    assert (result["state"], result["attempts"], result["error"]["code"]) == ("failed", 3, "STAGE_FAILED")
    assert "lost 2 times; resources.max_failures allows 1" in result["error"]["message"]


@pytest.mark.parametrize("held", [True, False])
def test_a_job_of_another_worker_is_let_alone_and_a_finished_one_forgotten(
    worker: Worker, store: ObjectStore, held: bool
) -> None:
    job_id = enqueue(store, make_spec(stage()))
    if held:
        assert Claimant(store).try_claim(job_id) == 1
    else:
        store.put_json(layout.result(job_id), {"state": "succeeded"})
    assert not worker.run_next()
    assert queued_jobs(store) == ([job_id] if held else [])
    assert not store.exists(layout.claim(job_id, 2 if held else 1))


def test_a_job_without_a_spec_gets_a_result_that_says_so(worker: Worker, store: ObjectStore) -> None:
    job_id = new_id()
    store.put_json(layout.queued(job_id), {})
    assert worker.run_next()
    result = result_of(store, job_id) or {}
    assert (result["error"]["code"], result["stages"]) == ("NOT_FOUND", [])
