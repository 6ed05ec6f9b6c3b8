"""Hands the queue's jobs to a launcher, and watches that each gets its result.

Knows submissions by numbered names (`oa-<job>-<n>`), so that a dispatcher that was restarted, or a second one, finds
what was submitted and submits nothing twice. The worker that a launcher starts claims the job as any worker does; a
submission that ends without a result is followed by the next number, until the spec's failures are used up.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core import layout
from core.errors import Conflict, OaError
from core.job_objects import read_spec
from core.jobspec import JobSpec
from core.objects import ObjectStore
from jobs.claims import Claimant, Heartbeat
from jobs.launchers import Launcher, make_launcher
from jobs.worker import make_result, queued_jobs

log = logging.getLogger("oa.jobs")


@dataclass
class Dispatcher:
    """Keeps one submission alive for each job of the queue.

    Attributes:
        store: the object store.
        launcher: where workers are started.
        stop: set it to end `run` soon.
        poll_every: seconds between looks.
    """

    store: ObjectStore
    launcher: Launcher
    stop: threading.Event = field(default_factory=threading.Event)
    poll_every: float = 5.0

    def __post_init__(self) -> None:
        self._claimant = Claimant(self.store)

    def run(self, *, once: bool = False) -> None:
        """Look after the queue until `stop` is set or, with `once`, until it is empty.

        Raises:
            Forbidden: the launcher's token is wrong.
        """
        self.store.check_bucket()
        while not self.stop.is_set():
            try:
                self.step()
                if once and not queued_jobs(self.store):
                    return
            except OaError as error:
                if error.code != "UNAVAILABLE":
                    raise
                log.warning("%s", error.message)
            self.stop.wait(self.poll_every)

    def step(self) -> None:
        """Look at each job of the queue once."""
        for job_id in queued_jobs(self.store):
            if self.store.exists(layout.result(job_id)):
                self.store.delete(layout.queued(job_id))
            else:
                self._look_after(job_id)

    def _look_after(self, job_id: str) -> None:
        try:
            spec = read_spec(self.store, job_id)
        except OaError as error:
            if error.code == "UNAVAILABLE":
                raise
            self._close(job_id, "failed", {"code": error.code, "message": error.message})
            return
        name, state = self._newest(job_id, spec)
        if name is None:
            message = f"{spec.resources.max_failures + 1} submissions ended without a result; see their logs"
            self._close(job_id, "failed", {"code": "STAGE_FAILED", "message": message})
        elif self.store.exists(layout.cancel(job_id)) and state != "running":
            # One that waits for machines does not look whether it was cancelled.
            self.launcher.stop(name)
            self._close(job_id, "cancelled", None)
        elif state is None:
            self.launcher.submit(name, job_id, spec)
            log.info("job %s: submitted as %s", job_id, name)

    def _newest(self, job_id: str, spec: JobSpec) -> tuple[str | None, str | None]:
        """Name and state of the submission that counts: the first that did not end; (None, None) when all did."""
        for number in range(1, spec.resources.max_failures + 2):
            name = f"oa-{job_id}-{number}"
            state = self.launcher.look(name)
            if state != "ended":
                return name, state
        return None, None

    def _close(self, job_id: str, state: str, error: dict[str, str] | None) -> None:
        """Write the result of a job that no worker will; only under a claim, as any worker."""
        attempt = self._claimant.try_claim(job_id)
        if attempt is None:
            return  # a worker has it, or had it a moment ago: looked at again in the next round
        heartbeat = Heartbeat(self.store, job_id, attempt).start()
        outcome: dict[str, Any] = {"state": state, "error": error, "stage": None}
        with contextlib.suppress(Conflict):
            result = make_result(self.store, job_id, attempt, outcome)
            self.store.put_json(layout.result(job_id), result, if_absent=True)
        heartbeat.stop()
        self.store.delete(layout.queued(job_id))
        log.info("job %s: %s", job_id, state)


def serve_launcher(store: ObjectStore, kind: str, environ: Mapping[str, str], *, once: bool = False) -> None:
    """Run a dispatcher in this process until SIGTERM or SIGINT or, with `once`, until the queue is empty.

    Raises:
        OaError: the launcher is unknown or not configured, its token is wrong, or the bucket does not exist.
    """
    dispatcher = Dispatcher(store, make_launcher(kind, environ))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: dispatcher.stop.set())
    dispatcher.run(once=once)
