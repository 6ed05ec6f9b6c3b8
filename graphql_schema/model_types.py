"""Published models, and what they came from."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry
from strawberry.scalars import JSON

from core.errors import NotFound
from core.model_records import Lineage, ModelVersion, SnapshotUse

from .context import Context, Info, needed
from .enums import stored
from .nodes import reads
from .relay import After, Connection, First, Node, connection, decode_cursor, global_id, page_size

if TYPE_CHECKING:
    from core.models import Models


@strawberry.type(name="Model", description="One published version of a model.")
class ModelNode(Node):
    """A version."""

    record: strawberry.Private[ModelVersion]
    name: str = strawberry.field(description="Name of the model.")
    version: str = strawberry.field(description="Which version.")
    label: str = strawberry.field(description="`name@version`, as chats name it.")
    promoted: bool = strawberry.field(description="Whether it is the version of its name that serves.")
    created_at: str = strawberry.field(description="When it was published, RFC 3339.")
    base: str = strawberry.field(description="What it was trained from.")
    context_length: int | None = strawberry.field(description="Tokens of a conversation that it can read.")
    licence: str | None = strawberry.field(description="SPDX identifier.")
    job_id: strawberry.ID | None = strawberry.field(description="The job that made it.")
    checks: JSON = strawberry.field(description="What was checked before it was published, by name, with numbers.")
    metrics: JSON = strawberry.field(description="Numbers of each training stage.")

    @strawberry.field(description="What it came from.")
    async def lineage(self, info: Info) -> LineageNode:
        """Its job and the snapshots that the job read."""
        return LineageNode.of(await models(info.context).lineage(self.record.name, self.record.version))

    @strawberry.field(description="Whether it, or its base, learned from contributions that are gone since.")
    async def contains_deleted_contributions(self, info: Info) -> bool:
        """Whether a snapshot of its lineage is marked."""
        return bool(await info.context.loaders.marked.load(self.record.label))

    @strawberry.field(description="Whether it, or its base, learned from messages that have lost consent since.")
    async def contains_withdrawn_consent(self, info: Info) -> bool:
        """Whether a snapshot of its lineage is marked so."""
        return bool(await info.context.loaders.unconsented.load(self.record.label))

    @strawberry.field(
        description="Messages that it, or its base, learned from and that have lost consent to training since; "
        "one in several snapshots counts in each."
    )
    async def withdrawn_consent(self, info: Info) -> int:
        """Their number."""
        return await info.context.loaders.unconsented.load(self.record.label)

    @classmethod
    def of(cls, record: ModelVersion) -> ModelNode:
        """The version."""
        manifest, job_id = record.manifest, record.manifest.get("job_id")
        return cls(
            id=global_id("Model", record.label),
            record=record,
            name=record.name,
            version=record.version,
            label=record.label,
            promoted=record.promoted,
            created_at=record.created_at,
            base=str(manifest.get("base", "")),
            context_length=manifest.get("context_length"),
            licence=manifest.get("licence"),
            job_id=None if not job_id else global_id("Job", job_id),
            checks=JSON(record.checks),
            metrics=JSON(manifest.get("metrics") or {}),
        )


@strawberry.type(name="SnapshotSource", description="Something that people did which went into a snapshot.")
class SnapshotSourceNode:
    """A source."""

    kind: str = strawberry.field(description="tree, message, ranking or review.")
    source_id: strawberry.ID = strawberry.field(description="Global id of a tree or message; else its own id.")
    hash: str = strawberry.field(description="Of its content when it was frozen.")

    @classmethod
    def of(cls, source: dict[str, str]) -> SnapshotSourceNode:
        """The source."""
        kind, own = source["kind"], source["id"]
        known = {"tree": "Tree", "message": "Message"}.get(kind)
        return cls(kind=kind, source_id=global_id(known, own) if known else strawberry.ID(own), hash=source["hash"])


@strawberry.enum(description="What a snapshot was made from.")
class SourceKind(Enum):
    """Kinds of source, by their names in `sources.parquet`."""

    TREE = strawberry.enum_value("tree", description="A conversation tree.")
    MESSAGE = strawberry.enum_value("message", description="A message of one.")
    RANKING = strawberry.enum_value("ranking", description="What one person thought of one set of replies.")
    REVIEW = strawberry.enum_value("review", description="What one person thought of one message.")


@strawberry.type(name="SnapshotUse", description="A snapshot that a model learned from.")
class SnapshotUseNode:
    """A snapshot, and how much is in it."""

    record: strawberry.Private[SnapshotUse]
    name: str = strawberry.field(description="Of the snapshot.")
    version: str = strawberry.field(description="Of the snapshot.")
    kind: str = strawberry.field(description="sft, preference or prompts.")
    trees: int = strawberry.field(description="Trees in it.")
    messages: int = strawberry.field(description="Messages in it.")
    rankings: int = strawberry.field(description="Rankings in it.")
    reviews: int = strawberry.field(description="Reviews in it.")

    @strawberry.field(description="Everything that went into it, in the order frozen.")
    async def sources(
        self,
        info: Info,
        first: First,
        after: After = None,
        kind: Annotated[SourceKind | None, strawberry.argument(description="Those of this kind alone.")] = None,
    ) -> Connection[SnapshotSourceNode]:
        """A page of the snapshot's sources; the file never changes, so a place in it is a good cursor."""
        wanted = None if kind is None else stored(kind)
        size, last = page_size(first), decode_cursor(after)
        start = int(last) if last is not None and last.isdecimal() else 0
        rows = await models(info.context).sources(self.name, self.version, first=size + 1, after=start, kind=wanted)
        placed = list(enumerate(rows[:size], start + 1))
        return connection(
            placed,
            key=lambda row: str(row[0]),
            has_next=len(rows) > size,
            node=lambda row: SnapshotSourceNode.of(row[1]),
        )

    @classmethod
    def of(cls, record: SnapshotUse) -> SnapshotUseNode:
        """The snapshot."""
        counts = {plural: record.sources.get(kind, 0) for kind, plural in PLURALS.items()}
        return cls(record=record, name=record.name, version=record.version, kind=record.kind, **counts)


PLURALS = {"tree": "trees", "message": "messages", "ranking": "rankings", "review": "reviews"}


@strawberry.type(name="Lineage", description="What a model version came from: job, snapshots, what people did.")
class LineageNode:
    """From a model to its data."""

    model: ModelNode = strawberry.field(description="The model version.")
    job_id: strawberry.ID | None = strawberry.field(description="The job that made it.")
    snapshots: list[SnapshotUseNode] = strawberry.field(description="What the job read, in the order of its stages.")

    @classmethod
    def of(cls, record: Lineage) -> LineageNode:
        """The lineage."""
        return cls(
            model=ModelNode.of(record.model),
            job_id=None if not record.job_id else global_id("Job", record.job_id),
            snapshots=[SnapshotUseNode.of(use) for use in record.snapshots],
        )


def models(context: Context) -> Models:
    """The service, where this app has it."""
    service: Models = needed(context.services.models, "models")
    return service


@reads("Model")
async def load_model(context: Context, label: str) -> ModelNode | None:
    """The version that `label` (`name@version`) names."""
    context.user()
    name, _, version = label.partition("@")
    try:
        return ModelNode.of(await models(context).version(name, version))
    except NotFound as error:
        if error.code == "BUCKET_MISSING":
            raise
        return None
