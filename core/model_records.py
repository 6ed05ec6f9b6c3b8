"""Published model versions and what they came from, as plain records. Knows no store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelVersion:
    """A published version.

    Attributes:
        manifest: as published (docs/architecture.md, Model).
        promoted: whether it is the one of its name that serves.
    """

    manifest: Mapping[str, Any]
    promoted: bool

    @property
    def name(self) -> str:
        """Of the model."""
        return str(self.manifest["name"])

    @property
    def version(self) -> str:
        """Of the model."""
        return str(self.manifest["version"])

    @property
    def label(self) -> str:
        """`name@version`, as serving nodes say it."""
        return f"{self.name}@{self.version}"

    @property
    def created_at(self) -> str:
        """RFC 3339."""
        return str(self.manifest.get("created_at", ""))

    @property
    def checks(self) -> Mapping[str, Mapping[str, Any]]:
        """What was checked before it was published, by name; each says whether it `passed`."""
        return self.manifest.get("checks") or {}

    @property
    def datasets(self) -> Sequence[Mapping[str, str]]:
        """The snapshots that its job read: `name`, `version`, `kind`, `content_hash`."""
        return self.manifest.get("datasets") or ()


@dataclass(frozen=True)
class SnapshotUse:
    """A snapshot that a model learned from, and how many sources of each kind it holds."""

    name: str
    version: str
    kind: str
    sources: Mapping[str, int]


@dataclass(frozen=True)
class Lineage:
    """What a model version came from."""

    model: ModelVersion
    job_id: str | None
    snapshots: tuple[SnapshotUse, ...]


def marked_models(versions: Iterable[ModelVersion], marked: Iterable[str]) -> set[str]:
    """Models (`name@version`) that learned from a marked snapshot, or were trained from such a model."""
    marked, models = set(marked), list(versions)
    holding = {
        each.label for each in models if any(f"{use['name']}@{use['version']}" in marked for use in each.datasets)
    }
    while more := {each.label for each in models if each.manifest.get("base") in holding} - holding:
        holding |= more
    return holding
