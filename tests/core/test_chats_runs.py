"""Jobs as the API sees them, over real stores; the worker's side is written as the seam says."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from core import job_objects, layout
from core.errors import BadInput, Conflict, NotFound
from core.ids import new_id
from core.job_records import Job, JobEvent
from core.jobspec import parse_spec
from core.objects import ObjectStore
from core.runs import Runs

STAGE = "00-sft"
SNAPSHOT = {"name": "threads", "version": "abc"}


def spec_of(name: str = "assistant", **stage: Any) -> dict[str, Any]:
    return {"name": name, "base": "tiny", "stages": [{"kind": "sft", "dataset": SNAPSHOT, **stage}, {"kind": "export"}]}


def tell(store: ObjectStore, job_id: str, stage: str, attempt: int, seq: int, *events: dict[str, Any]) -> None:
    """Write one batch of events as a worker does."""
    about = {"job_id": job_id, "attempt": attempt, "stage": stage}
    lines = [
        orjson.dumps({"type": "progress", "ts": f"2026-01-01T00:00:{seq:02d}", **about, **event}) for event in events
    ]
    store.put(layout.event_batch(job_id, stage, attempt, seq), b"\n".join(lines) + b"\n")


def end(store: ObjectStore, job_id: str, state: str = "succeeded", **about: Any) -> None:
    stages = [{"name": STAGE, "kind": "sft", "state": "succeeded", "seconds": 1.0, "metrics": {"loss": 1}, "info": {}}]
    result = {"job_id": job_id, "state": state, "started_at": "2026-01-01T00:00:00Z", "attempts": 1, "stages": stages,
              "finished_at": "2026-01-01T00:01:00Z", "error": None, "model": None}  # fmt: skip
    store.put_json(layout.result(job_id), {**result, **about})
    store.delete(layout.queued(job_id))


@pytest.fixture
def runs(database: Any, store: ObjectStore) -> Runs:
    store.put_json(layout.dataset_manifest(**SNAPSHOT), {})
    return Runs(database, store)


async def said(runs: Runs, job_id: str, after: str | None = None) -> tuple[list[JobEvent], Job]:
    async with asyncio.timeout(20):
        told = [event async for event in runs.events(job_id, after)]
    assert isinstance(told[-1], Job)
    return [event for event in told if isinstance(event, JobEvent)], told[-1]


async def test_a_launched_job_is_queued_where_workers_look(runs: Runs) -> None:
    job = await runs.launch(spec_of(), by="root")
    assert (job.state, job.name, job.by) == ("queued", "assistant", "root")
    spec = parse_spec(runs.store.get_json(layout.spec(job.id)))
    assert spec.sha256() == job.spec_sha256
    assert runs.store.get_json(layout.queued(job.id))["by"] == "root"
    entry = await runs.database.events.find_one({"subject": job.id})
    assert entry is not None
    assert (entry["kind"], entry["by"]) == ("launch_job", "root")


async def test_one_key_makes_one_job(runs: Runs) -> None:
    made = await asyncio.gather(*(runs.launch(spec_of(), by="root", idempotency_key="k") for _ in range(4)))
    assert len({job.id for job in made}) == 1
    with pytest.raises(Conflict):
        await runs.launch(spec_of("other"), by="root", idempotency_key="k")
    assert (await runs.launch(spec_of("other"), by="else", idempotency_key="k")).id != made[0].id
    assert len(await runs.page()) == 2


async def test_repeating_the_launch_of_a_finished_job_does_not_queue_it_again(runs: Runs) -> None:
    job = await runs.launch(spec_of(), by="root", idempotency_key="k")
    end(runs.store, job.id)
    assert (await runs.launch(spec_of(), by="root", idempotency_key="k")).state == "succeeded"
    assert not runs.store.exists(layout.queued(job.id))


async def test_a_snapshot_must_exist(runs: Runs) -> None:
    with pytest.raises(NotFound, match=r"'sft' names snapshot 'gone' of version 'abc'") as refusal:
        await runs.launch(spec_of(dataset={"name": "gone", "version": "abc"}), by="root")
    assert refusal.value.path == ("stages", "0", "dataset")
    assert [item.key for item in runs.store.list("queue/")] == []


@pytest.mark.parametrize("spec", [None, {}, {**spec_of(), "stages": []}, spec_of(batch_size=0), {**spec_of(), "x": 1}])
async def test_a_wrong_spec_is_refused(runs: Runs, spec: Any) -> None:
    with pytest.raises(BadInput) as refusal:
        await runs.launch(spec, by="root")
    assert refusal.value.code == "BAD_SPEC"


async def test_a_key_of_wrong_length_is_refused(runs: Runs) -> None:
    for key in ("", "x" * 201):
        with pytest.raises(BadInput, match="idempotency_key"):
            await runs.launch(spec_of(), by="root", idempotency_key=key)


async def test_cancel_asks_the_holder(runs: Runs) -> None:
    job = await runs.launch(spec_of(), by="root")
    assert (await runs.cancel(job.id, by="root")).cancel_requested
    assert runs.store.exists(layout.cancel(job.id))
    end(runs.store, job.id, "cancelled")
    assert (await runs.cancel(job.id, by="root")).state == "cancelled"
    with pytest.raises(NotFound, match="no job 'nowhere'"):
        await runs.cancel("nowhere", by="root")


async def test_progress_and_result_are_mirrored(runs: Runs) -> None:
    job = await runs.launch(spec_of(), by="root")
    runs.store.put_json(layout.claim(job.id, 1), {})
    tell(runs.store, job.id, STAGE, 1, 0, {"step": 1, "total": 9, "metrics": {"loss": 2.0}}, {"step": 2, "total": 9})
    assert await runs.mirror_once() == 1
    seen = (await runs.page())[0]
    assert (seen.state, seen.stage, seen.step, seen.total, seen.attempts) == ("running", STAGE, 2, 9, 1)
    end(runs.store, job.id, "failed", error={"code": "GATE_FAILED", "message": "no"}, model=None)
    await runs.mirror_once()
    ended = (await runs.page())[0]
    assert (ended.state, ended.error) == ("failed", {"code": "GATE_FAILED", "message": "no"})
    assert [stage["kind"] for stage in ended.stages] == ["sft"]
    assert await runs.mirror_once() == 0


async def test_jobs_launched_elsewhere_are_found(runs: Runs) -> None:
    queued, finished = new_id(), new_id()
    for job_id in (queued, finished):
        job_objects.submit(runs.store, parse_spec(spec_of()), job_id, by=None)
        tell(runs.store, job_id, STAGE, 1, 0, {"step": 1})
    end(runs.store, finished)
    runs.store.put_json(layout.spec("broken"), {"no": "spec"})
    await runs.mirror_once(everything=True)
    assert {job.id: job.state for job in await runs.page()} == {queued: "queued", finished: "succeeded"}
    with pytest.raises(NotFound):
        await runs.get("nowhere")


async def test_pages_run_from_new_to_old(runs: Runs) -> None:
    made = [(await runs.launch(spec_of(), by="root")).id for _ in range(5)]
    seen: list[Job] = []
    while page := await runs.page(first=2, after=seen[-1].by_time if seen else None):
        seen += page
    assert [job.id for job in seen] == made[::-1]


async def test_a_follower_sees_all_and_ends_with_the_result(runs: Runs) -> None:
    job = await runs.launch(spec_of(), by="root")
    following = asyncio.create_task(said(runs, job.id))
    for seq in range(4):
        tell(runs.store, job.id, STAGE, 1, seq, {"step": 2 * seq}, {"step": 2 * seq + 1})
        await runs.mirror_once()
    tell(runs.store, job.id, "job", 1, 9, {"type": "state", "state": "succeeded"})
    end(runs.store, job.id)
    events, last = await following
    assert [event.body["step"] for event in events if event.type == "progress"] == list(range(8))
    assert [event.type for event in events][-1] == "state"
    assert (last.id, last.state) == (job.id, "succeeded")


async def test_following_goes_on_behind_any_cursor(runs: Runs) -> None:
    job = await runs.launch(spec_of(), by="root")
    for seq in range(3):
        tell(runs.store, job.id, STAGE, 1, seq, *({"step": 3 * seq + index} for index in range(3)))
        tell(runs.store, job.id, "01-export", 1, seq, {"type": "log", "message": str(seq)})
    end(runs.store, job.id)
    events, _ = await said(runs, job.id)
    assert len(events) == 12
    for place in (0, 4, 5, 10, 11):
        rest, _ = await said(runs, job.id, events[place].cursor)
        assert [each.body for each in rest] == [each.body for each in events[place + 1 :]]


async def test_of_a_step_told_twice_the_highest_attempt_counts(runs: Runs) -> None:
    job = await runs.launch(spec_of(), by="root")
    tell(runs.store, job.id, STAGE, 1, 0, {"step": 1, "metrics": {"loss": 9}}, {"step": 2, "metrics": {"loss": 8}})
    tell(runs.store, job.id, STAGE, 2, 0, {"step": 2, "metrics": {"loss": 7}}, {"step": 3, "metrics": {"loss": 6}})
    end(runs.store, job.id)
    events, _ = await said(runs, job.id)
    assert [(event.body["step"], event.attempt, event.body["metrics"]["loss"]) for event in events] == [
        (1, 1, 9), (2, 2, 7), (3, 2, 6),
    ]  # fmt: skip
    tell(runs.store, job.id, STAGE, 1, 1, {"step": 3, "metrics": {"loss": 99}})  # a holder that does not know yet
    assert (await said(runs, job.id, events[-1].cursor))[0] == []


async def test_a_broken_line_is_passed_over(runs: Runs) -> None:
    job = await runs.launch(spec_of(), by="root")
    runs.store.put(layout.event_batch(job.id, STAGE, 1, 0), b'{"type": "log", "ts": "1"}\n{"half\n[1]\n')
    end(runs.store, job.id)
    assert [event.type for event in (await said(runs, job.id))[0]] == ["log"]


@pytest.mark.parametrize("cursor", ["x", "00-sft", "00-sft=1", "00-sft=1-x.0", "=1-1.1", ";"])
async def test_a_malformed_cursor_is_refused(runs: Runs, cursor: str) -> None:
    job = await runs.launch(spec_of(), by="root")
    with pytest.raises(BadInput, match="cursor"):
        await said(runs, job.id, cursor)
