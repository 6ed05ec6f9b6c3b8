"""Jobs as seen from outside, by the object store alone: launch, list, show, cancel, follow.

Knows the layout and the order in which objects are written; needs no database, no Ray and no worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from core import layout
from core.errors import BadInput, Conflict, NotFound
from core.ids import new_id
from core.jobspec import JobSpec, parse_spec
from core.objects import ObjectStore
from jobs.claims import highest_claim, now
from jobs.events import read_events
from jobs.outcomes import read_success
from jobs.stage_keys import base_identity, snapshot_hashes

FINISHED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class JobView:
    """One job at a glance.

    Attributes:
        id: the job.
        name: of the model that it makes; empty when its spec cannot be read.
        state: `queued`, `running`, `succeeded`, `failed` or `cancelled`.
        attempts: claims made so far.
        stages: `(name, state)` in order; beside the states of a job there are `waiting` and `not_run`.
        result: the result, once there is one.
    """

    id: str
    name: str
    state: str
    attempts: int
    stages: tuple[tuple[str, str], ...]
    result: dict[str, Any] | None


def launch(store: ObjectStore, value: Any, *, job_id: str | None = None) -> str:
    """Check a specification and put it into the queue; returns the job's id.

    Args:
        store: the object store.
        value: the specification as parsed JSON.
        job_id: an id of the caller's; launching the same specification under it again changes nothing.

    Raises:
        BadInput: (code `BAD_SPEC`) the specification is wrong, or names a snapshot or model that does not exist.
        NotFound: (code `BUCKET_MISSING`) there is no such bucket.
        Conflict: `job_id` exists with another specification.
    """
    spec = parse_spec(value)
    store.check_bucket()
    check_inputs(store, spec)
    job_id = job_id or new_id()
    written = spec.model_dump(mode="json")
    try:
        store.put_json(layout.spec(job_id), written, if_absent=True)
    except Conflict:
        if store.get_json(layout.spec(job_id)) != written:
            raise Conflict(f"job {job_id!r} exists with another specification") from None
    if not store.exists(layout.result(job_id)):
        store.put_json(layout.queued(job_id), {"job_id": job_id, "at": now()})
    return job_id


def check_inputs(store: ObjectStore, spec: JobSpec) -> None:
    """Refuse a job whose snapshots or published base are not there.

    Raises:
        BadInput: (code `BAD_SPEC`) naming the field.
    """
    field = "base"
    try:
        base_identity(store, spec.base)
        field = "stages"
        snapshot_hashes(store, spec)
    except NotFound as error:
        if error.code == "BUCKET_MISSING":
            raise
        message = f"{field}: {error.message}; freeze or publish it first, or name one that exists"
        raise BadInput(message, code="BAD_SPEC", path=(field,)) from error


def cancel(store: ObjectStore, job_id: str) -> bool:
    """Ask for a job to stop; False when it has ended already.

    Raises:
        NotFound: there is no such job.
    """
    _check_exists(store, job_id)
    if store.exists(layout.result(job_id)):
        return False
    store.put_json(layout.cancel(job_id), {"at": now()})
    return True


def list_jobs(store: ObjectStore) -> list[JobView]:
    """Every job, newest first."""
    store.check_bucket()
    specs = (item.key for item in store.list(layout.job("").removesuffix("/")) if item.key.endswith("/spec.json"))
    return [show(store, key.split("/")[1]) for key in sorted(specs, reverse=True)]


def show(store: ObjectStore, job_id: str) -> JobView:
    """One job.

    Raises:
        NotFound: there is no such job.
    """
    try:
        spec: JobSpec | None = parse_spec(store.get_json(layout.spec(job_id)))
    except BadInput:
        spec = None
    except NotFound as error:
        raise _no_such_job(job_id, error) from error
    result = _read(store, layout.result(job_id))
    attempts = highest_claim(store, job_id)
    if result is not None:
        state, stages = result["state"], tuple((item["name"], item["state"]) for item in result["stages"])
    else:
        state = "running" if attempts else "queued"
        stages = _stage_states(store, job_id, spec, running=bool(attempts))
    return JobView(job_id, spec.name if spec else "", state, attempts, stages, result)


def follow(
    store: ObjectStore, job_id: str, *, poll: float = 0.5, sleep: Callable[[float], None] = time.sleep
) -> Iterator[dict[str, Any]]:
    """The events of a job, from its first on, until it has its result; each batch is read once.

    Args:
        store: the object store.
        job_id: the job.
        poll: seconds between looks.
        sleep: waits so long.

    Raises:
        NotFound: there is no such job.
    """
    _check_exists(store, job_id)
    seen: set[str] = set()
    while True:
        # In this order: whatever was written before the result is read after it was seen.
        finished = store.exists(layout.result(job_id))
        yield from read_events(store, job_id, seen=seen)
        if finished:
            return
        sleep(poll)


def _stage_states(
    store: ObjectStore, job_id: str, spec: JobSpec | None, *, running: bool
) -> tuple[tuple[str, str], ...]:
    states: list[tuple[str, str]] = []
    for name in spec.stage_names() if spec else ():
        if read_success(store, job_id, name) is not None:
            states.append((name, "succeeded"))
        else:
            states.append((name, "running" if running else "waiting"))
            running = False
    return tuple(states)


def _check_exists(store: ObjectStore, job_id: str) -> None:
    if not store.exists(layout.spec(job_id)):
        raise _no_such_job(job_id)


def _no_such_job(job_id: str, error: NotFound | None = None) -> NotFound:
    if error is not None and error.code == "BUCKET_MISSING":
        return error
    return NotFound(f"there is no job {job_id!r}; `oa jobs list` shows those there are")


def _read(store: ObjectStore, key: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = store.get_json(key)
    except NotFound:
        return None
    return found
