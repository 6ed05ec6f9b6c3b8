"""Frozen data sets: `freeze` writes one from the trees of the document store to the object store, for good.

Knows the files of a snapshot (docs/architecture.md, Seams): `train.parquet`, `validation.parquet`, `sources.parquet`
(every tree, message, ranking and review that went into it, with a hash), and `manifest.json`, which is written last.
What the rows are is in `core.snapshot_rows`. Trees are read in order of id and rows written in groups, so memory does
not grow with the data but for the ids of the trees; the same content, filters and seed give the same version.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pymongo.errors import PyMongoError

from core import layout, manifest, snapshot_members
from core.agreement import PooledAlpha
from core.ballots import Ballot
from core.consent import Consent, asked
from core.database import Database, aware, unavailable
from core.errors import BadInput, NotFound
from core.hubform import SCHEMA as COLUMNS
from core.ids import canonical_json, content_hash
from core.objects import ObjectStore
from core.opinions import Ranking, Review
from core.propagation import mark_fresh
from core.records import Message, Tree, milliseconds, now
from core.row_groups import RowGroups
from core.snapshot_filters import CHAT, Filters, parse_filters
from core.snapshot_rows import KINDS, Row, message_ids, rows_of, split_place
from core.tree_reading import TREES_PER_READ, among, read_trees, tree_ids

SLUG = re.compile(r"^[a-z0-9][a-z0-9._-]{0,62}$")

_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string()), ("message_id", pa.string())]))
_TEXTS = ("tree_id", "lang", "split")
SCHEMAS = {
    "sft": pa.schema([("thread_id", pa.string()), *((each, pa.string()) for each in _TEXTS), ("messages", _TURNS)]),
    "preference": pa.schema(
        [(each, pa.string()) for each in ("pair_id", "parent_id", *_TEXTS)]
        + [("prompt", _TURNS)]
        + [(each, pa.string()) for each in ("chosen", "rejected", "chosen_id", "rejected_id")]
        + [("margin", pa.float64()), ("weight", pa.float64()), ("confidence", pa.float64())]
        + [("rankings", pa.int64()), ("alpha", pa.float64())]
    ),
    "prompts": pa.schema([("prompt_id", pa.string()), *((each, pa.string()) for each in _TEXTS), ("prompt", _TURNS)]),
    "trees": pa.schema([*COLUMNS, ("split", pa.string())]),
}
SOURCES = pa.schema([("kind", pa.string()), ("id", pa.string()), ("hash", pa.string())])


@dataclass
class FreezeProgress:
    """How far a freeze is: trees looked at of all, and rows found."""

    trees: int = 0
    total: int = 0
    rows: int = 0


@dataclass
class _Counts:
    rows: int = 0
    trees: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    langs: Counter[str] = field(default_factory=Counter)
    rankings: int = 0
    messages: int = 0
    reviews: int = 0
    alpha: PooledAlpha = field(default_factory=PooledAlpha)

    def agreement(self) -> dict[str, Any]:
        """How far people agreed about what is in; `ranking_alpha` is Krippendorff's, ordinal, of the rankings."""
        alpha = self.alpha.value
        return {
            "rankings": self.rankings,
            "ranking_alpha": None if alpha is None else round(alpha, 4),
            "reviews_per_message": round(self.reviews / self.messages, 4) if self.messages else None,
        }

    def as_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "trees": self.trees,
            "train": self.splits["train"],
            "validation": self.splits["validation"],
            "by_lang": dict(sorted(self.langs.items())),
        }


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
    progress: Callable[[FreezeProgress], None] | None = None,
) -> dict[str, Any]:
    """Freeze the trees as they are now into `datasets/<name>/<version>/` and return the manifest.

    The version is the first 12 hex digits of the hash of rows, sources and settings: freezing the same again finds
    that it is there and returns its manifest unchanged. The split is by tree, from the hash of seed and tree id, so a
    tree stays on its side as the data grow; when none falls on the validation side the tree with the lowest hash goes.

    Args:
        database: where the trees are.
        store: where the snapshot goes.
        kind: `sft`, `preference`, `prompts` or `trees`.
        name: of the snapshot, lower case.
        filters: the fields of `core.snapshot_filters.Filters`.
        validation_percent: of the trees, from 0 to 90.
        seed: of the split.
        licence: of the texts, an SPDX identifier.
        progress: called after each batch of trees.

    Raises:
        BadInput: a setting is wrong, or nothing passes the filters.
    """
    chosen = parse_filters(filters)
    _check(kind, name, validation_percent, seed)
    settings = {
        "kind": kind, "filters": chosen.as_dict(), "validation_percent": validation_percent, "seed": seed,
        "licence": licence,
    }  # fmt: skip
    database = aware(database)
    try:
        with tempfile.TemporaryDirectory(prefix="oa-snapshot-") as folder:
            began = milliseconds(now())
            consent = await asked(database)
            written = await _write(database, Path(folder), settings, chosen, consent, progress)
            label = f"{name}@{written.version}"
            await snapshot_members.index(database, Path(folder) / snapshot_members.SOURCES, label)
            await mark_fresh(database, label, began)
            about = {
                "format": 1, "name": name, "version": written.version, "created_at": now().isoformat(), **settings,
                "counts": written.counts.as_dict(), "agreement": written.counts.agreement(),
                "consent": _consent(chosen, consent), "sources": "sources.parquet",
            }  # fmt: skip
            return await asyncio.to_thread(_publish, store, Path(folder), about)
    except PyMongoError as error:
        raise unavailable(error) from error


def _consent(filters: Filters, consent: Consent) -> dict[str, Any]:
    """What the people behind the rows agreed to: the terms of the collection, or a chat's own consent to training; and
    what was left out for want of it."""
    chats = filters.chats and (filters.origins is None or CHAT in filters.origins)
    return {"scope": "training", "basis": ["terms", "chat consent"] if chats else ["terms"], "left_out": {
        "messages": len(consent.messages), "chats": len(consent.chats),
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


@dataclass(frozen=True)
class _Written:
    version: str
    counts: _Counts


async def _write(
    database: Database,
    folder: Path,
    settings: Mapping[str, Any],
    filters: Filters,
    consent: Consent,
    progress: Callable[[FreezeProgress], None] | None,
) -> _Written:
    ids = sorted([each async for each in tree_ids(database, filters.states, filters.langs)])
    told = FreezeProgress(total=len(ids))
    threshold = settings["validation_percent"] * 10_000
    held_out = await _first_held_out(database, ids, settings, filters, consent, threshold)
    digest = hashlib.sha256(canonical_json(settings))
    counts = _Counts()
    with ExitStack() as stack:
        parts = {
            split: stack.enter_context(_Part(folder, split, settings["kind"])) for split in ("train", "validation")
        }
        sources = stack.enter_context(_Part(folder, "sources", None))
        async for tree, messages, rankings, reviews in _read(database, ids, filters, consent):
            held = split_place(settings["seed"], tree.id) < threshold or tree.id == held_out
            rows = rows_of(settings["kind"], tree, messages, "validation" if held else "train", filters)
            used = list(_sources(settings["kind"], tree, messages, rankings, reviews, rows))
            for each, part in ((rows, parts["validation" if held else "train"]), (used, sources)):
                for row in each:
                    digest.update(canonical_json(row))
                part.add(each)
            _count(counts, rows)
            _agree(counts, messages, rankings, message_ids(settings["kind"], rows))
            told.trees, told.rows = told.trees + 1, counts.rows
            if progress is not None and told.trees % TREES_PER_READ == 0:
                progress(told)
    if not counts.rows:
        narrowed = json.dumps({name: value for name, value in filters.as_dict().items() if value is not None})
        message = f"no {settings['kind']} rows in the {len(ids)} trees that pass the filters {narrowed}"
        raise BadInput(message, path=("filters",))
    if progress is not None:
        progress(told)
    return _Written(digest.hexdigest()[:12], counts)


def _count(counts: _Counts, rows: list[Row]) -> None:
    counts.rows += len(rows)
    counts.trees += bool(rows)
    counts.splits.update(row["split"] for row in rows)
    counts.langs.update(row["lang"] for row in rows)


def _agree(counts: _Counts, messages: list[Message], rankings: list[Ranking], used: set[str]) -> None:
    """Count what people said of the messages that are in."""
    for message in messages:
        if message.id in used:
            counts.messages += 1
            counts.reviews += message.review_count
    ballots: dict[str, list[Ballot]] = {}
    for ranking in rankings:
        if ranking.parent_id in used and not ranking.not_rankable and ranking.ranking:
            ballots.setdefault(ranking.parent_id, []).append(Ballot(ranking.groups))
    for each in ballots.values():
        counts.rankings += len(each)
        counts.alpha.add(each)


async def _first_held_out(
    database: Database, ids: list[str], settings: Mapping[str, Any], filters: Filters, consent: Consent,
    threshold: float,
) -> str | None:  # fmt: skip
    """The tree to hold out when hashes hold out none that has rows, and a second is left to train on; else None.

    Looks through the trees by rising hash until two with rows are found, which is two trees for most data.
    """
    if not threshold:
        return None
    by_hash = sorted(ids, key=lambda tree_id: split_place(settings["seed"], tree_id))
    first = None
    async for tree, messages, _, _ in _read(database, by_hash, filters, consent):
        if rows_of(settings["kind"], tree, messages, "train", filters):
            if first is not None or split_place(settings["seed"], tree.id) < threshold:
                return first
            first = tree.id
    return None


async def _read(
    database: Database, ids: list[str], filters: Filters, consent: Consent
) -> AsyncIterator[tuple[Tree, list[Message], list[Ranking], list[Review]]]:
    for start in range(0, len(ids), TREES_PER_READ):
        part = ids[start : start + TREES_PER_READ]
        reviews: dict[str, list[Review]] = {}
        async for document in database["reviews"].find({"tree_id": among(part)}):
            reviews.setdefault(document["tree_id"], []).append(Review.from_document(document))
        read = [each async for each in read_trees(database, part) if filters.takes_tree(each[0])]
        refused = await consent.taken_back(database, [tree for tree, _, _ in read])
        for tree, messages, rankings in read:
            if tree.id not in refused:
                yield tree, consent.allowed(messages), rankings, reviews.get(tree.id, [])


def _sources(
    kind: str, tree: Tree, messages: list[Message], rankings: list[Ranking], reviews: list[Review], rows: list[Row]
) -> Iterable[Row]:
    """What the rows of a tree come from: the tree, the messages in the rows, what was ranked under them, reviewed of
    them."""
    if not rows:
        return
    used = message_ids(kind, rows)
    yield _source("tree", tree.id, [tree.id, tree.state, tree.lang, tree.origin])
    for message in sorted((each for each in messages if each.id in used), key=lambda each: each.id):
        facts = [message.parent_id, message.role, message.lang, message.text, message.rank, message.model_version]
        yield _source("message", message.id, facts)
    for ranking in sorted(rankings, key=lambda each: each.id):
        if ranking.parent_id in used:
            ties = [list(ranking.tiers)] if ranking.tiers else []
            said: list[Any] = [ranking.parent_id, list(ranking.ranking), ranking.not_rankable, *ties]
            yield _source("ranking", ranking.id, said)
    for review in sorted(reviews, key=lambda each: each.id):
        if review.message_id in used:
            yield _source("review", review.id, [review.message_id, review.labels])


def _source(kind: str, identity: str, facts: list[Any]) -> Row:
    return {"kind": kind, "id": identity, "hash": content_hash(facts)}


class _Part:
    """One Parquet file, written in row groups; a file of data without a row is not kept (`datasets` reads none)."""

    def __init__(self, folder: Path, name: str, kind: str | None) -> None:
        self.path = folder / f"{name}.parquet"
        self.schema = SCHEMAS[kind] if kind else SOURCES
        self.rows = 0

    def __enter__(self) -> _Part:
        self.file = RowGroups(self.path, self.schema)
        return self

    def add(self, rows: list[Row]) -> None:
        for row in rows:
            self.file.add(row)
        self.rows += len(rows)

    def __exit__(self, *error: object) -> None:
        self.file.close()
        if not self.rows:
            self.path.unlink()


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
