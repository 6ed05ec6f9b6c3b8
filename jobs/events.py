"""What a job says while it runs: JSON lines, written to the object store in batches, read back merged.

S3 has no append, so each batch is a new object `events/<stage>/<attempt>-<seq>.jsonl`. Knows the form of an event and
the order of batches; does not know who watches.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from core import layout
from core.errors import OaError
from core.job_records import STEPPED
from core.objects import ObjectStore
from jobs.claims import now

_BUFFER_LIMIT = 20_000
"""Lines kept while the store is away; beyond it the oldest go, and a log line says how many."""


class StoreReporter:
    """Writes one stage's events; a `jobs.context.Reporter`. Calls only append to a list: a thread does the sending.

    Args:
        store: the object store.
        job_id: the job.
        stage: the stage's folder name, or `core.job_records.JOB`.
        attempt: the claim under which this is said.
        every: seconds between batches.
        lines: events that make a batch go out earlier.

    A context manager: what is buffered goes out at the end.
    """

    def __init__(
        self, store: ObjectStore, job_id: str, stage: str, attempt: int, *, every: float = 1.0, lines: int = 100
    ) -> None:
        self._store, self._every, self._lines = store, every, lines
        self._about = {"job_id": job_id, "attempt": attempt, "stage": stage}
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._buffer: list[bytes] = []
        self._dropped = 0
        self._seq = _next_seq(store, job_id, stage, attempt)
        self._wake, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"events-{stage}", daemon=True)
        self._thread.start()

    def __enter__(self) -> StoreReporter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def progress(self, step: int, total: int, **metrics: float) -> None:
        """Step `step` of `total` is done."""
        self._add("progress", step=step, total=total, metrics=metrics)

    def metric(self, name: str, value: float, **about: Any) -> None:
        """One number that belongs to no training step."""
        self._add("metric", metrics={name: value}, **about)

    def log(self, message: str) -> None:
        """One line for a person."""
        self._add("log", message=message)

    def sample(self, prompt: str, reply: str, **about: Any) -> None:
        """One text that the model made."""
        self._add("sample", prompt=prompt, reply=reply, **about)

    def state(self, state: str, message: str = "", **about: Any) -> None:
        """The stage or the job is now in `state`."""
        self._add("state", state=state, message=message, **about)

    def checkpoint(self, step: int, **about: Any) -> None:
        """A checkpoint of `step` is complete."""
        self._add("checkpoint", step=step, **about)

    def flush(self) -> None:
        """Send what is buffered.

        Raises:
            Unavailable: the store does not answer; nothing is lost, the next batch has it.
        """
        with self._sending:
            with self._lock:
                batch, self._buffer = self._buffer, []
            if not batch:
                return
            try:
                self._store.put(self._key(), b"\n".join(batch) + b"\n")
            except OaError:
                with self._lock:
                    self._buffer = batch + self._buffer
                raise
            self._seq += 1

    def close(self) -> None:
        """Send what is left and end the thread; a store that is away at the very end loses the last lines."""
        self._closed.set()
        self._wake.set()
        self._thread.join()

    def _key(self) -> str:
        about = self._about
        return layout.event_batch(str(about["job_id"]), str(about["stage"]), int(str(about["attempt"])), self._seq)

    def _add(self, kind: str, **fields: Any) -> None:
        event = {**fields, **self._about, "ts": now(), "type": kind}
        line = orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
        with self._lock:
            self._buffer.append(line)
            if len(self._buffer) > _BUFFER_LIMIT:
                del self._buffer[: _BUFFER_LIMIT // 10]
                self._dropped += _BUFFER_LIMIT // 10
            full = len(self._buffer) >= self._lines
        if full:
            self._wake.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(self._every)
            self._wake.clear()
            with contextlib.suppress(OaError):
                self.flush()
                self._confess()
        with contextlib.suppress(OaError):
            self.flush()

    def _confess(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self.log(f"{dropped} events were dropped while the object store did not answer")


class NullReporter:
    """Says nothing: for every rank but the first."""

    def progress(self, step: int, total: int, **metrics: float) -> None:
        """Nothing."""

    def metric(self, name: str, value: float, **about: Any) -> None:
        """Nothing."""

    def log(self, message: str) -> None:
        """Nothing."""

    def sample(self, prompt: str, reply: str, **about: Any) -> None:
        """Nothing."""


def read_events(
    store: ObjectStore, job_id: str, stage: str | None = None, *, seen: set[str] | None = None
) -> Iterator[dict[str, Any]]:
    """The events of a job (or one stage) batch by batch in key order: stage, attempt, time.

    Args:
        store: the object store.
        job_id: the job.
        stage: only this stage.
        seen: keys already read; passed over, and the new ones are added, so that a follower reads each batch once.
    """
    seen = set() if seen is None else seen
    for item in store.list(layout.events(job_id, stage)):
        if item.key in seen:
            continue
        seen.add(item.key)
        yield from (orjson.loads(line) for line in store.get(item.key).splitlines() if line)


def merge(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One event for each step of a stage: after a resume a step appears again, and the highest attempt's is taken.

    Within one attempt the later one is taken (a training process was replaced and went back to its checkpoint). Events
    without a step (states, logs, samples, metrics) are all kept. Sorted by time, stable.
    """
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for order, event in enumerate(events):
        stepped = event["type"] in STEPPED
        key = (event["type"], event["stage"], event["step"]) if stepped else (event["type"], order)
        if key not in kept or event["attempt"] >= kept[key]["attempt"]:
            kept[key] = event
    return sorted(kept.values(), key=lambda event: str(event["ts"]))


def _next_seq(store: ObjectStore, job_id: str, stage: str, attempt: int) -> int:
    """A replaced training process goes on under the same attempt: after the last batch that its forerunner wrote."""
    prefix = f"{layout.events(job_id, stage)}{attempt:06d}-"
    last = max((item.key for item in store.list(prefix)), default=None)
    return 0 if last is None else int(last.removeprefix(prefix).removesuffix(".jsonl")) + 1
