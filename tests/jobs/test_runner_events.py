"""Events on the real object store: batches, order, what a resume repeats."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from runner_kit import wait_for

from core import layout
from core.ids import new_id
from core.objects import ObjectStore
from jobs.events import StoreReporter, merge, read_events


def test_everything_said_is_read_back_in_order(store: ObjectStore) -> None:
    job_id = new_id()
    with StoreReporter(store, job_id, "00-sft", 1, lines=10) as report:
        report.state("running")
        for step in range(1, 36):
            report.progress(step, 35, loss=1.0 / step)
        report.metric("eval_loss", 2.5, split="validation")
        report.sample("Hello?", "Yes.", step=35)
        report.checkpoint(35)
        report.log("done")
    events = list(read_events(store, job_id))
    assert [event["type"] for event in events] == ["state", *["progress"] * 35, "metric", "sample", "checkpoint", "log"]
    assert events[2] | {"ts": ""} == {
        "ts": "", "job_id": job_id, "attempt": 1, "stage": "00-sft", "type": "progress", "step": 2, "total": 35,
        "metrics": {"loss": 0.5},
    }  # fmt: skip
    assert events[36]["metrics"] == {"eval_loss": 2.5}


def test_a_replaced_process_goes_on_after_the_batches_of_its_forerunner(store: ObjectStore) -> None:
    job_id = new_id()
    for message in ("first", "second"):
        with StoreReporter(store, job_id, "00-sft", 1) as report:
            report.log(message)
    assert [event["message"] for event in read_events(store, job_id)] == ["first", "second"]


def test_a_follower_reads_each_batch_once(store: ObjectStore) -> None:
    job_id, seen = new_id(), set[str]()
    with StoreReporter(store, job_id, "00-sft", 1, every=0.05) as report:
        report.log("early")
        wait_for(lambda: list(store.list(layout.events(job_id))), "a batch before the end")
        assert [event["message"] for event in read_events(store, job_id, seen=seen)] == ["early"]
        report.log("late")
    assert [event["message"] for event in read_events(store, job_id, seen=seen)] == ["late"]


def test_a_store_that_is_away_costs_nothing_until_it_is_back(store: ObjectStore) -> None:
    job_id = new_id()
    report = StoreReporter(store, job_id, "00-sft", 1, every=0.05)
    there, store.bucket = store.bucket, "not-there"
    report.log("said while away")
    report.progress(1, 2)
    store.bucket = there
    report.close()
    assert [event["type"] for event in read_events(store, job_id)] == ["log", "progress"]


def progress(attempt: int, step: int, ts: int) -> dict[str, object]:
    return {"type": "progress", "stage": "00-sft", "attempt": attempt, "step": step, "ts": f"{ts:06d}"}


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4))
def test_merged_each_step_appears_once_from_the_attempt_that_ran_it_last(stops: list[int]) -> None:
    """Attempt n runs from wherever the one before may have saved (anywhere up to its end) to `stops[n]`."""
    events, ts = [], 0
    for attempt, stop in enumerate(stops, start=1):
        for step in range(1, stop + 1):
            ts += 1
            events.append(progress(attempt, step, ts))
    merged = merge(events)
    assert sorted(event["step"] for event in merged) == list(range(1, max(stops) + 1))
    for event in merged:
        ran = [attempt for attempt, stop in enumerate(stops, start=1) if event["step"] <= stop]
        assert event["attempt"] == max(ran)


def test_merged_states_and_logs_are_all_kept() -> None:
    log = {"type": "log", "stage": "00-sft", "attempt": 1, "ts": "1", "message": "x"}
    assert merge([log, dict(log)]) == [log, log]
