"""Jobs from outside: launching, looking, following, cancelling; the `oa jobs` commands on the real object store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runner_kit import make_spec, publish_inputs, stage

from core import layout
from core.errors import BadInput, Conflict, NotFound, OaError
from core.job_records import JOB
from core.objects import ObjectStore
from jobs import control
from jobs.claims import Claimant
from jobs.driver import Setup
from jobs.events import StoreReporter

CONFIGS = Path(__file__).resolve().parents[2] / "jobs" / "configs"
Oa = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def inputs(store: ObjectStore) -> ObjectStore:
    publish_inputs(store)
    return store


@pytest.fixture
def oa(inputs: ObjectStore, tmp_path: Path) -> Oa:
    """The command line as a user runs it."""

    def run(*arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("OA_")}
        environ |= {"OA_S3_BUCKET": inputs.bucket, "OA_S3_ENDPOINT": inputs.endpoint or "", "OA_VAR": str(tmp_path)}
        command = [sys.executable, "-m", "oa", "jobs", *arguments]
        return subprocess.run(command, input=stdin, env=environ | settings, capture_output=True, text=True, check=False)

    return run


def spec_json(**other: Any) -> dict[str, Any]:
    return make_spec(stage(), stage("reward"), **other).model_dump(mode="json")


def finish(store: ObjectStore, job_id: str, **other: Any) -> None:
    result = {"job_id": job_id, "state": "succeeded", "stages": [], "error": None, "model": None, **other}
    store.put_json(layout.result(job_id), result)


def test_launching_writes_the_spec_then_the_queue(inputs: ObjectStore) -> None:
    job_id = control.launch(inputs, spec_json())
    assert inputs.get_json(layout.spec(job_id)) == spec_json()
    assert inputs.exists(layout.queued(job_id))
    view = control.show(inputs, job_id)
    assert (view.state, view.name, view.stages) == (
        "queued", "counter", (("00-sft", "waiting"), ("01-reward", "waiting")),
    )  # fmt: skip


def test_launching_twice_under_one_id_makes_one_job(inputs: ObjectStore) -> None:
    assert control.launch(inputs, spec_json(), job_id="mine") == "mine"
    assert control.launch(inputs, spec_json(), job_id="mine") == "mine"
    with pytest.raises(Conflict, match="another specification"):
        control.launch(inputs, spec_json(seed=2), job_id="mine")
    finish(inputs, "mine")
    inputs.delete(layout.queued("mine"))
    control.launch(inputs, spec_json(), job_id="mine")
    assert not inputs.exists(layout.queued("mine")), "a finished job is not queued again"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "name: Field required"),
        (spec_json(base="models/none/v1"), "base: object 'models/none/v1/manifest.json' does not exist"),
        ({**spec_json(), "stages": [stage(steps=0)]}, "stages.0.sft.max_steps"),
        ({**spec_json(), "stages": [{"kind": "brew"}]}, "stages.0: Input tag 'brew'"),
    ],
)
def test_a_wrong_spec_is_refused_with_its_field(inputs: ObjectStore, spec: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says.split()[0]) as caught:
        control.launch(inputs, spec)
    assert caught.value.code == "BAD_SPEC"
    assert says in caught.value.message
    assert "after validation" not in caught.value.message, "one cause is said once"
    assert not list(inputs.list("queue/"))


def test_a_snapshot_that_is_not_there_is_named(inputs: ObjectStore) -> None:
    with pytest.raises(NotFound, match="'gone'") as caught:
        control.launch(inputs, {**spec_json(), "stages": [stage(dataset={"name": "gone", "version": "v1"})]})
    assert caught.value.path == ("stages", "0", "dataset")
    assert not list(inputs.list("queue/"))


def freeze(store: ObjectStore, version: str, created_at: str) -> None:
    about = {"name": "talk", "version": version, "created_at": created_at}
    store.put_json(layout.dataset_manifest("talk", version), about)


def latest(**other: Any) -> dict[str, Any]:
    dataset = {"name": "talk", "version": "latest"}
    stages = [stage(dataset=dataset, steps=1), stage("reward", dataset=dataset), {"kind": "export"}]
    return {**spec_json(**other), "stages": stages}


def versions(store: ObjectStore, job_id: str) -> list[str]:
    return [each["dataset"]["version"] for each in store.get_json(layout.spec(job_id))["stages"] if "dataset" in each]


def test_latest_becomes_the_newest_version_and_stays_it(store: ObjectStore) -> None:
    store.put_json(layout.model_manifest("start", "v1"), {"content_hash": "x"})
    freeze(store, "b", "2026-01-02T00:00:00Z")
    freeze(store, "z", "2026-01-01T00:00:00Z")
    job_id = control.launch(store, latest(), job_id="mine")
    assert versions(store, job_id) == ["b", "b"]
    freeze(store, "a", "2026-01-03T00:00:00Z")
    assert control.launch(store, latest(), job_id="mine") == "mine", "asked for again it is the same job"
    assert versions(store, job_id) == ["b", "b"]
    assert versions(store, control.launch(store, latest())) == ["a", "a"]
    with pytest.raises(Conflict, match="another specification"):
        control.launch(store, latest(seed=2), job_id="mine")


def test_latest_of_nothing_is_named(inputs: ObjectStore) -> None:
    wanted = {"name": "gone", "version": "latest"}
    with pytest.raises(NotFound, match="stage 1 names the latest snapshot 'gone', and there is none") as caught:
        control.launch(inputs, {**spec_json(), "stages": [stage(), stage("reward", dataset=wanted)]})
    assert caught.value.path == ("stages", "1", "dataset")
    assert not list(inputs.list("jobs/"))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_the_recipes_launch_as_they_are(store: ObjectStore, path: Path) -> None:
    with pytest.raises(NotFound, match="oa snapshot freeze"):
        control.launch(store, json.loads(path.read_text()))
    for name in ("threads", "pairs", "prompts"):
        about = {"name": name, "version": "v1", "created_at": "2026-01-01T00:00:00Z"}
        store.put_json(layout.dataset_manifest(name, "v1"), about)
    assert set(versions(store, control.launch(store, json.loads(path.read_text())))) == {"v1"}


def test_a_job_that_runs_shows_how_far_it_is(inputs: ObjectStore) -> None:
    job_id = control.launch(inputs, spec_json())
    Claimant(inputs).try_claim(job_id)
    inputs.put_json(layout.stage_success(job_id, "00-sft"), {})
    view = control.show(inputs, job_id)
    assert (view.state, view.attempts) == ("running", 1)
    assert view.stages == (("00-sft", "succeeded"), ("01-reward", "running"))


def test_jobs_are_listed_newest_first(inputs: ObjectStore) -> None:
    ids = [control.launch(inputs, spec_json()) for _ in range(3)]
    assert [view.id for view in control.list_jobs(inputs)] == ids[::-1]


def test_following_ends_with_the_result_and_misses_nothing(inputs: ObjectStore) -> None:
    job_id = control.launch(inputs, spec_json())
    looks: list[float] = []

    def meanwhile(seconds: float) -> None:
        looks.append(seconds)
        with StoreReporter(inputs, job_id, JOB, 1) as report:
            report.log(f"look {len(looks)}")
        if len(looks) == 3:
            finish(inputs, job_id)

    said = [event["message"] for event in control.follow(inputs, job_id, sleep=meanwhile)]
    assert said == ["look 1", "look 2", "look 3"]


def test_cancelling_asks_once_and_not_after_the_end(inputs: ObjectStore) -> None:
    job_id = control.launch(inputs, spec_json())
    assert control.cancel(inputs, job_id)
    assert inputs.exists(layout.cancel(job_id))
    finish(inputs, job_id)
    assert not control.cancel(inputs, job_id)


@pytest.mark.parametrize("call", [control.cancel, control.show, lambda store, job: list(control.follow(store, job))])
def test_a_job_that_is_not_there_is_named(store: ObjectStore, call: Callable[[ObjectStore, str], object]) -> None:
    with pytest.raises(NotFound, match="'nothing'"):
        call(store, "nothing")


@pytest.mark.parametrize(
    "environ",
    [{"OA_RAY_DASHBOARD_PORT": "x"}, {"OA_RAY_DASHBOARD_PORT": "70000"}, {"OA_JOB_STALE_SECONDS": "-1"},
     {"OA_JOB_BEAT_SECONDS": "soon"}],
)  # fmt: skip
def test_a_malformed_setting_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(OaError, match=next(iter(environ))):
        Setup.from_env(environ)


def test_the_command_line_launches_shows_lists_cancels(oa: Oa, inputs: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec_json()))
    job_id = oa("launch", str(path)).stdout.strip()
    assert inputs.exists(layout.queued(job_id))
    shown = json.loads(oa("show", job_id, "--json").stdout)
    assert (shown["state"], shown["stages"][0]) == ("queued", {"name": "00-sft", "state": "waiting"})
    assert f"{job_id}  queued     counter" in oa("list").stdout
    assert "will stop" in oa("cancel", job_id).stdout

    with StoreReporter(inputs, job_id, "00-sft", 1) as report:
        report.progress(3, 6, loss=0.51234)
    error = {"code": "GATE_FAILED", "message": "too low"}
    finish(inputs, job_id, state="failed", error=error)
    logs = oa("logs", "-f", job_id)
    assert "00-sft       3/6  loss 0.5123" in logs.stdout
    assert "failed: GATE_FAILED: too low" in logs.stdout
    assert logs.returncode == 1
    lines = [json.loads(line) for line in oa("logs", "-f", job_id, "--json").stdout.splitlines()]
    assert (lines[0]["metrics"], lines[-1]["error"]) == ({"loss": 0.51234}, error)


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
    [
        (("launch", "nowhere.json"), {}, "error BAD_SPEC: cannot read 'nowhere.json'"),
        (("show", "nothing"), {}, "error NOT_FOUND: there is no job 'nothing'"),
        (("list",), {"OA_S3_BUCKET": "no-such-bucket"}, "error BUCKET_MISSING: bucket 'no-such-bucket'"),
        (("worker", "--once"), {"OA_S3_BUCKET": "no-such-bucket"}, "error BUCKET_MISSING: bucket 'no-such-bucket'"),
        (("worker",), {"OA_LAUNCHER": "cloud"}, "error BAD_INPUT: launcher 'cloud' is unknown"),
        (("worker",), {"OA_LAUNCHER": "kuberay"}, "error BAD_INPUT: OA_KUBE_API is not set"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    oa: Oa, arguments: tuple[str, ...], settings: dict[str, str], says: str
) -> None:
    done = oa(*arguments, **settings)
    assert says in done.stderr
    assert done.returncode == 2
