"""The process that holds Ray for a worker: takes one attempt after another, runs each, says how it went.

`python -m jobs.driver` reads JSON lines on standard input (first `Setup`, then `Order`s) and answers with JSON lines on
standard output: `{"event": "ready", ...}` once, `{"event": "done", "job_id", "error"}` for each order. It is a process
of its own so that the worker can end everything at once by killing it: a local cluster dies with it, an existing one
drops its actors. It dies with the worker too: by the kernel's parent-death signal, and when standard input ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from core import layout
from core.errors import BadInput, OaError
from core.jobspec import parse_spec
from core.objects import ObjectStore
from jobs.claims import Lease
from jobs.ray_cluster import Cluster, connect
from jobs.walk import DEFAULT_STAGES, Run

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Setup:
    """What a driver needs to know for all its life.

    Attributes:
        bucket: the object store's bucket, with `endpoint` and `region`; credentials come by the environment.
        var: folder of local state.
        ray_address: an existing cluster, or None for one's own.
        dashboard_port: of one's own cluster; None for no dashboard.
        stages: `module:attribute` of the table of stages.
        beat_every: seconds between heartbeats.
        stale_after: seconds after which a claim that stands still is dead.
    """

    bucket: str
    endpoint: str | None
    region: str
    var: str
    ray_address: str | None = None
    dashboard_port: int | None = None
    stages: str = DEFAULT_STAGES
    beat_every: float = field(default_factory=lambda: Lease().beat_every)
    stale_after: float = field(default_factory=lambda: Lease().stale_after)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Setup:
        """As the settings say (docs/jobs.md).

        Raises:
            BadInput: a setting is malformed.
        """
        store = ObjectStore.from_env(environ)
        return cls(
            bucket=store.bucket,
            endpoint=store.endpoint,
            region=store.region,
            var=str(Path(environ.get("OA_VAR") or "var").absolute()),
            ray_address=environ.get("OA_RAY_ADDRESS") or None,
            dashboard_port=_port(environ.get("OA_RAY_DASHBOARD_PORT")),
            stages=environ.get("OA_STAGES") or DEFAULT_STAGES,
            beat_every=_seconds(environ, "OA_JOB_BEAT_SECONDS", Lease().beat_every),
            stale_after=_seconds(environ, "OA_JOB_STALE_SECONDS", Lease().stale_after),
        )

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    def store(self) -> ObjectStore:
        """The object store named here."""
        return ObjectStore(self.bucket, self.endpoint, self.region)

    def lease(self) -> Lease:
        """The timing of claims."""
        return Lease(self.beat_every, self.stale_after)


def _port(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise BadInput(f"OA_RAY_DASHBOARD_PORT is {text!r}; give a port from 1 to 65535")
    return int(text)


def _seconds(environ: Mapping[str, str], name: str, otherwise: float) -> float:
    text = environ.get(name)
    try:
        value = float(text) if text else otherwise
    except ValueError:
        value = 0.0
    if value <= 0:
        raise BadInput(f"{name} is {text!r}; give a number of seconds above 0")
    return value


def main() -> None:
    """Serve orders until standard input ends."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the worker decides what ends
    answers = _private_stdout()
    lines: queue.Queue[str] = queue.Queue()
    setup = Setup(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_read, args=(lines,), name="orders", daemon=True).start()
    try:
        cluster = connect(setup.ray_address, Path(setup.var), setup.dashboard_port)
        # Imported before the first order: it takes seconds, and the worker has nothing to do yet.
        import ray.train.torch  # noqa: F401

        from jobs import runner
    except OaError as error:
        _answer(answers, event="ready", error={"code": error.code, "message": error.message})
        return
    _answer(answers, event="ready", error=None, dashboard=cluster.dashboard, cores=cluster.cores)
    while True:
        order = json.loads(lines.get())
        _answer(answers, event="done", job_id=order["job_id"], error=_serve(setup, cluster, order, runner))


def _serve(setup: Setup, cluster: Cluster, order: dict[str, Any], runner: Any) -> dict[str, str] | None:
    """Run one attempt; None when it ended by itself (its outcome is in the store), else the error."""
    import ray.exceptions
    from ray.train import TrainingFailedError

    store, job_id = setup.store(), order["job_id"]
    var = Path(setup.var).absolute()
    try:
        spec = parse_spec(store.get_json(layout.spec(job_id)))
        if cluster.own:
            runner.check_fits(spec, cluster.cores, cluster.gpus)
        threads = runner.threads_for(spec.resources, int(cluster.cores), own_cluster=cluster.own)
        run = Run(store, job_id, order["attempt"], spec, var / "cache", setup.stages, threads, setup.lease())
        runner.fit(run, var / "ray-train", own_cluster=cluster.own)
    except OaError as error:
        return {"code": error.code, "message": error.message}
    except TrainingFailedError as error:
        return {"code": "STAGE_FAILED", "message": _cause(error)}
    except ray.exceptions.RayError as error:
        return {"code": "UNAVAILABLE", "message": f"Ray: {error}"}
    return None


def _cause(error: Exception) -> str:
    """The last line of what the ranks said, without Ray's wrapping."""
    failures = getattr(error, "worker_failures", None) or {0: error}
    said = (f"rank {rank}: {str(failure).strip().splitlines()[-1]}" for rank, failure in sorted(failures.items()))
    return "; ".join(said)[:2000]


def _read(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)  # the worker is gone: its claim is no longer kept alive, so nothing here may go on


def _answer(answers: IO[str], **answer: Any) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _private_stdout() -> IO[str]:
    """Answers have the pipe to themselves: what libraries print goes to standard error."""
    private = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return private


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    main()
