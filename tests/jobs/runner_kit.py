"""What the tests of the job machinery share: small snapshots and bases, workers as real processes, waiting."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from core import layout, manifest
from core.errors import NotFound
from core.ids import new_id
from core.jobspec import JobSpec, parse_spec
from core.objects import ObjectStore

HERE = Path(__file__).resolve().parent
T = TypeVar("T")


def wait_for(ask: Callable[[], T | None], what: str, seconds: float = 90.0) -> T:
    """What `ask` says once it is neither None nor False."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)
    return answer


def publish_inputs(store: ObjectStore, rows: str = "one") -> None:
    """A snapshot `talk/v1` and a published model `start/v1` to begin from."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "train.parquet").write_text(rows)
        about = {"format": 1, "name": "talk", "version": "v1", "kind": "sft", "licence": "CC0-1.0"}
        manifest.publish(store, Path(folder), layout.dataset("talk", "v1"), about)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "hf").mkdir()
        (Path(folder) / "hf" / "config.json").write_text("{}")
        manifest.publish(store, Path(folder), layout.model("start", "v1"), {"format": 1})


def make_spec(*stages: dict[str, Any], **other: Any) -> JobSpec:
    return parse_spec({"name": "counter", "base": "models/start/v1", "stages": list(stages), **other})


def stage(kind: str = "sft", steps: int = 6, save_every: int = 2, **other: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "dataset": {"name": "talk", "version": "v1"},
        "max_steps": steps,
        "save_every": save_every,
        **other,
    }


def enqueue(store: ObjectStore, spec: JobSpec, job_id: str | None = None) -> str:
    job_id = job_id or new_id()
    store.put_json(layout.spec(job_id), spec.model_dump(mode="json"))
    store.put_json(layout.queued(job_id), {"job_id": job_id})
    return job_id


def result_of(store: ObjectStore, job_id: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = store.get_json(layout.result(job_id))
    except NotFound:
        return None
    return found


class Desk:
    """The folder by which tests steer `counting_stages`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def hold(self, job_id: str, stage: str, step: int) -> Path:
        path = self.folder / f"hold-{job_id}-{stage}-{step}"
        path.touch()
        return path

    def trace(self, job_id: str) -> list[dict[str, Any]]:
        path = self.folder / "trace.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in map(json.loads, lines) if line["job"] == job_id]

    def at(self, job_id: str, step: int, attempt: int = 1, after: int = 0) -> dict[str, Any] | None:
        """The trace of `step` under `attempt`, once it is there more than `after` times."""
        found = [line for line in self.trace(job_id) if (line["step"], line["attempt"]) == (step, attempt)]
        return found[-1] if len(found) > after else None


def start_worker(
    store: ObjectStore, var: Path, desk: Desk, *arguments: str, **settings: str
) -> subprocess.Popen[bytes]:
    """`python -m jobs.worker` as a process of its own, with short leases; its log is `var/worker.log`."""
    var.mkdir(parents=True, exist_ok=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OA_", "RAY_"))}
    environ |= {
        "OA_S3_BUCKET": store.bucket,
        "OA_S3_ENDPOINT": store.endpoint or "",
        "OA_VAR": str(var),
        "OA_STAGES": "counting_stages:STAGES",
        "OA_TEST_DESK": str(desk.folder),
        "OA_JOB_BEAT_SECONDS": "0.5",
        "OA_JOB_STALE_SECONDS": "6",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}",
        **settings,
    }
    with (var / "worker.log").open("ab") as log:
        command = [sys.executable, "-m", "jobs.worker", *arguments]
        return subprocess.Popen(command, env=environ, cwd=var, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


AGENTS = (b"ray::DashboardAgent", b"ray::RuntimeEnvAgent")
"""Ray's agents: idle, they may outlive a killed raylet by the minute in which they wait for its control service."""


def processes_of(var: Path, *, agents: bool = False) -> list[int]:
    """Ids of live processes whose environment says that they belong to the worker on `var`."""
    mark = f"OA_VAR={var}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            idle = (entry / "cmdline").read_bytes().startswith(AGENTS) and not agents
            if state != "Z" and not idle and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found
