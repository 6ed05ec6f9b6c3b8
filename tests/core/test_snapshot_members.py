"""Who finds what is in which snapshot: by the index, whoever froze it, whatever dies, whoever leaves meanwhile."""

from __future__ import annotations

from itertools import count

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from core_people import until_growing
from faults import Crashed, crash_after
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import layout, propagation, snapshot_members, snapshots
from core.departures import depart
from core.errands import run_once
from core.propagation import mark_snapshots, marked_snapshots
from core.snapshot_files import SOURCES
from core.snapshots import freeze

NAMES = (f"set{number}" for number in count())
FROZEN = {"kind": "prompts", "filters": {"states": ["growing"]}}
TREES = st.dictionaries(st.sampled_from("abcdef"), st.sets(st.integers(0, 5), max_size=4), max_size=4)


def sources(trees) -> list[dict[str, str]]:
    """The rows of a file of sources: each tree, then what of it went in."""
    rows = []
    for tree_id, members in trees.items():
        rows.append({"kind": "tree", "id": tree_id, "hash": "h"})
        rows += [{"kind": "message", "id": f"{tree_id}{each}", "hash": "h"} for each in sorted(members)]
    return rows


def put(store, tmp_path, name: str, version: str, trees) -> None:
    """A snapshot that somebody else froze."""
    path = tmp_path / "sources.parquet"
    pq.write_table(pa.Table.from_pylist(sources(trees), schema=SOURCES), path)
    store.upload(path, f"{layout.dataset(name, version)}sources.parquet")
    store.put_json(layout.dataset_manifest(name, version), {"name": name, "version": version, "created_at": "2026"})


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TREES, min_size=1, max_size=3), TREES)
async def test_marks_are_what_counting_all_sources_gives(database, store, tmp_path, frozen, gone) -> None:
    name = next(NAMES)
    for version, trees in enumerate(frozen):
        put(store, tmp_path, name, f"v{version}", trees)
    going = {tree_id: [f"{tree_id}{each}" for each in members] for tree_id, members in gone.items()}
    for _ in range(2):
        await mark_snapshots(database, store, going, name)
    wanted = {each for ids in going.values() for each in ids}
    counts = {
        f"{name}@v{version}": len([row for row in sources(trees) if row["kind"] != "tree" and row["id"] in wanted])
        for version, trees in enumerate(frozen)
    }
    marked = await marked_snapshots(database)
    mine = {label: marked[label] for label in marked if label.startswith(f"{name}@")}
    assert mine == {label: found for label, found in counts.items() if found}


async def test_a_freeze_that_dies_anywhere_leaves_an_index_that_the_next_one_makes_whole(
    collection, person, store
) -> None:
    users = [await person(name) for name in ("ann", "bob", "cid")]
    await until_growing(collection, users)
    database = collection.database
    for limit in range(10):
        try:
            with crash_after(limit):
                about = await freeze(database, store, name="prompts", **FROZEN)
            break
        except Crashed:
            indexed = {each["_id"] async for each in database["snapshot_index"].find()}
            assert indexed.issuperset(snapshot_members._labels(store)), "no snapshot that is not indexed"
    assert limit == 5, "that it began, which trees, what is in them, that it is made, that it is over"
    label = f"prompts@{about['version']}"
    assert [each["_id"] async for each in database["snapshot_index"].find()] == [label]
    await depart(database, users[0], withdraw=True)
    await run_once(database, collection.config, store)
    assert await marked_snapshots(database) == {label: 1}


@pytest.mark.parametrize("withdraw", [False, True])
async def test_who_leaves_while_one_is_frozen_is_found_by_the_freeze(
    collection, person, store, monkeypatch, withdraw
) -> None:
    users = [await person(name) for name in ("ann", "bob", "cid")]
    await until_growing(collection, users)
    database, real = collection.database, snapshots._read

    async def written(*args):
        done = await real(*args)  # it has read what ann wrote, and told nobody yet
        await depart(database, users[0], withdraw)
        await run_once(database, collection.config, store)
        assert await marked_snapshots(database) == {}
        return done

    monkeypatch.setattr(snapshots, "_read", written)
    about = await freeze(database, store, name="prompts", **FROZEN)
    assert await marked_snapshots(database) == {f"prompts@{about['version']}": 1}
    monkeypatch.undo()
    if not withdraw:
        later = await freeze(database, store, name="later", **FROZEN)
        assert f"later@{later['version']}" not in await marked_snapshots(database), "it was nobody's when it was read"


async def test_a_departure_that_dies_anywhere_keeps_the_first_count(collection, person, store) -> None:
    users = [await person(name) for name in ("ann", "bob", "cid")]
    await until_growing(collection, users)
    database = collection.database
    about = await freeze(database, store, name="prompts", **FROZEN)
    departure = await depart(database, users[1], withdraw=False)
    for _ in range(60):
        try:
            with crash_after(6):
                await run_once(database, collection.config, store)
            break
        except Crashed:
            await database["departures"].update_one({"_id": departure.id}, {"$set": {"open": 0}})
    assert await marked_snapshots(database) == {f"prompts@{about['version']}": 1}, "the review of the prompt"
    assert [each["until"] < propagation.NEVER async for each in database["gone_sources"].find()] == [True]


async def test_the_index_is_read_by_tree_alone(database, store, tmp_path) -> None:
    put(store, tmp_path, "big", "v1", {f"t{number}": {1, 2} for number in range(1200)})
    assert await snapshot_members.index_missing(database, store) == ["big@v1"]
    assert await snapshot_members.index_missing(database, store) == []
    asked = {snapshot_members.tree_key(f"t{number}"): [snapshot_members.digest(f"t{number}1")] for number in range(700)}
    assert await snapshot_members.holding(database, asked) == {"big@v1": 700}
    assert await snapshot_members.holding(database, asked, "other@v1") == {}
