"""Frozen data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import strawberry
from strawberry.scalars import JSON

from .context import Info
from .relay import Node, global_id


@strawberry.type(name="Snapshot", description="A frozen data set: never changed, named by its content.")
class SnapshotNode(Node):
    """A snapshot."""

    name: str = strawberry.field(description="Of the snapshot.")
    version: str = strawberry.field(description="From the hash of its rows and settings.")
    kind: str = strawberry.field(description="sft, preference, prompts or trees.")
    created_at: str = strawberry.field(description="When it was frozen, RFC 3339.")
    licence: str | None = strawberry.field(description="Of its texts, SPDX identifier.")
    rows: int = strawberry.field(description="Rows in all.")
    trees: int = strawberry.field(description="Trees that gave rows.")
    train: int = strawberry.field(description="Rows to train on.")
    validation: int = strawberry.field(description="Rows held out.")
    by_lang: JSON = strawberry.field(description="Rows by language.")
    filters: JSON = strawberry.field(description="What decided which trees and messages are in.")
    agreement: JSON = strawberry.field(description="How far people agreed about what is in it.")
    consent: JSON = strawberry.field(description="What the people behind its rows agreed to.")
    seed: int = strawberry.field(description="Of the split.")
    validation_percent: float = strawberry.field(description="Of the trees, held out.")
    files_hash: str = strawberry.field(description="SHA-256 over its files.")

    @strawberry.field(description="Whether it holds contributions of people who left since, or that were purged.")
    async def contains_deleted_contributions(self, info: Info) -> bool:
        """Whether it is marked."""
        return bool(await info.context.loaders.gone.load(f"{self.name}@{self.version}"))

    @strawberry.field(description="Messages, reviews and rankings in it that are gone since.")
    async def deleted_contributions(self, info: Info) -> int:
        """Their number."""
        return await info.context.loaders.gone.load(f"{self.name}@{self.version}") or 0

    @strawberry.field(description="Whether consent to training was taken back since for messages in it.")
    async def contains_withdrawn_consent(self, info: Info) -> bool:
        """Whether it is marked so."""
        return bool(await info.context.loaders.withdrawn.load(f"{self.name}@{self.version}"))

    @strawberry.field(description="Messages in it for which consent to training was taken back since.")
    async def withdrawn_consent(self, info: Info) -> int:
        """Their number."""
        return await info.context.loaders.withdrawn.load(f"{self.name}@{self.version}") or 0

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> SnapshotNode:
        """The snapshot of a manifest."""
        counts = manifest.get("counts") or {}
        return cls(
            id=global_id("Snapshot", snapshot_label(manifest)),
            name=manifest["name"],
            version=manifest["version"],
            kind=manifest["kind"],
            created_at=manifest["created_at"],
            licence=manifest.get("licence"),
            rows=counts.get("rows", 0),
            trees=counts.get("trees", 0),
            train=counts.get("train", 0),
            validation=counts.get("validation", 0),
            by_lang=JSON(counts.get("by_lang") or {}),
            filters=JSON(manifest.get("filters") or {}),
            agreement=JSON(manifest.get("agreement") or {}),
            consent=JSON(manifest.get("consent") or {}),
            seed=manifest.get("seed", 0),
            validation_percent=manifest.get("validation_percent", 0),
            files_hash=manifest["content_hash"],
        )


def snapshot_label(manifest: Mapping[str, Any]) -> str:
    """`name@version`."""
    return f"{manifest['name']}@{manifest['version']}"
