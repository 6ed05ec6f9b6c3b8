"""A walk through a job's stages in this process, without Ray: what is skipped, resumed, refused, kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import counting_stages
import pytest
from runner_kit import Desk, make_spec, publish_inputs, stage

from core import layout
from core.errors import OaError, Unavailable
from core.ids import new_id
from core.jobspec import JobSpec
from core.objects import ObjectStore
from jobs.claims import Claimant
from jobs.context import StageContext, StageResult, World
from jobs.outcomes import is_final, read_outcome, read_success
from jobs.walk import Alone, Lazy, Run, load_stages, walk
from jobs.worker import make_result

Starter = Callable[[str, JobSpec], dict[str, Any] | None]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("OA_TEST_DESK", str(tmp_path / "desk"))
    return Desk(tmp_path / "desk")


@pytest.fixture
def start(store: ObjectStore, desk: Desk, tmp_path: Path) -> Starter:
    """Claims and walks a job in this process, as a new worker on a machine of its own; gives the outcome."""
    publish_inputs(store)

    def run(job_id: str, spec: JobSpec) -> dict[str, Any] | None:
        attempt = _take(store, job_id)
        cache = tmp_path / f"machine-{attempt}"
        walk(Run(store, job_id, attempt, spec, cache, "counting_stages:STAGES"), World(), Alone())
        return read_outcome(store, job_id, attempt)

    return run


def _take(store: ObjectStore, job_id: str) -> int:
    attempt = Claimant(store).try_claim(job_id)
    assert attempt is not None
    store.put_json(layout.heartbeat(job_id, attempt), {"counter": 1, "released": False})
    return attempt


def _let_go(store: ObjectStore, job_id: str, attempt: int) -> None:
    store.put_json(layout.heartbeat(job_id, attempt), {"counter": 2, "released": True})


def test_stages_run_in_order_and_leave_their_output(store: ObjectStore, start: Starter) -> None:
    job_id, spec = new_id(), make_spec(stage(steps=4), stage("reward", steps=3), {"kind": "export"})
    outcome = start(job_id, spec)
    assert outcome is not None
    assert (outcome["state"], outcome["error"]) == ("succeeded", None)
    sft, reward, export = (read_success(store, job_id, name) or {} for name in spec.stage_names())
    assert sft["metrics"] == {"total": 10, "resumed_from": 0, "earlier": {}}
    assert sft["info"] == {"threads": 1}
    assert reward["metrics"]["earlier"] == {"sft": {"total": 10}}
    assert store.get_json(sft["output"] + "sum.json") == {"total": 10}
    assert export["model"] == {"name": "counter", "version": export["key"][:12]}
    made = store.get_json(layout.model_manifest("counter", export["key"][:12]))
    assert made["job_id"] == job_id
    assert made["datasets"][0]["content_hash"] == store.get_json(layout.dataset_manifest("talk", "v1"))["content_hash"]
    assert {file["path"] for file in made["files"]} == {"hf/sum.json"}
    assert not list(store.list(f"jobs/{job_id}/checkpoints/"))


def test_finished_stages_are_skipped_and_their_output_is_fetched_elsewhere(
    store: ObjectStore, start: Starter, desk: Desk
) -> None:
    job_id, spec = new_id(), make_spec(stage(steps=4), stage("reward", steps=3))
    start(job_id, spec)
    store.delete(layout.stage_success(job_id, "01-reward"))
    _let_go(store, job_id, 1)
    start(job_id, spec)
    assert {line["stage"] for line in desk.trace(job_id) if line["attempt"] == 2} == {"01-reward"}
    assert (read_success(store, job_id, "01-reward") or {})["metrics"]["earlier"] == {"sft": {"total": 10}}


def test_a_job_that_is_done_touches_nothing_again(store: ObjectStore, start: Starter, tmp_path: Path) -> None:
    job_id, spec = new_id(), make_spec(stage(steps=4), {"kind": "export"})
    start(job_id, spec)
    _let_go(store, job_id, 1)
    start(job_id, spec)
    assert not (tmp_path / "machine-2" / "models").exists()


def test_what_broke_off_goes_on_from_its_checkpoint(
    store: ObjectStore, start: Starter, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, spec = new_id(), make_spec(stage(steps=6))
    real = counting_stages.trace

    def break_off(context: StageContext, step: int) -> None:
        real(context, step)
        if step == 6 and context.attempt == 1:
            raise ConnectionError("the network went away")

    monkeypatch.setattr(counting_stages, "trace", break_off)
    with pytest.raises(ConnectionError, match="network"):
        start(job_id, spec)
    assert read_outcome(store, job_id, 1) is None
    _let_go(store, job_id, 1)
    start(job_id, spec)
    assert [line["step"] for line in desk.trace(job_id)] == [1, 2, 3, 4, 5, 6, 5, 6]
    assert (read_success(store, job_id, "00-sft") or {})["metrics"] == {"total": 21, "resumed_from": 4, "earlier": {}}


def test_other_settings_under_a_finished_stage_are_refused(store: ObjectStore, start: Starter) -> None:
    job_id = new_id()
    start(job_id, make_spec(stage(steps=4)))
    _let_go(store, job_id, 1)
    outcome = start(job_id, make_spec(stage(steps=5)))
    assert outcome is not None
    assert outcome["error"]["code"] == "STAGE_CHANGED"


def test_other_data_under_a_finished_stage_are_refused(store: ObjectStore, start: Starter) -> None:
    job_id, spec = new_id(), make_spec(stage(steps=4))
    start(job_id, spec)
    _let_go(store, job_id, 1)
    publish_inputs(store, rows="other")
    outcome = start(job_id, spec)
    assert outcome is not None
    assert (outcome["error"]["code"], outcome["stage"]) == ("STAGE_CHANGED", "00-sft")


@pytest.mark.parametrize(
    ("bad", "code", "says"),
    [
        (stage("reward", min_accuracy=0.9), "GATE_FAILED", "below min_accuracy 0.9"),
        ({**stage("sft"), "dataset": {"name": "gone", "version": "v9"}}, "NOT_FOUND", "gone/v9"),
    ],
)
def test_what_trying_again_cannot_cure_is_the_outcome(
    start: Starter, bad: dict[str, Any], code: str, says: str
) -> None:
    outcome = start(new_id(), make_spec(bad))
    assert outcome is not None
    assert (outcome["state"], outcome["error"]["code"]) == ("failed", code)
    assert says in outcome["error"]["message"]


def test_a_defect_names_its_stage_and_leaves_its_traceback_in_the_log(store: ObjectStore, start: Starter) -> None:
    job_id = new_id()
    evaluate = {"kind": "evaluate", "dataset": {"name": "talk", "version": "v1"}}
    outcome = start(job_id, make_spec(stage("reward", steps=2), evaluate))
    assert outcome is not None
    assert (outcome["error"]["code"], outcome["stage"]) == ("STAGE_FAILED", "01-evaluate")
    assert "KeyError: 'no such column'" in outcome["error"]["message"]
    said = b"".join(store.get(item.key) for item in store.list(layout.events(job_id, "01-evaluate")))
    assert b"Traceback" in said


def test_a_cancelled_job_ends_cancelled_before_and_within_a_stage(
    store: ObjectStore, start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late = new_id(), new_id()
    store.put_json(layout.cancel(early), {})
    real = counting_stages.trace

    def cancel_at_three(context: StageContext, step: int) -> None:
        real(context, step)
        if step == 3:
            store.put_json(layout.cancel(late), {})
            context.check_stop.__self__._looked = float("-inf")  # type: ignore[attr-defined] # look now, not in a second

    monkeypatch.setattr(counting_stages, "trace", cancel_at_three)
    for job_id in (early, late):
        outcome = start(job_id, make_spec(stage(steps=6)))
        assert outcome is not None
        assert (outcome["state"], outcome["error"]) == ("cancelled", None)
    assert read_success(store, late, "00-sft") is None


def test_who_lost_the_claim_leaves_no_mark(store: ObjectStore, start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = new_id()
    real = counting_stages.trace

    def overtake(context: StageContext, step: int) -> None:
        real(context, step)
        if step == 4:
            store.put_json(layout.claim(job_id, 2), {})

    monkeypatch.setattr(counting_stages, "trace", overtake)
    assert start(job_id, make_spec(stage(steps=4))) is None
    assert read_success(store, job_id, "00-sft") is None
    assert not list(store.list(f"jobs/{job_id}/stages/"))


def test_a_published_version_is_never_written_over(
    store: ObjectStore, start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, spec = new_id(), make_spec(stage(steps=2), {"kind": "export"})
    start(job_id, spec)
    version = (read_success(store, job_id, "01-export") or {})["key"][:12]
    before = store.get(layout.model_manifest("counter", version))
    store.delete(layout.stage_success(job_id, "01-export"))
    _let_go(store, job_id, 1)

    def other(context: StageContext, config: Any) -> StageResult:
        (context.workdir / "out").mkdir()
        (context.workdir / "out" / "other").write_text("other")
        return StageResult(context.workdir / "out")

    monkeypatch.setitem(counting_stages.STAGES, "export", other)
    start(job_id, spec)
    assert store.get(layout.model_manifest("counter", version)) == before
    assert read_success(store, job_id, "01-export") is not None


def test_two_jobs_of_one_spec_publish_two_versions(store: ObjectStore, start: Starter) -> None:
    spec, ids = make_spec(stage(steps=2), {"kind": "export"}), [new_id(), new_id()]
    for job_id in ids:
        start(job_id, spec)
    keys = [[(read_success(store, job_id, name) or {})["key"] for name in spec.stage_names()] for job_id in ids]
    assert keys[0][0] == keys[1][0]
    assert keys[0][1] != keys[1][1]


def test_of_several_ranks_only_the_first_writes(store: ObjectStore, desk: Desk, tmp_path: Path) -> None:
    publish_inputs(store)
    job_id, spec = new_id(), make_spec(stage(steps=2))
    attempt = _take(store, job_id)
    run = Run(store, job_id, attempt, spec, tmp_path / "cache", "counting_stages:STAGES")
    # Without a first rank the stage is never done, and this one must not pretend that it is.
    with pytest.raises(OaError, match="00-sft"):
        walk(run, World(rank=1, size=2), Alone())
    assert [line["rank"] for line in desk.trace(job_id)] == [1, 1]
    assert not list(store.list(layout.events(job_id)))
    walk(replace(run, attempt=attempt), World(rank=0, size=2), Alone())
    assert read_success(store, job_id, "00-sft") is None, "the error of a rank is the outcome of its attempt"


def test_which_errors_are_final() -> None:
    assert is_final(OaError("x", code="GATE_FAILED"), 8)
    assert not is_final(Unavailable("x"), 1)
    assert is_final(ValueError("x"), 1)
    assert not is_final(RuntimeError("connection closed by peer"), 2)
    assert not is_final(ConnectionResetError("x"), 1)
    assert is_final(FileNotFoundError("x"), 1)


@pytest.mark.parametrize("path", ["nowhere:STAGES", "jobs.walk:NOTHING", "jobs.walk", ""])
def test_a_wrong_table_of_stages_is_named(path: str) -> None:
    with pytest.raises(OaError, match="module:ATTRIBUTE"):
        load_stages(path)


def test_lazy_values_are_brought_once_and_only_when_asked_for() -> None:
    asked: list[str] = []
    values = Lazy({"a": 1, "b": 2}, lambda name: asked.append(name) or name.upper())
    assert (list(values), len(values), "a" in values) == (["a", "b"], 2, True)
    assert [values["b"], values["b"], values.get("c")] == ["B", "B", None]
    assert asked.count("b") == 1


def test_a_result_names_the_stage_in_which_ranks_were_lost(store: ObjectStore, start: Starter) -> None:
    job_id, spec = new_id(), make_spec(stage(steps=2), stage("reward", steps=2))
    store.put_json(layout.spec(job_id), spec.model_dump(mode="json"))
    start(job_id, spec)
    store.delete(layout.stage_success(job_id, "01-reward"))
    lost = {"state": "failed", "error": {"code": "STAGE_FAILED", "message": "rank 0: gone"}, "stage": None}
    result = make_result(store, job_id, 1, lost)
    assert [item["state"] for item in result["stages"]] == ["succeeded", "failed"]
    assert result["started_at"] is not None
    refused = {"state": "failed", "error": {"code": "BAD_SPEC", "message": "too large"}, "stage": None}
    assert make_result(store, job_id, 1, refused)["stages"][1]["state"] == "not_run"
