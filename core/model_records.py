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


def marked_models(versions: Iterable[ModelVersion], marked: Mapping[str, int]) -> dict[str, int]:
    """Models (`name@version`) that learned from a marked snapshot, or were trained from such a model -> how many marked
    sources those snapshots have.

    Args:
        marked: snapshot (`name@version`) -> how many of its sources are marked.
    """
    models = {each.label: each for each in versions}
    counts = {label: sum(marked.get(each, 0) for each in _learned(label, models)) for label in models}
    return {label: count for label, count in counts.items() if count}


def _learned(label: str, models: Mapping[str, ModelVersion]) -> set[str]:
    """Snapshots that a model and those that it was trained from read."""
    found, seen = set[str](), set[str]()
    while label in models and label not in seen:
        seen.add(label)
        found |= {f"{use['name']}@{use['version']}" for use in models[label].datasets}
        label = str(models[label].manifest.get("base"))
    return found
