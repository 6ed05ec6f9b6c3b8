"""A freeze that was killed goes on where it was, gives what one gives that was not, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from data_forms import message, tree
from faults import Crashed, crash_after

from core import layout, manifest, snapshots
from core.database import Database
from core.errands import run_once
from core.errors import Conflict
from core.interchange import import_trees
from core.objects import ObjectStore
from core.propagation import mark_snapshots
from core.scratch import scratch_folder
from core.snapshots import FreezeProgress, freeze
from core.sorted_ids import SortedIds

TREES = 12
ALL: dict[str, Any] = {"kind": "trees", "seed": 7}


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of two trees."""
    monkeypatch.setattr("core.snapshot_reading.TREES_PER_READ", 2)
    monkeypatch.setattr("core.snapshot_reading.STEP", 1)


@pytest.fixture
async def filled(database: Database) -> Database:
    await import_trees(database, many(TREES))
    return database


def many(count: int, first: int = 0) -> Iterator[Any]:
    """Trees of three messages each, with a ranking."""
    for number in range(first, first + count):
        name = f"t{number:04}"
        said = {"ranking": [{
            "type": "ranking", "ranked_message_ids": [f"{name}a", f"{name}b"], "ranking": [0, 1], "user_id": "u",
            "ranking_parent_id": name, "message_tree_id": name,
        }]}  # fmt: skip
        yield tree(message(name, message(f"{name}a", rank=0), message(f"{name}b", rank=1), events=said))


class Enough(Exception):
    """Ends a freeze in a test."""


async def interrupted(database: Database, store: ObjectStore, name: str, **options: Any) -> None:
    """Freeze, until half of the trees are read, without a word to anyone."""

    def told(so_far: FreezeProgress) -> None:
        if so_far.trees >= TREES // 2:
            raise Enough

    with pytest.raises(Enough):
        await freeze(database, store, name=name, progress=told, **{**ALL, **options})


class Resumed:
    """Takes the progress of a freeze, and knows how much was there before."""

    trees = -1

    def __call__(self, so_far: FreezeProgress) -> None:
        self.trees = so_far.resumed


def rows(store: ObjectStore, about: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    folder = folder / about["version"]
    manifest.fetch(store, layout.dataset(about["name"], about["version"]), folder)
    return [row for split in ("train", "validation") for row in pq.read_table(folder / f"{split}.parquet").to_pylist()]


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the snapshots have the same bytes, counts and version."""
    return {**one, "name": "", "created_at": ""} == {**other, "name": "", "created_at": ""}


async def nothing_left(database: Database, store: ObjectStore, *snapshots: dict[str, Any]) -> bool:
    """Whether there is what belongs to these snapshots and nothing else."""
    files = {
        layout.dataset(each["name"], each["version"]) + name
        for each in snapshots
        for name in ("manifest.json", *(file["path"] for file in each["files"]))
    }
    labels = {f"{each['name']}@{each['version']}" for each in snapshots}
    members = {each["label"] async for each in database["snapshot_members"].find()}
    whole = {each["_id"] async for each in database["snapshot_index"].find()}
    left = await database["freezes"].find_one({})
    return {each.key for each in store.list("")} == files and members == whole == labels and left is None


@contextmanager
def dying_after(limit: int) -> Iterator[None]:
    """Let so many writes to both stores through; the process ends at the next one."""
    with crash_after(limit) as writes, pytest.MonkeyPatch.context() as patch:
        for name in ("put", "upload", "delete"):
            patch.setattr(ObjectStore, name, _asking(writes, getattr(ObjectStore, name)))
        yield


def _asking(writes: Any, real: Any) -> Any:
    def write(*arguments: Any, **options: Any) -> Any:
        writes.ask()
        return real(*arguments, **options)

    return write


async def test_one_that_dies_at_any_write_goes_on_and_gives_the_same(
    filled: Database, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.snapshot_reading.TREES_PER_READ", TREES // 2)
    whole = await freeze(filled, store, name="whole", **ALL)
    assert whole["counts"]["trees"] == TREES
    made, resumed = [whole], set()
    for limit in range(60):
        seen = Resumed()
        try:
            with dying_after(limit):
                made.append(await freeze(filled, store, name=f"n{limit}", **ALL))
            break
        except Crashed:
            made.append(await freeze(filled, store, name=f"n{limit}", progress=seen, **ALL))
            resumed.add(seen.trees)
        assert same(made[-1], whole)
    assert 10 < limit < 59
    assert resumed == {0, TREES // 2, TREES}
    assert await nothing_left(filled, store, *made)


async def test_what_changed_meanwhile_is_as_it_is_when_it_is_read_and_what_came_is_left_out(
    filled: Database, store: ObjectStore, tmp_path: Path
) -> None:
    await interrupted(filled, store, "p")
    await import_trees(filled, [tree(message(name)) for name in ("t0000x", "t0007x")])
    await filled["messages"].update_many({"_id": {"$in": ["t0001a", "t0009a"]}}, {"$set": {"text": "new"}})
    await filled["trees"].update_one({"_id": "t0008"}, {"$set": {"state": "growing"}})
    await filled["trees"].delete_one({"_id": "t0010"})
    seen = Resumed()
    about = await freeze(filled, store, name="p", progress=seen, **ALL)
    assert seen.trees == TREES // 2
    found = rows(store, about, tmp_path)
    assert {row["message_tree_id"] for row in found} == {f"t{n:04}" for n in range(TREES)} - {"t0008", "t0010"}
    assert [row["message_id"] for row in found if row["text"] == "new"] == ["t0009a"]
    later = await freeze(filled, store, name="p", **ALL)
    assert {row["message_tree_id"] for row in rows(store, later, tmp_path)} >= {"t0000x", "t0007x"}


async def test_what_was_erased_meanwhile_is_not_frozen(filled: Database, store: ObjectStore, tmp_path: Path) -> None:
    await interrupted(filled, store, "p")
    await mark_snapshots(filled, store, {"t0000": ["t0000a"]}, "purge")
    await filled["messages"].delete_one({"_id": "t0000a"})
    seen = Resumed()
    about = await freeze(filled, store, name="p", progress=seen, **ALL)
    assert seen.trees == 0, "it began anew"
    assert "t0000a" not in {row["message_id"] for row in rows(store, about, tmp_path)}
    assert await nothing_left(filled, store, about)


@pytest.mark.parametrize("name", ["users", "chats"])
async def test_a_consent_that_changed_meanwhile_is_heard(filled: Database, store: ObjectStore, name: str) -> None:
    await interrupted(filled, store, "p")
    await filled[name].insert_one({"_id": "somebody", "consent_due": 1})
    seen = Resumed()
    await freeze(filled, store, name="p", progress=seen, **ALL)
    assert seen.trees == 0


async def test_one_can_begin_anew_and_only_the_same_goes_on(filled: Database, store: ObjectStore) -> None:
    await interrupted(filled, store, "p")
    made = []
    for options in ({"seed": 8}, {"kind": "prompts"}, {"anew": True}):
        seen = Resumed()
        made.append(await freeze(filled, store, name="p", progress=seen, **{**ALL, **options}))
        assert seen.trees == 0
    assert await nothing_left(filled, store, *made)


async def test_of_two_the_first_stops_and_the_other_goes_on(filled: Database, store: ObjectStore) -> None:
    made: list[dict[str, Any]] = []
    seen, here, there = Resumed(), asyncio.Event(), asyncio.Event()
    real = snapshots.read_all

    async def held(run: Any, *arguments: Any) -> Any:
        run.bring = partial(pausing, run.bring)
        return await real(run, *arguments)

    async def pausing(real: Any, path: Path) -> None:
        await real(path)
        if path.name == "part-00002.zst" and not here.is_set():
            here.set()
            await there.wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots, "read_all", held)
        first = asyncio.create_task(freeze(filled, store, name="p", **ALL))
        await here.wait()
        made.append(await freeze(filled, store, name="p", progress=seen, **ALL))
        there.set()
        with pytest.raises(Conflict, match="another process goes on with this freeze of 'p'"):
            await first
    assert seen.trees == 4
    assert await nothing_left(filled, store, made[0])


@pytest.mark.parametrize("limit", [5, 14, 16, 18, 20])
async def test_what_nobody_goes_on_with_is_removed(
    filled: Database, store: ObjectStore, config: Any, limit: int
) -> None:
    other = await freeze(filled, store, name="other", **ALL)
    with pytest.raises(Crashed), dying_after(limit):
        await freeze(filled, store, name="p", **ALL)
    assert await run_once(filled, config, store) == 0
    assert not await nothing_left(filled, store, other)
    await filled["freezes"].update_many({}, {"$set": {"due": 1}})
    assert await run_once(filled, config, store) == 1
    made = [each for each in snapshots.list_snapshots(store) if each["name"] == "p"]
    assert await nothing_left(filled, store, other, *made)


SMALL = """
import os
import core.snapshot_reading as reading
from core.objects import ObjectStore
from oa.main import app

upload = ObjectStore.upload

def dying(store, path, key):
    if path.name == os.environ.get("DIES_AT"):
        os.kill(os.getpid(), 9)
    return upload(store, path, key)

reading.TREES_PER_READ, reading.STEP, ObjectStore.upload = 10, 1, dying
app()
"""
"""The command, in small steps: of so few trees it would make one part."""


async def test_a_process_that_is_killed_goes_on_when_it_is_run_again(
    database: Database, mongodb_uri: str, store: ObjectStore, tmp_path: Path
) -> None:
    await import_trees(database, many(120))
    options: dict[str, Any] = {"kind": "preference", "validation_percent": 20.0, "seed": 3}
    environment = os.environ | {
        "OA_MONGODB_URI": mongodb_uri, "OA_MONGODB_DATABASE": database.name, "OA_S3_ENDPOINT": str(store.endpoint),
        "OA_S3_BUCKET": store.bucket, "TMPDIR": str(tmp_path),
    }  # fmt: skip
    command = [sys.executable, "-c", SMALL, "snapshot", "freeze", "preference", "pairs", "--validation-percent", "20",
               "--seed", "3", "--json"]  # fmt: skip
    killed = await asyncio.to_thread(
        subprocess.run, command, env=environment | {"DIES_AT": "part-00004.zst"}, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [each.startswith("oa-snapshot-") for each in names(tmp_path)] == [True]
    at = await database["freezes"].find_one({})
    assert at is not None
    assert (at["parts"], at["looked"], at["total"]) == (4, 40, 120)
    again = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    about = json.loads(again.stdout)
    assert names(tmp_path) == [], "what the killed one left on this machine is gone"
    whole = await freeze(database, store, name="whole", **options)
    assert same(about, whole)
    assert about["counts"]["rows"] == 120
    assert rows(store, about, tmp_path / "a") == rows(store, whole, tmp_path / "b")
    assert await nothing_left(database, store, about, whole)


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


async def test_memory_does_not_grow_with_the_trees(
    database: Database, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("snapshot_reading.TREES_PER_READ", 10), ("snapshot_reading.STEP", 100), ("tree_reading.PAGE", 50),
        ("snapshot_members.BATCH", 20), ("row_groups.ROWS", 5),
        ("row_groups.GROUP", 10), ("snapshot_reading.SortedIds", partial(SortedIds, 50)),
    ):  # fmt: skip
        monkeypatch.setattr(f"core.{name}", value)
    await grow(database, 0, 40)
    await freeze(database, store, name="warm", **ALL)
    small = await peak(database, store, "small")
    await grow(database, 40, 160)
    large = await peak(database, store, "large")
    assert large - small < 300_000, "120 trees with texts of 10 kB, and 480 with ids of 4 kB"


async def grow(database: Database, first: int, end: int) -> None:
    """Add trees with long texts, and four times as many that have no messages and long ids: who held either would be
    seen, among all that clients of the stores take and let go."""
    await import_trees(database, (tree(message(f"t{number:04}", text="x" * 10_000)) for number in range(first, end)))
    one = await database["trees"].find_one({"_id": "t0000"})
    assert one is not None
    ids = [f"{number:04}".ljust(4_000, "x") for number in range(4 * first, 4 * end)]
    await database["trees"].insert_many([{**one, "_id": each, "by_time": each} for each in ids])


async def peak(database: Database, store: ObjectStore, name: str) -> int:
    """The most that a freeze takes, in bytes that Python knows of."""
    gc.collect()
    tracemalloc.start()
    try:
        await freeze(database, store, name=name, **ALL)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_folder_that_a_killed_process_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    making = (
        "import os, signal, tempfile; tempfile.tempdir = os.environ['ROOM']\n"
        "from core.scratch import scratch_folder\n"
        "with scratch_folder('oa-x-') as folder:\n"
        "    (folder / 'words').write_text('of people')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", making], env=os.environ | {"ROOM": str(tmp_path)}, check=False)
    (left,) = tmp_path.glob("oa-x-*/words")
    with scratch_folder("oa-x-") as one:
        assert not left.exists()
        with scratch_folder("oa-x-") as two:
            assert {one, two} == {*tmp_path.iterdir()}, "who lives keeps theirs"
    assert [*tmp_path.iterdir()] == []
