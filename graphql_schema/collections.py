"""Collections: which there are, their rules, and how admins change them while all runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from strawberry.scalars import JSON

from core.collection_records import LIMITS, CollectionRecord
from core.config import CollectionConfig
from core.errors import BadInput, NotFound
from core.pools import DEFAULT

from .context import Context, Info
from .enums import stored
from .errors import Payload, mutation
from .keyed import Keyed
from .nodes import reads
from .permissions import Admin, SignedIn
from .relay import After, Connection, First, Node, connection, decode_cursor, global_id, page_size, raw_id
from .tree_types import TreeNode

if TYPE_CHECKING:
    from core.agreement_over_time import Sums

CollectionId = Annotated[
    strawberry.ID | None, strawberry.argument(description="A collection; the default one where none is named.")
]


@strawberry.enum(description="Lengths of time that agreement is summed up over, in UTC.")
class AgreementPeriod(Enum):
    """Periods."""

    DAY = strawberry.enum_value("day", description="A day, such as 2026-11-27.")
    WEEK = strawberry.enum_value("week", description="A week from Monday, such as 2026-W48.")
    MONTH = strawberry.enum_value("month", description="A month, such as 2026-11.")


Period = Annotated[AgreementPeriod, strawberry.argument(description="Length of time.")]


@strawberry.type(description="How far those who ranked agreed, over the trees that ended in one period.")
class PeriodAgreement:
    """One period."""

    period: str = strawberry.field(description="Its name, such as 2026-11-27, 2026-W48 or 2026-11.")
    alpha: float | None = strawberry.field(
        description="Krippendorff's alpha, ordinal: 1 is full agreement, 0 chance; null where nothing can disagree."
    )
    trees: int = strawberry.field(description="Trees that ended with rankings to compare.")
    sets: int = strawberry.field(description="Sets of siblings that were ranked in them.")
    rankings: int = strawberry.field(description="Rankings of these.")

    @classmethod
    def of(cls, period: str, sums: Sums) -> PeriodAgreement:
        """The sums of a period."""
        return cls(period=period, alpha=sums.alpha, trees=sums.trees, sets=sums.sets, rankings=sums.rankings)


@strawberry.type(name="Collection", description="A collection of conversation trees with rules of its own.")
class CollectionNode(Node):
    """A collection."""

    name: str = strawberry.field(description="Its name.")
    langs: list[str] = strawberry.field(description="Languages that are collected; empty for all.")
    open: bool = strawberry.field(description="Whether tasks are handed out.")
    version: int = strawberry.field(description="Grows with every change; say it when you change the collection.")
    created_at: datetime | None = strawberry.field(description="When it was made; null for the default one.")
    config: JSON = strawberry.field(description="Every setting and its value, see docs/collections.md.")
    changes: JSON = strawberry.field(description="Of these, what differs from the deployment's.")

    @strawberry.field(description="How far rankers agreed, by the time in which trees ended, newest first.")
    async def agreement(
        self, info: Info, period: Period, first: First, after: After = None
    ) -> Connection[PeriodAgreement]:
        """A page of periods in which something was ranked."""
        found, more = await info.context.services.collection.agreement(
            raw_id(self.id, "Collection"), stored(period), decode_cursor(after), page_size(first)
        )
        return connection(
            found, key=lambda each: each[0], has_next=more, node=lambda each: PeriodAgreement.of(*each)
        )  # fmt: skip

    @classmethod
    def of(cls, record: CollectionRecord, rules: CollectionConfig) -> CollectionNode:
        """The collection."""
        return cls(
            id=global_id("Collection", record.id), name=record.name, langs=list(record.langs), open=record.open,
            version=record.version, created_at=record.created_at if record.version else None,
            config=JSON(asdict(rules)), changes=JSON(record.changes),
        )  # fmt: skip


@strawberry.input(description="A new collection.")
class CreateCollectionInput(Keyed):
    """Input of `createCollection`."""

    key: str = strawberry.field(description="Its id from now on: 2 to 32 of a-z, 0-9 and '-'.")
    name: str = strawberry.field(description="Its name, for people.")
    langs: list[str] = strawberry.field(default_factory=list, description="Languages to collect; none for all.")
    config: JSON | None = strawberry.field(default=None, description="Settings that differ from the deployment's.")


@strawberry.input(description="A change of a collection; what is left out stays.")
class UpdateCollectionInput(Keyed):
    """Input of `updateCollection`."""

    collection_id: strawberry.ID = strawberry.field(description="The collection.")
    version: int = strawberry.field(description="The version that you saw.")
    name: str | None = strawberry.field(default=None, description="Its new name.")
    langs: list[str] | None = strawberry.field(default=None, description="Languages to collect; an empty list for all.")
    config: JSON | None = strawberry.field(
        default=None, description="Settings to change; null as a value goes back to the deployment's."
    )
    open: bool | None = strawberry.field(default=None, description="Whether tasks are handed out.")


@strawberry.input(description="Limits of one tree; what is left out stays.")
class LimitTreeInput(Keyed):
    """Input of `limitTree`."""

    tree_id: strawberry.ID = strawberry.field(description="The tree.")
    goal_size: int | None = strawberry.field(default=None, description="Accepted messages at which it stops growing.")
    max_depth: int | None = strawberry.field(default=None, description="Deepest level of a message; the root is 0.")
    max_children: int | None = strawberry.field(default=None, description="Replies wanted under one prompt.")
    num_rankings: int | None = strawberry.field(default=None, description="Rankings wanted of each set of siblings.")
    num_reviews_prompt: int | None = strawberry.field(default=None, description="Reviews of its prompt (parity mode).")
    num_reviews_reply: int | None = strawberry.field(default=None, description="Reviews of a reply (parity mode).")


@strawberry.type(description="A new collection.")
class CreateCollectionPayload(Payload):
    """Payload of `createCollection`."""

    collection: CollectionNode | None = strawberry.field(default=None, description="The collection.")


@strawberry.type(description="What became of a change.")
class UpdateCollectionPayload(Payload):
    """Payload of `updateCollection`."""

    collection: CollectionNode | None = strawberry.field(default=None, description="The collection as it is now.")


@strawberry.type(description="What became of a tree's limits.")
class LimitTreePayload(Payload):
    """Payload of `limitTree`."""

    tree: TreeNode | None = strawberry.field(default=None, description="The tree as it is now.")


@strawberry.type
class CollectionsQuery:
    """Which collections there are."""

    @strawberry.field(description="All collections, the default one first.", permission_classes=[SignedIn])
    async def collections(self, info: Info) -> list[CollectionNode]:
        """A deployment has a hundred at most."""
        collection = info.context.services.collection
        return [CollectionNode.of(each, collection.rules_of(each)) for each in await collection.collections()]


@strawberry.type
class CollectionsMutation:
    """What admins do to collections and to the limits of trees."""

    @mutation(CreateCollectionPayload, Admin, "Make a collection with rules of its own.")
    async def create_collection(self, info: Info, input: CreateCollectionInput) -> CreateCollectionPayload:
        """Make it."""
        collection = info.context.services.collection
        made = await collection.create_collection(
            info.context.user(), input.key, input.name, input.langs, _settings(input.config) or {}
        )
        return CreateCollectionPayload(collection=CollectionNode.of(made, collection.rules_of(made)))

    @mutation(UpdateCollectionPayload, Admin, "Change a collection's rules; in force everywhere within seconds.")
    async def update_collection(self, info: Info, input: UpdateCollectionInput) -> UpdateCollectionPayload:
        """Change it, if it is still as the admin saw it."""
        collection = info.context.services.collection
        key = raw_id(input.collection_id, "Collection", path=("collection_id",))
        changed = await collection.update_collection(
            info.context.user(), key, input.version, name=input.name, langs=input.langs,
            config=_settings(input.config), is_open=input.open,
        )  # fmt: skip
        return UpdateCollectionPayload(collection=CollectionNode.of(changed, collection.rules_of(changed)))

    @mutation(LimitTreePayload, Admin, "Change limits of one tree, whatever its collection says.")
    async def limit_tree(self, info: Info, input: LimitTreeInput) -> LimitTreePayload:
        """Change them and settle the tree."""
        tree_id = raw_id(input.tree_id, "Tree", path=("tree_id",))
        limits = {name: value for name in LIMITS if (value := getattr(input, name)) is not None}
        tree = await info.context.services.collection.limit_tree(info.context.user(), tree_id, limits)
        return LimitTreePayload(tree=TreeNode.of(tree))


def collection_key(identity: strawberry.ID | None) -> str:
    """The collection that an optional id names."""
    return DEFAULT if identity is None else raw_id(identity, "Collection", path=("collection_id",))


def _settings(value: Any) -> dict[str, Any] | None:
    if value is None or isinstance(value, dict):
        return value
    raise BadInput(f"config is {json.dumps(value)[:40]}; it must be an object of settings", path=("config",))


@reads("Collection")
async def load_collection(context: Context, key: str) -> CollectionNode | None:
    """The collection of that id, for whoever is signed in."""
    context.user()
    collection = context.services.collection
    try:
        found = await collection.find_collection(key)
    except NotFound:
        return None
    return CollectionNode.of(found, collection.rules_of(found))
