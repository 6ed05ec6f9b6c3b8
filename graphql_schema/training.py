"""Training's part of the schema: jobs, published models, frozen snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import strawberry

from core.errors import BadInput
from core.job_records import Job

from .context import Context, Info, needed
from .errors import mutation
from .job_types import JobEventNode, JobNode, runs
from .model_types import ModelNode, models
from .nodes import reads
from .permissions import OPERATOR, Admin, Operator, SignedIn
from .relay import (
    After,
    Connection,
    First,
    connection,
    decode_cursor,
    global_id,
    page_size,
    parse_id,
    raw_id,
    slice_connection,
)
from .snapshot_types import SnapshotNode, snapshot_label
from .training_inputs import (
    CancelJobInput,
    CancelJobPayload,
    FreezeSnapshotInput,
    FreezeSnapshotPayload,
    LaunchJobInput,
    LaunchJobPayload,
    PromoteModelInput,
    PromoteModelPayload,
    SnapshotDownloadInput,
    SnapshotDownloadPayload,
    SnapshotFile,
)

if TYPE_CHECKING:
    from strawberry.dataloader import DataLoader

    from core.model_records import ModelVersion
    from core.objects import ObjectStore

    from .loaders import Reads

T = TypeVar("T")

Gone = Annotated[
    bool | None, strawberry.argument(description="Only those that hold contributions deleted since, or only others.")
]
NoConsent = Annotated[
    bool | None,
    strawberry.argument(description="Only those that hold messages that have lost consent since, or only others."),
]
JobId = Annotated[strawberry.ID, strawberry.argument(description="A job.")]
OfName = Annotated[str | None, strawberry.argument(description="Only those of this name.")]
AfterEvent = Annotated[str | None, strawberry.argument(description="Cursor of the last event that you have.")]
SourceId = Annotated[strawberry.ID, strawberry.argument(description="A tree, a message, or a reply of yours.")]


@strawberry.type
class TrainingQuery:
    """Queries about jobs, models and snapshots."""

    @strawberry.field(description="Training jobs, newest first.", permission_classes=[Operator])
    async def jobs(self, info: Info, first: First, after: After = None) -> Connection[JobNode]:
        """A page of jobs."""
        size = page_size(first)
        found = await runs(info.context).page(first=size + 1, after=decode_cursor(after))
        return connection(found[:size], key=lambda job: job.by_time, has_next=len(found) > size, node=JobNode.of)

    @strawberry.field(description="A training job as it stands now.", permission_classes=[Operator])
    async def job(self, info: Info, id: JobId) -> JobNode | None:
        """The job; an error where there is none."""
        return JobNode.of(await runs(info.context).get(raw_id(id, "Job")))

    @strawberry.field(description="Published model versions, newest first.", permission_classes=[SignedIn])
    async def models(
        self,
        info: Info,
        first: First,
        after: After = None,
        name: OfName = None,
        contains_deleted: Gone = None,
        contains_withdrawn_consent: NoConsent = None,
    ) -> Connection[ModelNode]:
        """A page of versions."""
        found, loaders = await models(info.context).versions(name), info.context.loaders
        found = await _marked(found, _label, loaders.marked, contains_deleted)
        found = await _marked(found, _label, loaders.unconsented, contains_withdrawn_consent)
        return slice_connection(found, first, after, key=_label, node=ModelNode.of)

    @strawberry.field(
        description="Which model versions learned from a tree or message, newest first; the reverse of `lineage`.",
        permission_classes=[SignedIn],
    )
    async def learned_from(
        self, info: Info, source_id: SourceId, first: First, after: After = None
    ) -> Connection[ModelNode]:
        """The versions whose snapshots hold the source."""
        found = await models(info.context).learned_from(await _source(info.context, source_id))
        return slice_connection(found, first, after, key=_label, node=ModelNode.of)

    @strawberry.field(description="Frozen data sets, newest first.", permission_classes=[Operator])
    async def snapshots(
        self,
        info: Info,
        first: First,
        after: After = None,
        name: OfName = None,
        contains_deleted: Gone = None,
        contains_withdrawn_consent: NoConsent = None,
    ) -> Connection[SnapshotNode]:
        """A page of snapshots."""
        from core.snapshots import list_snapshots

        found = await asyncio.to_thread(list_snapshots, _store(info.context), name)
        loaders = info.context.loaders
        found = await _marked(found, snapshot_label, loaders.gone, contains_deleted)
        found = await _marked(found, snapshot_label, loaders.withdrawn, contains_withdrawn_consent)
        return slice_connection(found, first, after, key=snapshot_label, node=SnapshotNode.of)


@strawberry.type
class TrainingMutation:
    """Mutations of jobs, models and snapshots."""

    @mutation(LaunchJobPayload, Operator, "Ask for a training job on frozen snapshots.")
    async def launch_job(self, info: Info, input: LaunchJobInput) -> LaunchJobPayload:
        """Write the job down for a worker to take."""
        try:
            job = await runs(info.context).launch(
                input.spec, by=info.context.user().id, idempotency_key=input.idempotency_key
            )
        except BadInput as error:
            if error.code != "BAD_SPEC":
                raise
            raise BadInput(error.message, code=error.code, path=("spec", *error.path)) from error
        return LaunchJobPayload(job=JobNode.of(job))

    @mutation(CancelJobPayload, Operator, "Ask a job to stop; a finished one stays as it is.")
    async def cancel_job(self, info: Info, input: CancelJobInput) -> CancelJobPayload:
        """Tell the worker."""
        job_id = raw_id(input.job_id, "Job", path=("job_id",))
        return CancelJobPayload(job=JobNode.of(await runs(info.context).cancel(job_id, by=info.context.user().id)))

    @mutation(PromoteModelPayload, Admin, "Make a model version the one of its name that serves.")
    async def promote_model(self, info: Info, input: PromoteModelInput) -> PromoteModelPayload:
        """Point serving nodes at the version, if its checks passed."""
        found = await models(info.context).promote(input.name, input.version, by=info.context.user().id)
        return PromoteModelPayload(model=ModelNode.of(found))

    @mutation(FreezeSnapshotPayload, Admin, "Freeze the trees as they are now; the same content, the same version.")
    async def freeze_snapshot(self, info: Info, input: FreezeSnapshotInput) -> FreezeSnapshotPayload:
        """Write the snapshot."""
        from core.snapshots import freeze

        filters: Any = {} if input.filters is None else input.filters
        if not isinstance(filters, dict):
            raise BadInput(f"filters is {filters!r}; it must be an object", path=("filters",))
        manifest = await freeze(
            info.context.services.database,
            _store(info.context),
            kind=input.kind,
            name=input.name,
            filters=await _own_collections(info.context, filters),
            validation_percent=input.validation_percent,
            seed=input.seed,
            licence=input.licence,
            anew=input.anew,
        )
        return FreezeSnapshotPayload(snapshot=SnapshotNode.of(manifest))

    @mutation(SnapshotDownloadPayload, Operator, "Addresses from which a snapshot's files can be read for a while.")
    async def snapshot_download(self, info: Info, input: SnapshotDownloadInput) -> SnapshotDownloadPayload:
        """Sign them."""
        from core.snapshots import load_manifest, signed_files

        name, _, version = raw_id(input.snapshot_id, "Snapshot", path=("snapshot_id",)).partition("@")
        store = _store(info.context)
        about = await asyncio.to_thread(load_manifest, store, name, version)
        files = await asyncio.to_thread(signed_files, store, about, input.seconds)
        return SnapshotDownloadPayload(files=[SnapshotFile(**each) for each in files])


@strawberry.type
class TrainingSubscription:
    """Subscriptions of jobs."""

    @strawberry.subscription(
        description="What a job says, from the start or behind `after`, until its end; the last event has the job.",
        permission_classes=[Operator],
    )
    async def job_events(
        self, info: Info, job_id: JobId, after: AfterEvent = None
    ) -> AsyncGenerator[JobEventNode, None]:
        """Follow one job."""
        async for event in runs(info.context).events(raw_id(job_id, "Job", path=("job_id",)), after):
            yield JobEventNode.end(event) if isinstance(event, Job) else JobEventNode.of(event)


def _label(version: ModelVersion) -> str:
    return version.label


async def _marked(
    found: list[T], label: Callable[[T], str], loader: Reads[int] | DataLoader[str, int], wanted: bool | None
) -> list[T]:
    """Those of which the loader counts some marked sources, or those without; all where neither is wanted."""
    if wanted is None:
        return found
    counts = await loader.load_many([label(each) for each in found])
    return [each for each, count in zip(found, counts, strict=True) if bool(count) == wanted]


async def _source(context: Context, source_id: str) -> str:
    """The own id of a tree or message; of a rated chat reply, that of the tree that it went into."""
    kind, own = parse_id(source_id, path=("source_id",))
    if kind not in ("Tree", "Message", "ChatMessage"):
        raise BadInput(
            f"source_id is the id of a {kind}; it must be of a Tree, Message or ChatMessage", path=("source_id",)
        )
    if kind != "ChatMessage":
        return own
    message = await needed(context.services.chats, "chats").message(context.user().id, own)
    return str(message.tree_id or own)


async def _own_collections(context: Context, filters: dict[str, Any]) -> dict[str, Any]:
    """`filters` with collections' own ids, where they may be named by those of `Collection` too; each must be there."""
    named = filters.get("collections")
    if not isinstance(named, list):
        return filters
    own = {str(global_id("Collection", each.id)): each.id for each in await context.services.collection.collections()}
    found = [own.get(each, each) for each in named if isinstance(each, str)]
    if unknown := [each for each in found if each not in own.values()]:
        message = f"there is no collection {unknown[0][:60]!r}; one or more of: {', '.join(own.values())}"
        raise BadInput(message, path=("filters", "collections"))
    return filters | {"collections": found}


def _store(context: Context) -> ObjectStore:
    return needed(context.services.store, "snapshots")


@reads("Snapshot")
async def load_snapshot(context: Context, label: str) -> SnapshotNode | None:
    """The snapshot that `label` (`name@version`) names, for operators."""
    from core.errors import NotFound
    from core.snapshots import load_manifest

    context.user()
    name, _, version = label.partition("@")
    if not OPERATOR & context.roles:
        return None
    try:
        manifest: dict[str, Any] = await asyncio.to_thread(load_manifest, _store(context), name, version)
    except NotFound as error:
        if error.code == "BUCKET_MISSING":
            raise
        return None
    return SnapshotNode.of(manifest)
