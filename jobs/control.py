"""Jobs as seen from outside, by the object store alone: launch, list, show, cancel, follow.

Knows the layout and the order in which objects are written; needs no database, no Ray and no worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from core import job_objects, layout
from core.errors import BadInput, NotFound
from core.ids import new_id
from core.jobspec import JobSpec, parse_spec
from core.objects import ObjectStore
from jobs.events import read_events
from jobs.outcomes import read_success
from jobs.stage_keys import base_identity


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
    result: Mapping[str, Any] | None


def launch(store: ObjectStore, value: Any, *, job_id: str | None = None) -> str:
    """Check a specification and put it into the queue; returns the job's id.

    Args:
        store: the object store.
        value: the specification as parsed JSON; a snapshot's version `latest` becomes the newest there is.
        job_id: an id of the caller's; launching the same specification under it again changes nothing.

    Raises:
        BadInput: (code `BAD_SPEC`) the specification is wrong, or its base is a model that was never published.
        NotFound: a snapshot does not exist, or (code `BUCKET_MISSING`) the bucket.
        Conflict: `job_id` exists with another specification.
    """
    spec = parse_spec(value)
    store.check_bucket()
    try:
        base_identity(store, spec.base)
    except NotFound as error:
        message = f"base: {error.message}; publish it first, or name a model that exists"
        raise BadInput(message, code="BAD_SPEC", path=("base",)) from error
    job_id = job_id or new_id()
    job_objects.submit(store, spec, job_id, by=None)
    return job_id


def cancel(store: ObjectStore, job_id: str) -> bool:
    """Ask for a job to stop; False when it has ended already.

    Raises:
        NotFound: there is no such job.
    """
    job_objects.request_cancel(store, job_id, by=None)
    return not store.exists(layout.result(job_id))


def list_jobs(store: ObjectStore) -> list[JobView]:
    """Every job, newest first."""
    store.check_bucket()
    return [show(store, job_id) for job_id in sorted(job_objects.job_ids(store), reverse=True)]


def show(store: ObjectStore, job_id: str) -> JobView:
    """One job.

    Raises:
        NotFound: there is no such job.
    """
    try:
        spec: JobSpec | None = job_objects.read_spec(store, job_id)
    except BadInput:
        spec = None
    standing = job_objects.standing(store, job_id)
    if standing.result is not None:
        stages = tuple((item["name"], item["state"]) for item in standing.result["stages"])
    else:
        stages = _stage_states(store, job_id, spec, running=standing.state == "running")
    return JobView(job_id, spec.name if spec else "", standing.state, standing.attempts, stages, standing.result)


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
    with suppress(BadInput):  # a job whose spec is wrong has events too
        job_objects.read_spec(store, job_id)
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
