"""What the mutations on jobs, models and snapshots take and answer: one input and one payload each."""

from __future__ import annotations

import strawberry
from strawberry.scalars import JSON

from .errors import Payload
from .job_types import JobNode
from .keyed import Keyed
from .model_types import ModelNode
from .snapshot_types import SnapshotNode


@strawberry.input(description="A job to run.")
class LaunchJobInput:
    """Input of `launchJob`."""

    spec: JSON = strawberry.field(description="Specification; docs/job-spec.schema.json says what it may hold.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="A request repeated with the same key answers the same job."
    )


@strawberry.input(description="A job to stop.")
class CancelJobInput(Keyed):
    """Input of `cancelJob`."""

    job_id: strawberry.ID = strawberry.field(description="The job.")


@strawberry.input(description="A model version to serve.")
class PromoteModelInput(Keyed):
    """Input of `promoteModel`."""

    name: str = strawberry.field(description="Of the model.")
    version: str = strawberry.field(description="Which version; all of its checks must have passed.")


@strawberry.input(description="A data set to freeze.")
class FreezeSnapshotInput(Keyed):
    """Input of `freezeSnapshot`."""

    kind: str = strawberry.field(description="sft, preference, prompts or trees.")
    name: str = strawberry.field(description="Lower-case letters, digits, . _ -")
    filters: JSON | None = strawberry.field(default=None, description="Which trees and messages; null for the usual.")
    validation_percent: float = strawberry.field(default=10, description="Trees to hold out, in percent, 0 to 90.")
    seed: int = strawberry.field(default=0, description="Of the split.")
    licence: str = strawberry.field(default="Apache-2.0", description="Of the texts, SPDX identifier.")
    anew: bool = strawberry.field(default=False, description="Begin again, where the same was interrupted.")


@strawberry.input(description="A snapshot to fetch.")
class SnapshotDownloadInput(Keyed):
    """Input of `snapshotDownload`."""

    snapshot_id: strawberry.ID = strawberry.field(description="The snapshot.")
    seconds: int = strawberry.field(default=900, description="How long the addresses are good, 60 to 86,400.")


@strawberry.type(description="The job.")
class LaunchJobPayload(Payload):
    """Payload of `launchJob`."""

    job: JobNode | None = strawberry.field(default=None, description="The job; follow it with `jobEvents`.")


@strawberry.type(description="The job as it stands.")
class CancelJobPayload(Payload):
    """Payload of `cancelJob`."""

    job: JobNode | None = strawberry.field(default=None, description="The job.")


@strawberry.type(description="The version that serves now.")
class PromoteModelPayload(Payload):
    """Payload of `promoteModel`."""

    model: ModelNode | None = strawberry.field(default=None, description="The version.")


@strawberry.type(description="The data set.")
class FreezeSnapshotPayload(Payload):
    """Payload of `freezeSnapshot`."""

    snapshot: SnapshotNode | None = strawberry.field(default=None, description="The snapshot.")


@strawberry.type(description="One file of a snapshot.")
class SnapshotFile:
    """A file and where to get it."""

    path: str = strawberry.field(description="Its name in the snapshot.")
    bytes: float | None = strawberry.field(description="Its size; null of the manifest.")
    sha256: str | None = strawberry.field(description="Of its bytes, 64 hexadecimal digits; null of the manifest.")
    url: str = strawberry.field(description="Where to read it, without any further sign-in, until the time is up.")


@strawberry.type(description="Where the files are.")
class SnapshotDownloadPayload(Payload):
    """Payload of `snapshotDownload`."""

    files: list[SnapshotFile] | None = strawberry.field(default=None, description="A handful, the manifest last.")
