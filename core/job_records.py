"""Training jobs and what they say, as plain records. Knows no store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from core.records import moment, now, time_key

if TYPE_CHECKING:
    from core.job_objects import Standing
    from core.jobspec import JobSpec

STATES = ("queued", "running", "succeeded", "failed", "cancelled")
ENDED = ("succeeded", "failed", "cancelled")
JOB = "job"
"""Where a job says what concerns no stage of it."""
STEPPED = ("progress", "checkpoint")
"""Events of which each step has one; after a resume it comes again, and the later one counts."""


@dataclass(frozen=True)
class JobEvent:
    """One thing that a job said.

    Attributes:
        cursor: where to read on behind it; opaque.
        stage: folder name of the stage, or `JOB`.
        attempt: the claim under which it was said.
        type: `state`, `progress`, `metric`, `log`, `sample` or `checkpoint`.
        ts: RFC 3339.
        body: everything that was said, as written.
    """

    cursor: str
    stage: str
    attempt: int
    type: str
    ts: str
    body: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Job:
    """A job as mirrored.

    Attributes:
        id: of the job.
        name: of the model that it publishes.
        state: of `STATES`.
        spec: its specification, as JSON.
        spec_sha256: its hash.
        by: id of the user who launched it; None from the command line.
        created_at: when it was first seen or launched, UTC.
        started_at, finished_at: RFC 3339, from the result.
        attempts: claims so far.
        cancel_requested: someone asked for it to stop.
        stage, step, total: where it was last.
        metrics: the numbers of that step.
        stages: `{"name", "kind", "state", "key", "seconds", "metrics", "info"}` of each, from the result.
        error: `{"code", "message"}` of a failed one.
        model: `{"name", "version"}` that it published.
        cursor: up to which its events are mirrored.
    """

    id: str
    name: str
    spec: Mapping[str, Any]
    spec_sha256: str
    created_at: datetime
    state: str = "queued"
    by: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    attempts: int = 0
    cancel_requested: bool = False
    stage: str | None = None
    step: int | None = None
    total: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    stages: Sequence[Mapping[str, Any]] = ()
    error: Mapping[str, str] | None = None
    model: Mapping[str, str] | None = None
    cursor: str = ""

    @property
    def ended(self) -> bool:
        """Whether it has its result."""
        return self.state in ENDED

    @property
    def by_time(self) -> str:
        """The ordered scalar key of pages."""
        return time_key(self.created_at, self.id)

    def stage_names(self) -> list[str]:
        """Folder names of its stages, in order."""
        from core.jobspec import parse_spec  # loads pydantic, which a reader of records need not wait for

        return parse_spec(dict(self.spec)).stage_names()

    def to_document(self) -> dict[str, Any]:
        """As stored in `jobs`; `open` is there while the job has no result."""
        document = {**asdict(self), "stages": list(self.stages), "by_time": self.by_time}
        return {"_id": document.pop("id"), **document, **({} if self.ended else {"open": True})}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Job:
        """From a document of `jobs`."""
        values = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        return cls(**{**values, "id": document["_id"], "created_at": moment(document["created_at"])})


def with_events(job: Job, events: Sequence[JobEvent]) -> Job:
    """`job` with the place and numbers of the last progress among `events`."""
    for event in events:
        if event.type == "progress":
            body = event.body
            job = replace(
                job, stage=event.stage, step=body.get("step"), total=body.get("total"), metrics=body.get("metrics", {})
            )
    return job


def with_standing(job: Job, stands: Standing) -> Job:
    """`job` with its state and, when it has ended, its result."""
    job = replace(job, state=stands.state, attempts=stands.attempts, cancel_requested=stands.cancel_requested)
    if stands.result is None:
        return job
    result = stands.result
    return replace(
        job,
        started_at=result.get("started_at"),
        finished_at=result.get("finished_at"),
        stages=result.get("stages") or (),
        error=result.get("error"),
        model=result.get("model"),
    )


def new_job(job_id: str, spec: JobSpec, by: str | None) -> Job:
    """A job that was just asked for."""
    return Job(job_id, spec.name, spec.model_dump(mode="json"), spec.sha256(), _made_at(job_id), by=by)


def _made_at(job_id: str) -> datetime:
    """The time in a UUIDv7, else now."""
    try:
        value = UUID(job_id)
    except ValueError:
        return now()
    return datetime.fromtimestamp((value.int >> 80) / 1000, UTC) if value.version == 7 else now()
