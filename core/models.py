"""Published model versions: which there are, which one serves, what each learned from.

Lineage goes by id all the way: a chat reply names its model version, the version's manifest names its job and the
frozen snapshots that the job read, and a snapshot's `sources.parquet` names every tree, message, ranking and review in
it; so "why does the model say this" and "which models learned from this message" are queries. The functions are
blocking and know the object store alone; `Models` is their async face and writes the journal.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core import layout
from core.errors import BadInput, NotFound, OaError
from core.model_records import Lineage, ModelVersion, SnapshotUse
from core.records import now

if TYPE_CHECKING:
    from core.database import Database
    from core.objects import ObjectStore


def list_versions(store: ObjectStore, name: str | None = None) -> list[ModelVersion]:
    """All published versions, or those of one name, newest first."""
    if name is not None and not layout.is_part(name):
        return []
    keys = [item.key for item in store.list(f"models/{name}/" if name else "models/")]
    manifests = [store.get_json(key) for key in keys if key.endswith("/manifest.json") and key.count("/") == 3]
    serving = {each: promoted_version(store, each) for each in {manifest["name"] for manifest in manifests}}
    found = [ModelVersion(each, serving[each["name"]] == each["version"]) for each in manifests]
    return sorted(found, key=lambda each: (each.created_at, each.name, each.version), reverse=True)


def load_version(store: ObjectStore, name: str, version: str) -> ModelVersion:
    """One published version.

    Raises:
        NotFound: (code `NO_MODEL`) there is none; the message names the versions that there are.
    """
    try:
        manifest = store.get_json(layout.model_manifest(name, version))
    except NotFound as error:
        if error.code == "BUCKET_MISSING":
            raise
        there = ", ".join(each.version for each in list_versions(store, name)) or "none"
        message = f"there is no model {name!r} of version {version!r}; versions of that name: {there}"
        raise NotFound(message, code="NO_MODEL") from error
    return ModelVersion(manifest, promoted_version(store, name) == version)


def promoted_version(store: ObjectStore, name: str) -> str | None:
    """The version of `name` that serves; None while none does."""
    pointer = _pointer(store, name)
    return None if pointer is None else str(pointer["version"])


def _pointer(store: ObjectStore, name: str) -> dict[str, Any] | None:
    """What says which version of `name` serves since when."""
    try:
        pointer: dict[str, Any] = store.get_json(layout.promoted(name))
    except NotFound as error:
        if error.code == "BUCKET_MISSING":
            raise
        return None
    return pointer


def promoted_versions(store: ObjectStore) -> list[tuple[str, str]]:
    """Name and version of all that serve, the latest promoted first; one listing call and one read a name."""
    found, after = [], "models/"
    while item := next(store.list("models/", after=after), None):
        name = item.key.split("/")[1]
        if (pointer := _pointer(store, name)) is not None:
            found.append((str(pointer.get("at") or ""), name, str(pointer["version"])))
        after = f"models/{name}/~"
    return [(name, version) for _, name, version in sorted(found, reverse=True)]


def promote(store: ObjectStore, name: str, version: str, *, by: str | None) -> ModelVersion:
    """Make a version the one that serves.

    Raises:
        NotFound: (code `NO_MODEL`) there is no such version.
        OaError: (code `GATE_FAILED`) it was not checked, or a check did not pass.
    """
    found = load_version(store, name, version)
    failed = [check for check, outcome in found.checks.items() if not outcome.get("passed")]
    if failed or not found.checks:
        why = f"did not pass {', '.join(sorted(failed))}" if failed else "was not checked"
        raise OaError(f"{name}@{version} {why}; only a version whose checks all passed may serve", code="GATE_FAILED")
    previous = promoted_version(store, name)
    if previous != version:
        about = {"version": version, "previous": previous, "at": now().isoformat(), "by": by}
        store.put_json(layout.promoted(name), about)
    return ModelVersion(found.manifest, True)


def split_version(model_version: str) -> tuple[str, str]:
    """Name and version of `name@version`, or `BadInput`."""
    name, at, version = model_version.partition("@")
    if not (name and at and version):
        raise BadInput(f"model version {model_version[:80]!r} is malformed; it must be name@version")
    return name, version


def lineage(store: ObjectStore, name: str, version: str) -> Lineage:
    """What a model version came from: its job and what its snapshots hold, counted by kind."""
    found = load_version(store, name, version)
    uses = []
    for dataset in found.datasets:
        kinds = _read_sources(store, dataset, columns=["kind"]).column("kind").to_pylist()
        uses.append(SnapshotUse(dataset["name"], dataset["version"], dataset.get("kind", ""), dict(Counter(kinds))))
    return Lineage(found, found.manifest.get("job_id"), tuple(uses))


def learned_from(store: ObjectStore, source_id: str) -> list[ModelVersion]:
    """The versions that a tree, message, ranking or review went into, newest first.

    Reads the list of sources of every snapshot that a model used, one after the other.
    """
    holds: dict[tuple[str, str], bool] = {}
    found = []
    for model in list_versions(store):
        for dataset in model.datasets:
            key = (dataset["name"], dataset["version"])
            if key not in holds:
                rows = _read_sources(store, dataset, columns=["id"], filters=[("id", "=", source_id)])
                holds[key] = rows.num_rows > 0
        if any(holds[(dataset["name"], dataset["version"])] for dataset in model.datasets):
            found.append(model)
    return found


def sources(
    store: ObjectStore, dataset: Mapping[str, Any], *, first: int, after: int = 0, kind: str | None = None
) -> list[dict[str, str]]:
    """Up to `first` sources (`kind`, `id`, `hash`) of a snapshot behind the first `after` ones, in the order frozen.

    With `kind` (tree, message, ranking or review), those of that kind alone.
    """
    filters = None if kind is None else [("kind", "=", kind)]
    rows: list[dict[str, str]] = _read_sources(store, dataset, filters=filters).slice(after, first).to_pylist()
    return rows


def _read_sources(
    store: ObjectStore, dataset: Mapping[str, Any], columns: Sequence[str] | None = None, filters: Any = None
) -> Any:
    """The sources of a snapshot as an Arrow table; an empty one where the snapshot has been removed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    prefix = layout.dataset(dataset["name"], dataset["version"])
    try:
        data = store.get(f"{prefix}sources.parquet")
    except NotFound:
        return pa.table({column: pa.array([], pa.string()) for column in columns or ("kind", "id", "hash")})
    return pq.read_table(io.BytesIO(data), columns=None if columns is None else list(columns), filters=filters)


class Models:
    """All published models, for async callers; the errors are those of the functions above.

    Args:
        database: the document store, for the journal.
        store: the object store.
    """

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self.database = database
        self.store = store

    async def versions(self, name: str | None = None) -> list[ModelVersion]:
        """See `list_versions`."""
        return await asyncio.to_thread(list_versions, self.store, name)

    async def version(self, name: str, version: str) -> ModelVersion:
        """See `load_version`."""
        return await asyncio.to_thread(load_version, self.store, name, version)

    async def promote(self, name: str, version: str, *, by: str) -> ModelVersion:
        """See `promote`; journaled with what served before."""
        from core import journal

        previous = await asyncio.to_thread(promoted_version, self.store, name)
        found = await asyncio.to_thread(promote, self.store, name, version, by=by)
        if previous != version:
            details = {"version": version, "previous": previous}
            await journal.record(self.database, "promote_model", name, details, by=by)
        return found

    async def published(self, model: str) -> bool:
        """Whether there is a version of the model `name`, or the version `name@version`."""
        name, _, version = model.partition("@")
        return any(version in ("", each.version) for each in await self.versions(name))

    async def lineage(self, name: str, version: str) -> Lineage:
        """See `lineage`."""
        return await asyncio.to_thread(lineage, self.store, name, version)

    async def lineage_of_reply(self, model_version: str | None) -> Lineage | None:
        """What the model version of a chat reply came from; None where it is not, or no longer, published."""
        if not model_version:
            return None
        try:
            return await self.lineage(*split_version(model_version))
        except OaError as error:
            if error.code in ("NO_MODEL", "BAD_INPUT"):
                return None
            raise

    async def lineages_of_replies(self, model_versions: Sequence[str]) -> dict[str, Lineage]:
        """What model versions (`name@version`) came from, those that are published; one is read after the other."""
        found = {each: await self.lineage_of_reply(each) for each in model_versions}
        return {each: lineage for each, lineage in found.items() if lineage is not None}

    async def sources(
        self, name: str, version: str, *, first: int, after: int = 0, kind: str | None = None
    ) -> list[dict[str, str]]:
        """See `sources`."""
        dataset = {"name": name, "version": version}
        return await asyncio.to_thread(sources, self.store, dataset, first=first, after=after, kind=kind)

    async def learned_from(self, source_id: str) -> list[ModelVersion]:
        """See `learned_from`."""
        return await asyncio.to_thread(learned_from, self.store, source_id)
