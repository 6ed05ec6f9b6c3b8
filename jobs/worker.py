"""Takes jobs from the queue one by one, runs each under a claim, writes its result.

`python -m jobs.worker` (also `oa jobs worker`) polls `queue/`, claims, hands the attempt to its driver process
(`jobs.driver`, which holds Ray), keeps the claim's heartbeat, and writes `result.json` once. Knows how a worker ends:
on SIGTERM it kills the driver, then releases the claim, so that another worker goes on at once; after kill -9 the
driver dies with it and another worker goes on when the claim is stale. Never loads Ray or torch itself.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core import layout
from core.errors import Conflict, NotFound, OaError
from core.job_objects import read_spec
from core.job_records import JOB
from core.jobspec import JobSpec
from core.objects import ObjectStore
from jobs.claims import Claimant, Heartbeat, LeaseLost, highest_claim, lost_claims, now
from jobs.driver import Setup
from jobs.driver_process import DriverProcess
from jobs.events import StoreReporter
from jobs.outcomes import read_outcome, read_success

log = logging.getLogger("oa.jobs")

CANCEL_GRACE = 30.0
"""Seconds that a stage has to unwind after a cancellation before its processes are killed."""


class WorkerStopped(Exception):
    """The worker was asked to end while a job ran."""


@dataclass
class Worker:
    """One worker: at most one job at a time.

    Attributes:
        setup: the store, the Ray cluster and the timing, as the driver gets them.
        stop: set it to end `run_forever` soon.
        poll_every: seconds between looks at an idle queue.
        cancel_grace: seconds that a stage has to unwind after a cancellation.
    """

    setup: Setup
    stop: threading.Event = field(default_factory=threading.Event)
    poll_every: float = 1.0
    cancel_grace: float = CANCEL_GRACE

    def __post_init__(self) -> None:
        self.store = self.setup.store()
        self.claimant = Claimant(self.store, self.setup.lease())
        self.driver = DriverProcess(self.setup)

    def run_forever(self) -> None:
        """Work until `stop` is set. An object store that does not answer is waited for.

        Raises:
            OaError: Ray cannot be had, or the bucket does not exist.
        """
        self._until(lambda: False, self.run_next)

    def run_once(self) -> None:
        """Work until the queue is empty, other workers' jobs included: those that die meanwhile are taken over."""
        self._until(lambda: not queued_jobs(self.store), self.run_next)

    def run_job(self, job_id: str) -> None:
        """Work on one job, waiting for its claim while another holds it, until it has its result."""
        self._until(lambda: self.store.exists(layout.result(job_id)), lambda: self._try(job_id))

    def run_next(self) -> bool:
        """Work on the first job of the queue that is free; False when there is none."""
        return any(not self.stop.is_set() and self._try(job_id) for job_id in queued_jobs(self.store))

    def _until(self, done: Callable[[], bool], step: Callable[[], bool]) -> None:
        self.store.check_bucket()
        try:
            while not self.stop.is_set() and not _patiently(done) and self.driver.wait_ready(self.stop):
                if not _patiently(step):
                    self.stop.wait(self.poll_every)
        finally:
            self.driver.kill()

    def _try(self, job_id: str) -> bool:
        if self.store.exists(layout.result(job_id)):
            self.store.delete(layout.queued(job_id))
            self.claimant.forget(job_id)
            return False
        attempt = self.claimant.try_claim(job_id)
        if attempt is None:
            return False
        log.info("job %s: claimed, attempt %d", job_id, attempt)
        self._work(job_id, attempt)
        return True

    def _work(self, job_id: str, attempt: int) -> None:
        heartbeat = Heartbeat(self.store, job_id, attempt, self.setup.lease()).start()
        died = False
        try:
            outcome = self._outcome(job_id, attempt, heartbeat)
            died = outcome is None
            if outcome is not None:
                self._finish(job_id, attempt, outcome)
        except LeaseLost as error:
            log.warning("job %s: %s", job_id, error)
        except WorkerStopped:
            log.info("job %s: released, this worker ends", job_id)
        finally:
            with contextlib.suppress(OaError):
                heartbeat.stop(died=died)

    def _outcome(self, job_id: str, attempt: int, heartbeat: Heartbeat) -> dict[str, Any] | None:
        """How the attempt ended; None when its processes died, so that it should be tried again."""
        try:
            if heartbeat.cancelled.is_set():
                return _cancelled()
            spec = read_spec(self.store, job_id)
            _check_losses(self.store, spec, job_id, attempt)
            # Starting processes takes a while; who watches should see at once that the job was taken.
            with StoreReporter(self.store, job_id, JOB, attempt) as report:
                report.state("running", "a worker took the job; its processes are starting")
            error = self._drive(job_id, attempt, heartbeat)
        except OaError as problem:
            if problem.code == "UNAVAILABLE":
                raise
            return _failed(problem.code, problem.message)
        # What the ranks wrote counts for more than how Ray ended.
        outcome = read_outcome(self.store, job_id, attempt)
        if outcome is not None:
            return outcome
        if heartbeat.cancelled.is_set():
            return _cancelled()
        if error is None or error["code"] == "UNAVAILABLE":
            log.warning("job %s: attempt %d died (%s)", job_id, attempt, error["message"] if error else "no outcome")
            return None
        return _failed(error["code"], error["message"])

    def _drive(self, job_id: str, attempt: int, heartbeat: Heartbeat) -> dict[str, str] | None:
        """Have the driver run the attempt; its error, or None.

        Raises:
            LeaseLost: another worker has the job; the driver was killed.
            WorkerStopped: `stop` was set; the driver was killed.
        """
        if not self.driver.wait_ready(self.stop):
            raise WorkerStopped
        self.driver.send(job_id, attempt)
        kill_at: float | None = None
        while (answer := self.driver.answer(seconds=0.2)) is None:
            if self.stop.is_set():
                self.driver.kill()
                raise WorkerStopped
            if heartbeat.lost.is_set():
                self.driver.kill()
                raise LeaseLost(f"attempt {attempt} is no longer this worker's")
            if heartbeat.cancelled.is_set():
                kill_at = kill_at or time.monotonic() + self.cancel_grace
                if time.monotonic() > kill_at:
                    self.driver.kill()
                    return None
        error: dict[str, str] | None = answer["error"]
        return error

    def _finish(self, job_id: str, attempt: int, outcome: dict[str, Any]) -> None:
        """Write the result, once and only while the claim is held; then the queue forgets the job."""
        if highest_claim(self.store, job_id) > attempt:
            raise LeaseLost(f"attempt {attempt} ended after another worker took the job")
        result = make_result(self.store, job_id, attempt, outcome)
        with contextlib.suppress(Conflict):
            self.store.put_json(layout.result(job_id), result, if_absent=True)
        error = outcome["error"]
        with StoreReporter(self.store, job_id, JOB, attempt) as report:
            report.state(outcome["state"], error["message"] if error else "")
        self.store.delete(layout.queued(job_id))
        self.claimant.forget(job_id)
        self._clean(job_id)
        log.info("job %s: %s%s", job_id, outcome["state"], f" ({error['code']}: {error['message']})" if error else "")

    def _clean(self, job_id: str) -> None:
        """Remove what the job left on this machine; bases and snapshots stay, for the next one."""
        var = Path(self.setup.var)
        for folder in (var / "cache" / "jobs" / job_id, *(var / "ray-train").glob(f"{job_id}-*")):
            shutil.rmtree(folder, ignore_errors=True)


def _patiently(ask: Callable[[], bool]) -> bool:
    """The answer, or False while the object store does not give one."""
    try:
        return ask()
    except OaError as error:
        if error.code != "UNAVAILABLE":
            raise
        log.warning("%s", error.message)
        return False


def queued_jobs(store: ObjectStore) -> list[str]:
    """Ids of the jobs in the queue, in key order, which is age for ids made here."""
    prefix = layout.queue()
    return [item.key.removeprefix(prefix).removesuffix(".json") for item in store.list(prefix)]


def make_result(store: ObjectStore, job_id: str, attempt: int, outcome: dict[str, Any]) -> dict[str, Any]:
    """The result of a job in its published form (docs/architecture.md), from its markers and last outcome."""
    try:
        spec: JobSpec | None = read_spec(store, job_id)
    except OaError:
        spec = None
    stages = zip(spec.stage_names(), spec.stages, strict=True) if spec else ()
    found = [(name, stage.kind, read_success(store, job_id, name)) for name, stage in stages]
    if outcome["error"] and outcome["error"]["code"] == "STAGE_FAILED" and not outcome.get("stage"):
        # Ranks that were lost could not say where; it was in the first stage that is not done.
        outcome = {**outcome, "stage": next((name for name, _, success in found if success is None), None)}
    models = [success["model"] for _, _, success in found if success and success["model"]]
    return {
        "job_id": job_id,
        "state": outcome["state"],
        "started_at": _claimed_at(store, job_id),
        "finished_at": now(),
        "attempts": attempt,
        "stages": [_stage_result(name, kind, success, outcome) for name, kind, success in found],
        "error": outcome["error"],
        "model": models[-1] if models else None,
    }


def _stage_result(name: str, kind: str, success: dict[str, Any] | None, outcome: dict[str, Any]) -> dict[str, Any]:
    if success is not None:
        known = {field: success[field] for field in ("key", "seconds", "metrics", "info")}
        return {"name": name, "kind": kind, "state": "succeeded", **known}
    state = outcome["state"] if outcome.get("stage") == name else "not_run"
    return {"name": name, "kind": kind, "state": state, "key": None, "seconds": None, "metrics": {}, "info": {}}


def _claimed_at(store: ObjectStore, job_id: str) -> str | None:
    try:
        return str(store.get_json(layout.claim(job_id, 1))["at"])
    except NotFound:
        return None


def _check_losses(store: ObjectStore, spec: JobSpec, job_id: str, attempt: int) -> None:
    """A job that kills whatever machine runs it must not go round for ever."""
    losses = lost_claims(store, job_id, attempt)
    allowed = spec.resources.max_failures
    if losses > allowed:
        raise OaError(
            f"its worker was lost {losses} times; resources.max_failures allows {allowed}", code="STAGE_FAILED"
        )


def _cancelled() -> dict[str, Any]:
    return {"state": "cancelled", "error": None, "stage": None}


def _failed(code: str, message: str) -> dict[str, Any]:
    return {"state": "failed", "error": {"code": code, "message": message}, "stage": None}


def serve(setup: Setup, *, once: bool = False, job_id: str | None = None) -> None:
    """Run a worker in this process until SIGTERM, SIGINT or, with `once` or `job_id`, until the work is done.

    Args:
        setup: the store, the Ray cluster and the timing.
        once: end when the queue is empty.
        job_id: work on this job alone, then end.

    Raises:
        OaError: Ray cannot be had, or the bucket does not exist.
    """
    worker = Worker(setup)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop.set())
    if job_id is not None:
        worker.run_job(job_id)
    elif once:
        worker.run_once()
    else:
        worker.run_forever()


def main() -> None:
    """`python -m jobs.worker`: settings from the environment (docs/jobs.md), what to do from the arguments."""
    parser = argparse.ArgumentParser(prog="python -m jobs.worker", description="Run training jobs from the queue.")
    parser.add_argument("--once", action="store_true", help="end when the queue is empty")
    parser.add_argument("--job", help="work on this job alone, then end")
    parser.add_argument("--ray-address", help="an existing Ray cluster; default OA_RAY_ADDRESS, or one's own")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    environ = dict(os.environ) | ({"OA_RAY_ADDRESS": arguments.ray_address} if arguments.ray_address else {})
    try:
        serve(Setup.from_env(environ), once=arguments.once, job_id=arguments.job)
    except OaError as error:
        sys.exit(f"error {error.code}: {error.message}")


if __name__ == "__main__":
    main()
