"""Training jobs, and what they say while they run."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

import strawberry
from strawberry.scalars import JSON

from core.errors import NotFound
from core.job_records import Job, JobEvent

from .chat_types import Failure
from .context import Context, Info, needed
from .model_types import ModelNode, load_model
from .nodes import reads
from .permissions import OPERATOR
from .relay import Node, global_id

if TYPE_CHECKING:
    from core.runs import Runs


@strawberry.enum(description="How a job stands.")
class JobState(Enum):
    """States of a job."""

    QUEUED = strawberry.enum_value("queued", description="No worker has taken it yet.")
    RUNNING = strawberry.enum_value("running", description="A worker has it.")
    SUCCEEDED = strawberry.enum_value("succeeded", description="All of its stages are done.")
    FAILED = strawberry.enum_value("failed", description="`error` says why.")
    CANCELLED = strawberry.enum_value("cancelled", description="Somebody asked it to stop.")


@strawberry.type(description="One stage of an ended job.")
class JobStage:
    """A stage."""

    name: str = strawberry.field(description="Such as 00-sft.")
    kind: str = strawberry.field(description="Such as sft.")
    state: str = strawberry.field(description="How it ended.")
    seconds: float | None = strawberry.field(description="How long it took.")
    metrics: JSON = strawberry.field(description="Its numbers.")

    @classmethod
    def of(cls, stage: Any) -> JobStage:
        """The stage, of a result."""
        return cls(
            name=str(stage.get("name")),
            kind=str(stage.get("kind")),
            state=str(stage.get("state")),
            seconds=stage.get("seconds"),
            metrics=JSON(stage.get("metrics") or {}),
        )


@strawberry.type(name="Job", description="A training job.")
class JobNode(Node):
    """A job."""

    record: strawberry.Private[Job]
    name: str = strawberry.field(description="Of the model that it publishes.")
    state: JobState = strawberry.field(description="How it stands.")
    spec: JSON = strawberry.field(description="What it was asked to do.")
    spec_sha256: str = strawberry.field(description="Hash of the specification.")
    launched_by: strawberry.ID | None = strawberry.field(description="The user; null from the command line.")
    created_at: datetime = strawberry.field(description="When it was launched.")
    started_at: str | None = strawberry.field(description="When a worker first took it, RFC 3339; once it has ended.")
    finished_at: str | None = strawberry.field(description="When it ended, RFC 3339.")
    attempts: int = strawberry.field(description="How often a worker took it.")
    cancel_requested: bool = strawberry.field(description="Whether it has been asked to stop.")
    stage: str | None = strawberry.field(description="Stage of its last step.")
    step: int | None = strawberry.field(description="Its last step.")
    total: int | None = strawberry.field(description="Steps of that stage.")
    metrics: JSON = strawberry.field(description="Numbers of its last step.")
    stages: list[JobStage] = strawberry.field(description="Its stages, once it has ended.")
    error: Failure | None = strawberry.field(description="Why it failed.")

    @strawberry.field(description="The model version that it published.")
    async def model(self, info: Info) -> ModelNode | None:
        """The version, if there is one."""
        made = self.record.model
        return None if not made else await load_model(info.context, f"{made['name']}@{made['version']}")

    @classmethod
    def of(cls, record: Job) -> JobNode:
        """The job."""
        error = record.error
        return cls(
            id=global_id("Job", record.id),
            record=record,
            name=record.name,
            state=JobState(record.state),
            spec=JSON(record.spec),
            spec_sha256=record.spec_sha256,
            launched_by=None if record.by is None else global_id("User", record.by),
            created_at=record.created_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
            attempts=record.attempts,
            cancel_requested=record.cancel_requested,
            stage=record.stage,
            step=record.step,
            total=record.total,
            metrics=JSON(record.metrics),
            stages=[JobStage.of(stage) for stage in record.stages],
            error=None if error is None else Failure(code=error["code"], message=error["message"]),
        )


@strawberry.type(name="JobEvent", description="One thing that a job says, or its end.")
class JobEventNode:
    """An event; the last one has the job."""

    cursor: str | None = strawberry.field(description="Pass the last one as `after` to come back; null at the end.")
    type: str = strawberry.field(description="state, progress, metric, log, sample, checkpoint, or result at the end.")
    ts: str = strawberry.field(description="When, RFC 3339.")
    stage: str | None = strawberry.field(description="Stage that it is about; job for the whole.")
    attempt: int = strawberry.field(description="The claim under which it was said; of two, the higher one counts.")
    step: int | None = strawberry.field(description="Of progress and checkpoints.")
    total: int | None = strawberry.field(description="Steps of the stage.")
    metrics: JSON = strawberry.field(description="Numbers by name.")
    message: str | None = strawberry.field(description="Words, of a log line or a state.")
    body: JSON = strawberry.field(description="Everything that was said.")
    job: JobNode | None = strawberry.field(description="At the end: the job with its result.")

    @classmethod
    def of(cls, event: JobEvent) -> JobEventNode:
        """Something said."""
        body = event.body
        return cls(
            cursor=event.cursor,
            type=event.type,
            ts=event.ts,
            stage=event.stage,
            attempt=event.attempt,
            step=body.get("step"),
            total=body.get("total"),
            metrics=JSON(body.get("metrics") or {}),
            message=body.get("message"),
            body=JSON(body),
            job=None,
        )

    @classmethod
    def end(cls, job: Job) -> JobEventNode:
        """The end."""
        return cls(
            cursor=None,
            type="result",
            ts=job.finished_at or "",
            stage=None,
            attempt=job.attempts,
            step=job.step,
            total=job.total,
            metrics=JSON(job.metrics),
            message=None,
            body=JSON({}),
            job=JobNode.of(job),
        )


def runs(context: Context) -> Runs:
    """The service, where this app has it."""
    service: Runs = needed(context.services.runs, "training jobs")
    return service


@reads("Job")
async def load_job(context: Context, job_id: str) -> JobNode | None:
    """The job with that id, for operators; None for everybody else."""
    context.user()
    if not OPERATOR & context.roles:
        return None
    try:
        return JobNode.of(await runs(context).get(job_id))
    except NotFound:
        return None
