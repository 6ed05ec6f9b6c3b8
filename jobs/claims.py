"""Who runs a job: numbered claims with heartbeats, so that one job has one runner at a time.

Claim n is an object made by conditional put, so of many claimants one wins. Its holder overwrites a heartbeat object
with a growing counter. Clocks of two machines need not agree: a claimant calls a claim stale when it has seen the
counter stand still for `stale_after` seconds of its own monotonic clock. A holder that sees a higher claim, or that
could not write its heartbeat for as long, has lost the job and stops (fencing). Knows nothing of what a job does.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from core import layout
from core.errors import Conflict, NotFound, OaError
from core.objects import ObjectStore
from jobs.context import StageStopped

_CLAIM = re.compile(r"/claims/(\d{6})\.json$")


class Cancelled(StageStopped):
    """Someone asked for the job to stop."""


class LeaseLost(StageStopped):
    """Another worker holds the job now, or would be right to think that this one is dead."""


@dataclass(frozen=True)
class Lease:
    """How often a holder beats and when others call it dead, in seconds."""

    beat_every: float = 5.0
    stale_after: float = 30.0


def now() -> str:
    """The time, RFC 3339 in UTC: for people; nothing is decided by it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def highest_claim(store: ObjectStore, job_id: str) -> int:
    """Number of the newest claim of a job; 0 when nobody ever claimed it."""
    found = (_CLAIM.search(item.key) for item in store.list(layout.claims(job_id)))
    return max((int(match[1]) for match in found if match), default=0)


def read_heartbeat(store: ObjectStore, job_id: str, attempt: int) -> dict[str, Any] | None:
    """The heartbeat of a claim, `{"counter", "at", "released", "lost"}`; None before the first beat."""
    try:
        beat: dict[str, Any] = store.get_json(layout.heartbeat(job_id, attempt))
    except NotFound:
        return None
    return beat


def lost_claims(store: ObjectStore, job_id: str, before: int) -> int:
    """How many claims below number `before` died with the job: their worker, or the training processes under it."""
    beats = (read_heartbeat(store, job_id, attempt) or {} for attempt in range(1, before))
    return sum(1 for beat in beats if beat.get("lost") or not beat.get("released"))


@dataclass
class Claimant:
    """A worker's view of others' claims; makes claims of its own.

    Attributes:
        store: the object store.
        lease: the timing that all workers of a store share.
        clock: a monotonic clock, in seconds.
    """

    store: ObjectStore
    lease: Lease = Lease()
    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, tuple[tuple[int, int], float]] = field(default_factory=dict)

    def try_claim(self, job_id: str) -> int | None:
        """Claim the job if nobody has it: the claim's number, or None when someone else does.

        A claim of another is passed over only when it was released, or has stood still for `stale_after` seconds
        between two calls of this claimant; so call it again and again.
        """
        newest = highest_claim(self.store, job_id)
        if newest and not self._free(job_id, newest):
            return None
        about = {"attempt": newest + 1, "at": now(), "host": socket.gethostname(), "pid": os.getpid()}
        try:
            self.store.put_json(layout.claim(job_id, newest + 1), about, if_absent=True)
        except Conflict:
            return None
        self._seen.pop(job_id, None)
        return newest + 1

    def forget(self, job_id: str) -> None:
        """Drop what was seen of a job that is finished."""
        self._seen.pop(job_id, None)

    def _free(self, job_id: str, attempt: int) -> bool:
        beat = read_heartbeat(self.store, job_id, attempt) or {}
        if beat.get("released"):
            return True
        state = (attempt, int(beat.get("counter", 0)))
        seen, since = self._seen.get(job_id, (None, 0.0))
        if seen != state:
            self._seen[job_id] = (state, self.clock())
            return False
        return self.clock() - since >= self.lease.stale_after


class Heartbeat:
    """Keeps a claim alive from a thread of its own, and notices when it is lost.

    Args:
        store: the object store.
        job_id: the job.
        attempt: the claim held.
        lease: the timing.

    Attributes:
        lost: set when the job is no longer this holder's.
        cancelled: set when the job's `cancel.json` is there.
    """

    def __init__(self, store: ObjectStore, job_id: str, attempt: int, lease: Lease = Lease()) -> None:
        self._store, self._job_id, self._attempt, self._lease = store, job_id, attempt, lease
        self._counter = 0
        self._stop = threading.Event()
        self.lost = threading.Event()
        self.cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{job_id}", daemon=True)

    def start(self) -> Heartbeat:
        """Write the first beat, then go on in the background."""
        self._beat()
        self._thread.start()
        return self

    def stop(self, *, died: bool = False) -> None:
        """End the beating and release the claim, so that others may claim at once.

        Args:
            died: the training died under this claim, which counts against the job.
        """
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if not self.lost.is_set():
            self._put(released=True, died=died)

    def _run(self) -> None:
        good = time.monotonic()
        while not self._stop.wait(self._lease.beat_every):
            try:
                self._beat()
                good = time.monotonic()
            except OaError:
                # Others see no beat either, so past this time they may rightly take the job.
                if time.monotonic() - good >= self._lease.stale_after:
                    self.lost.set()
            if self.lost.is_set():
                return

    def _beat(self) -> None:
        if highest_claim(self._store, self._job_id) > self._attempt:
            self.lost.set()
            return
        self._put(released=False)
        if self._store.exists(layout.cancel(self._job_id)):
            self.cancelled.set()

    def _put(self, *, released: bool, died: bool = False) -> None:
        self._counter += 1
        beat = {"counter": self._counter, "at": now(), "released": released, "lost": died}
        self._store.put_json(layout.heartbeat(self._job_id, self._attempt), beat)


class Fence:
    """The same question from a training process: may work under this claim go on?

    It stops for a `cancel.json`, for a higher claim, and when the claim's own heartbeat is released or has stood
    still for `stale_after` seconds: then the worker that started this process is gone, and it must not live on.

    Args:
        store: the object store.
        job_id: the job.
        attempt: the claim under which this process works.
        lease: the timing.
        every: seconds between looks at the store, however often it is asked.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        store: ObjectStore,
        job_id: str,
        attempt: int,
        lease: Lease = Lease(),
        every: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._job_id, self._attempt = store, job_id, attempt
        self._lease, self._every, self._clock = lease, every, clock
        self._looked = float("-inf")
        self._counter, self._changed = -1, clock()

    def check(self, *, now: bool = False) -> None:
        """Return if work may go on.

        Args:
            now: look at the store even if that was done less than `every` seconds ago.

        Raises:
            Cancelled: the job was cancelled.
            LeaseLost: the claim is no longer good.
        """
        if not now and self._clock() - self._looked < self._every:
            return
        try:
            self._look()
        except OaError as error:
            if self._clock() - self._changed >= self._lease.stale_after:
                raise LeaseLost(f"object store out of reach for {self._lease.stale_after:.0f} s: {error}") from error
        self._looked = self._clock()

    def _look(self) -> None:
        newest = highest_claim(self._store, self._job_id)
        if newest > self._attempt:
            raise LeaseLost(f"claim {newest} of job {self._job_id} follows claim {self._attempt}")
        if self._store.exists(layout.cancel(self._job_id)):
            raise Cancelled(f"job {self._job_id} was cancelled")
        beat = read_heartbeat(self._store, self._job_id, self._attempt) or {}
        if beat.get("released"):
            raise LeaseLost(f"claim {self._attempt} of job {self._job_id} was released")
        counter = int(beat.get("counter", 0))
        if counter != self._counter:
            self._counter, self._changed = counter, self._clock()
        elif self._clock() - self._changed >= self._lease.stale_after:
            raise LeaseLost(f"no heartbeat under claim {self._attempt} of job {self._job_id}: its worker is gone")
