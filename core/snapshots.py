"""Frozen data sets: `freeze` writes one from the trees of the document store to the object store, for good.

Knows the files of a snapshot (docs/architecture.md, Seams): `train.parquet`, `validation.parquet`, `sources.parquet`
(every tree, message, ranking and review that went into it, with a hash), and `manifest.json`, which is written last.
What goes in is read by `core.snapshot_reading` into parts, of which `core.snapshot_files` makes the files; how far that
is, `core.freezes` keeps. Memory does not grow with the data, a freeze that was killed goes on, and the same content,
filters and seed give the same version, killed or not.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo.errors import PyMongoError

from core import layout, manifest, snapshot_members
from core.database import Database, aware, unavailable
from core.errors import BadInput, NotFound
from core.freezes import UnderWay, under_way
from core.objects import ObjectStore
from core.propagation import mark_fresh
from core.records import now
from core.scratch import scratch_folder
from core.snapshot_files import make_files
from core.snapshot_filters import CHAT, Filters, parse_filters
from core.snapshot_reading import Tally, list_trees, read_all
from core.snapshot_rows import KINDS

SLUG = re.compile(r"^[a-z0-9][a-z0-9._-]{0,62}$")


@dataclass
class FreezeProgress:
    """How far a freeze is: trees looked at of all, and rows found; `resumed` trees were when this run began."""

    trees: int = 0
    total: int = 0
    rows: int = 0
    resumed: int = 0


async def freeze(
    database: Database,
    store: ObjectStore,
    *,
    kind: str,
    name: str,
    filters: Mapping[str, Any] | None = None,
    validation_percent: float = 10,
    seed: int = 0,
    licence: str = "Apache-2.0",
    anew: bool = False,
    progress: Callable[[FreezeProgress], None] | None = None,
) -> dict[str, Any]:
    """Freeze the trees as they are now into `datasets/<name>/<version>/` and return the manifest.

    The version is the first 12 hex digits of the hash of rows, sources and settings: freezing the same again finds
    that it is there and returns its manifest unchanged. The split is by tree, from the hash of seed and tree id, so a
    tree stays on its side as the data grow; when none falls on the validation side the tree with the lowest hash goes.

    One that was interrupted goes on when the same is frozen again within half a day, unless something was erased or a
    consent changed since. In it are the trees that were there when it began, each as it was when it was read.

    Args:
        database: where the trees are.
        store: where the snapshot goes.
        kind: `sft`, `preference`, `prompts` or `trees`.
        name: of the snapshot, lower case.
        filters: the fields of `core.snapshot_filters.Filters`.
        validation_percent: of the trees, from 0 to 90.
        seed: of the split.
        licence: of the texts, an SPDX identifier.
        anew: forget one that was interrupted.
        progress: called after each batch of trees.

    Raises:
        BadInput: a setting is wrong, or nothing passes the filters.
        Conflict: another process has begun or taken over the same.
    """
    chosen = parse_filters(filters)
    _check(kind, name, validation_percent, seed)
    settings = {
        "kind": kind, "filters": chosen.as_dict(), "validation_percent": validation_percent, "seed": seed,
        "licence": licence,
    }  # fmt: skip
    database = aware(database)
    try:
        with scratch_folder("oa-snapshot-") as folder:
            async with under_way(database, store, name, settings, folder, anew=anew) as run:
                tally = await _read(run, database, settings, chosen, progress)
                return await _made(run, database, store, name, settings, chosen, tally)
    except PyMongoError as error:
        raise unavailable(error) from error


async def _made(
    run: UnderWay, database: Database, store: ObjectStore, name: str, settings: Mapping[str, Any], filters: Filters,
    tally: Tally,
) -> dict[str, Any]:  # fmt: skip
    """Make the snapshot of the parts, and publish it; its manifest."""
    held_out = tally.held_out(settings["validation_percent"] * 10_000)
    files = run.folder / "files"
    made = await asyncio.to_thread(make_files, run.lines(), files, settings, held_out)
    label = f"{name}@{made.version}"
    await run.keep(label=label)
    await snapshot_members.index(database, files / snapshot_members.SOURCES, label)
    await mark_fresh(database, label, run.at.began)
    about = {
        "format": 1, "name": name, "version": made.version, "created_at": now().isoformat(), **settings,
        "counts": made.counts(), "agreement": tally.agreement(), "consent": _consent(filters, tally),
        "sources": snapshot_members.SOURCES,
    }  # fmt: skip
    return await asyncio.to_thread(_publish, store, files, about)


async def _read(
    run: UnderWay, database: Database, settings: Mapping[str, Any], filters: Filters,
    progress: Callable[[FreezeProgress], None] | None,
) -> Tally:  # fmt: skip
    """Read all trees into parts.

    Raises:
        BadInput: no rows come of them.
    """
    if run.at.total is None:
        await list_trees(run, database, filters)
    resumed, total = run.at.looked, run.at.total or 0

    def told(trees: int, rows: int) -> None:
        if progress is not None:
            progress(FreezeProgress(trees, total, rows, resumed))

    tally = await read_all(run, database, settings, filters, told)
    if not tally.rows:
        narrowed = json.dumps({name: value for name, value in filters.as_dict().items() if value is not None})
        message = f"no {settings['kind']} rows in the {total} trees that pass the filters {narrowed}"
        raise BadInput(message, path=("filters",))
    return tally


def _consent(filters: Filters, tally: Tally) -> dict[str, Any]:
    """What the people behind the rows agreed to: the terms of the collection, or a chat's own consent to training; and
    what was left out for want of it."""
    chats = filters.chats and (filters.origins is None or CHAT in filters.origins)
    return {"scope": "training", "basis": ["terms", "chat consent"] if chats else ["terms"], "left_out": {
        "messages": tally.refused, "chats": tally.chats,
    }}  # fmt: skip


def _check(kind: str, name: str, validation_percent: float, seed: int) -> None:
    if kind not in KINDS:
        raise BadInput(f"snapshot kind {kind!r} is none of {', '.join(KINDS)}", path=("kind",))
    if not SLUG.match(name):
        form = "1 to 63 lower-case letters, digits, '.', '_' or '-', a letter or digit first"
        raise BadInput(f"snapshot name {name!r} must be {form}", path=("name",))
    if not 0 <= validation_percent <= 90:
        message = f"validation_percent is {validation_percent!r}; it must be from 0 to 90"
        raise BadInput(message, path=("validationPercent",))
    if not 0 <= seed < 2**32:
        raise BadInput(f"seed is {seed!r}; it must be a whole number from 0 to {2**32 - 1}", path=("seed",))


def _publish(store: ObjectStore, folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    key = layout.dataset_manifest(about["name"], about["version"])
    if store.exists(key):
        there: dict[str, Any] = store.get_json(key)
        return there
    return manifest.publish(store, folder, layout.dataset(about["name"], about["version"]), about)


def signed_files(store: ObjectStore, about: Mapping[str, Any], seconds: int) -> list[dict[str, Any]]:
    """The files of a snapshot, its manifest last: `path`, `bytes`, `sha256` (None of the manifest) and a `url` by which
    anyone who holds it reads the file for so long. Blocking.

    Raises:
        BadInput: `seconds` is not from 60 to 86,400.
    """
    if not 60 <= seconds <= 86_400:
        raise BadInput(f"seconds is {seconds!r}; it must be from 60 to 86400", path=("seconds",))
    prefix = layout.dataset(about["name"], about["version"])
    files = [dict(each) for each in about["files"]] + [{"path": "manifest.json", "bytes": None, "sha256": None}]
    return [{**each, "url": store.signed_url(prefix + each["path"], seconds)} for each in files]


def list_snapshots(store: ObjectStore, name: str | None = None) -> list[dict[str, Any]]:
    """Manifests of all snapshots, or of those of one name, newest first. Blocking."""
    if name is not None and not layout.is_part(name):
        return []
    prefix = f"datasets/{name}/" if name else "datasets/"
    keys = [item.key for item in store.list(prefix) if item.key.endswith("/manifest.json")]
    found = [store.get_json(key) for key in keys]
    return sorted(found, key=lambda each: (each["created_at"], each["name"], each["version"]), reverse=True)


def load_manifest(store: ObjectStore, name: str, version: str) -> dict[str, Any]:
    """The manifest of one snapshot. Blocking.

    Raises:
        NotFound: there is no such snapshot; the message names the versions that there are.
    """
    try:
        loaded: dict[str, Any] = store.get_json(layout.dataset_manifest(name, version))
    except NotFound as error:
        if error.code == "BUCKET_MISSING":
            raise
        versions = ", ".join(each["version"] for each in list_snapshots(store, name)) or "none"
        raise NotFound(
            f"there is no snapshot {name!r} of version {version!r}; versions of that name: {versions}"
        ) from error
    return loaded
