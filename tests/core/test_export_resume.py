"""An export that was killed goes on where it was, and gives what one gives that was not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from data_forms import SAMPLES, message, tree

from core import export_marks
from core.anonymise import Anonymiser
from core.database import Database
from core.errors import BadInput, Conflict
from core.export_marks import Mark
from core.interchange import import_trees
from core.objects import ObjectStore
from core.records import now
from core.sources import Source
from core.targets import Plan, tree_writer
from core.tree_export import Choice, ExportReport, export_trees
from core.tree_reading import tree_ids

STEPS = Plan(per_part=40)
SALT = "a salt of sixteen or more"


@pytest.fixture
async def filled(database: Database) -> Database:
    await import_trees(database, SAMPLES / "trees.jsonl")
    return database


class Enough(Exception):
    """Ends an export in a test."""


def stop_after(trees: int, patch: pytest.MonkeyPatch) -> None:
    """Let exports end after so many trees, without a word to anyone, as if the process were killed then."""
    from core.treeform import export_tree

    left = [trees]

    def counted(*arguments: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Enough
        return export_tree(*arguments)

    patch.setattr("core.tree_export.export_tree", counted)


async def interrupted(
    database: Database, out: Any, patch: pytest.MonkeyPatch, choice: Choice | None = None, plan: Plan = STEPS
) -> None:
    with patch.context() as context:
        stop_after(27, context)
        with pytest.raises(Enough):
            await export_trees(database, out, choice, plan)


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz", "rows.parquet", "parts/", "rows/"])
async def test_an_interrupted_export_goes_on_and_gives_the_same_bytes(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plan = Plan(per_part=40, form="parquet" if name == "rows/" else None)
    (tmp_path / "whole").mkdir()
    (tmp_path / "again").mkdir()
    await export_trees(filled, f"{tmp_path}/whole/{name}", plan=plan)
    await interrupted(filled, f"{tmp_path}/again/{name}", monkeypatch, plan=plan)
    report = await export_trees(filled, f"{tmp_path}/again/{name}", plan=plan)
    assert 0 < report.resumed < 27
    assert (report.trees, report.messages, report.seen, report.total) == (63, 312, 63, 63)
    assert content(tmp_path / "again") == content(tmp_path / "whole")


def content(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


async def test_an_interrupted_export_to_the_object_store_goes_on(
    filled: Database, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OA_S3_ENDPOINT", str(store.endpoint))
    await export_trees(filled, f"s3://{store.bucket}/whole/", plan=STEPS)
    await interrupted(filled, f"s3://{store.bucket}/again/", monkeypatch)
    assert (await export_trees(filled, f"s3://{store.bucket}/again/", plan=STEPS)).resumed > 0
    found = {prefix: {each.key.removeprefix(prefix): store.get(each.key) for each in store.list(prefix)}
             for prefix in ("whole/", "again/")}  # fmt: skip
    assert found["whole/"] == found["again/"]


async def test_one_that_is_cancelled_ends_and_goes_on(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.tree_export.TREES_PER_READ", 1)

    def told(report: ExportReport) -> None:
        if report.trees == 30:
            task.cancel()

    task = asyncio.create_task(export_trees(filled, tmp_path / "t.jsonl", plan=STEPS, progress=told))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await export_trees(filled, tmp_path / "t.jsonl", plan=STEPS)).resumed > 0


async def test_one_that_was_killed_while_the_file_was_made_makes_it_again(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, again = tmp_path / "whole.parquet", tmp_path / "again.parquet"
    await export_trees(filled, whole, plan=STEPS)

    def fails(*_: Any) -> None:
        raise Enough

    with monkeypatch.context() as patch:
        patch.setattr("core.targets._Stream.copy", fails)
        with pytest.raises(Enough):
            await export_trees(filled, again, plan=STEPS)
    assert not again.exists()
    assert (await export_trees(filled, again, plan=STEPS)).resumed == 63
    assert again.read_bytes() == whole.read_bytes()


async def test_it_goes_on_with_the_same_settings_alone(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t.jsonl"
    hidden = Choice(anonymiser=Anonymiser(SALT, scrub_texts=True))
    await interrupted(filled, out, monkeypatch, hidden)
    begun = content(tmp_path)
    assert SALT not in str(begun)
    assert not [tree_id async for tree_id in ids(filled) if tree_id in str(begun)], "no id of here is told"
    for other, says in (
        (Choice(anonymiser=Anonymiser(SALT + "!", scrub_texts=True)), "had another salt;"),
        (Choice(anonymiser=Anonymiser(SALT)), r"had scrub_texts True \(now False\);"),
        (Choice(langs=["en"]), r"had dates 'exact' \(now None\), langs None \(now \['en'\]\), another salt, scrub"),
    ):
        with pytest.raises(BadInput, match=f"interrupted after [0-9]+ trees, and {says}"):
            await export_trees(filled, out, other, STEPS)
    assert content(tmp_path) == begun
    assert (await export_trees(filled, out, hidden, STEPS)).resumed > 0
    whole = tmp_path / "whole.jsonl"
    await export_trees(filled, whole, hidden, STEPS)
    assert content(tmp_path) == {"t.jsonl": whole.read_bytes(), "whole.jsonl": whole.read_bytes()}


async def ids(database: Database) -> Any:
    async for document in database["trees"].find({}, {"_id": 1}):
        yield document["_id"]


async def test_one_can_begin_anew_and_an_old_one_does(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"{tmp_path}/parts/"
    await interrupted(filled, out, monkeypatch)
    anew = await export_trees(filled, out, Choice(langs=["en"]), Plan(per_part=1_000, anew=True))
    assert (anew.resumed, [*content(tmp_path)]) == (0, ["parts/part-00000.jsonl.gz"])
    await interrupted(filled, tmp_path / "t.jsonl", monkeypatch)
    place = export_marks.Folder(tmp_path / ".t.jsonl.export", "t.jsonl")
    mark = orjson.loads(place.read(export_marks.NAME) or b"")
    place.write(export_marks.NAME, orjson.dumps(mark | {"began": (now() - timedelta(hours=13)).isoformat()}))
    assert (await export_trees(filled, tmp_path / "t.jsonl", plan=STEPS)).resumed == 0


async def test_parts_that_went_meanwhile_are_said(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, parts in (("parts/", "parts"), ("t.jsonl", ".t.jsonl.export")):
        await interrupted(filled, f"{tmp_path}/{name}", monkeypatch)
        next((tmp_path / parts).glob("part-00001*")).unlink()
        with pytest.raises(BadInput, match=r"part-00001 of the interrupted export to .* is gone"):
            await export_trees(filled, f"{tmp_path}/{name}", plan=STEPS)


async def test_a_tree_that_went_meanwhile_is_not_exported_by_mistake(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await interrupted(filled, tmp_path / "t.jsonl", monkeypatch)
    last = orjson.loads((tmp_path / ".t.jsonl.export" / export_marks.NAME).read_bytes())["after"]
    await filled["trees"].delete_one({"_id": last})
    with pytest.raises(Conflict, match="begin it again with --anew"):
        await export_trees(filled, tmp_path / "t.jsonl", plan=STEPS)
    assert (await export_trees(filled, tmp_path / "t.jsonl", plan=Plan(anew=True))).trees == 62


def test_of_two_exports_to_one_place_the_first_stops(tmp_path: Path) -> None:
    value = tree(message("a", message("b")))

    def both() -> None:
        with tree_writer(f"{tmp_path}/a/", Plan(per_part=2)) as one:
            one.write(value, "a")
            with tree_writer(f"{tmp_path}/a/", Plan(per_part=2)) as two:
                assert two.mark.parts == 1
                one.write(value, "b")

    with pytest.raises(Conflict, match="another export writes to"):
        both()


@pytest.mark.parametrize("page", [9, 63])
async def test_trees_are_listed_in_pages_without_gaps(
    filled: Database, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr("core.tree_reading.PAGE", page)
    trees = sorted([each async for each in filled["trees"].find()], key=lambda each: each["by_time"])
    assert [each async for each in tree_ids(filled, None, None)] == [each["_id"] for each in trees]
    english = [each["_id"] for each in trees if each["lang"] == "en"]
    assert 0 < len(english) < 63
    assert [each async for each in tree_ids(filled, ["ready_for_export"], ["en"], ["default"])] == english
    assert [each async for each in tree_ids(filled, None, None, ["poems"])] == []
    old = {"$unset": {"collection": ""}}  # from before there were collections
    await filled["trees"].update_one({"_id": trees[0]["_id"]}, old)
    assert len([each async for each in tree_ids(filled, None, None, ["default"])]) == len(trees)


async def test_a_mark_that_is_none_is_said(filled: Database, tmp_path: Path) -> None:
    (tmp_path / export_marks.NAME).write_text("{}nonsense")
    with pytest.raises(BadInput, match=r"'\.export\.json' in .* is not that of an export"):
        await export_trees(filled, tmp_path)
    assert Mark().parts == 0


@pytest.mark.parametrize(
    ("name", "form", "says"),
    [
        ("x.csv", None, "'x.csv' does not say what to write; it must end in .jsonl or .jsonl.gz"),
        ("x.json", None, "does not say what to write"),
        ("noname", "trees", "does not say what to write"),
        ("x.parquet", "messages", "'x.parquet' is no name for messages; it must end in .jsonl or .jsonl.gz"),
        ("x.jsonl", "parquet", "'x.jsonl' is no name for parquet; it must end in .parquet"),
        ("s3://bucket/x.csv", None, "'s3://bucket/x.csv' does not say what to write"),
    ],
)
async def test_a_name_that_does_not_say_what_is_in_it_is_refused(
    database: Database, name: str, form: str | None, says: str
) -> None:
    with pytest.raises(BadInput, match=says.replace(".", r"\.")):
        await export_trees(database, name, plan=Plan(form=form))


def test_a_file_of_an_unknown_name_is_no_source(tmp_path: Path, store: ObjectStore, monkeypatch: Any) -> None:
    monkeypatch.setenv("OA_S3_ENDPOINT", str(store.endpoint))
    (tmp_path / "x.csv").write_text("id,text\n")
    store.put("x.csv", b"id,text\n")
    for source in (tmp_path / "x.csv", f"s3://{store.bucket}/x.csv"):
        with pytest.raises(BadInput, match=r"x\.csv' does not say what it holds; its name must end in \.jsonl or"):
            Source(source)
    os.mkfifo(tmp_path / "pipe")
    assert Source("/dev/null").total == 0, "what is no file is read as lines"


@pytest.mark.parametrize("name", ["rows.parquet", "in the object store"])
async def test_a_process_that_is_killed_goes_on_when_it_is_run_again(
    database: Database, mongodb_uri: str, store: ObjectStore, tmp_path: Path, name: str
) -> None:
    await import_trees(database, (json.dumps(each) for each in many(400)))
    local = name.endswith(".parquet")
    out = tmp_path / name if local else f"s3://{store.bucket}/t.jsonl.gz"
    whole = tmp_path / ("whole.parquet" if local else "whole.jsonl.gz")
    await export_trees(database, whole)
    environment = os.environ | {
        "OA_MONGODB_URI": mongodb_uri, "OA_MONGODB_DATABASE": database.name, "OA_S3_ENDPOINT": str(store.endpoint)
    }  # fmt: skip
    command = [sys.executable, "-m", "oa.main", "export", str(out), "--per-part", "100", "--json"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: ASYNC220

    def parts() -> int:
        return len([*tmp_path.glob(".*.export/part-*")] if local else [*store.list("t.jsonl.gz.export/part-")])

    try:
        await reached(parts, 3, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert not (tmp_path / name).exists()
    assert not store.exists("t.jsonl.gz")
    again = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    report = json.loads(again.stdout)
    assert 10 < report["resumed"] < report["trees"] == 400, again.stderr
    if local:
        assert pq.read_table(out).equals(pq.read_table(whole))
    assert ((tmp_path / name).read_bytes() if local else store.get("t.jsonl.gz")) == whole.read_bytes()
    assert sorted(content(tmp_path)) == sorted([whole.name, name] if local else [whole.name])
    assert [each.key for each in store.list("")] == ([] if local else ["t.jsonl.gz"])


def many(count: int) -> Any:
    """Trees of four messages each."""
    for number in range(count):
        yield tree(message(f"t{number}", *(message(f"t{number}-{index}", text="word " * 40) for index in range(3))))


async def reached(count: Callable[[], int], enough: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while count() < enough:
        assert process.poll() is None, "the export ended before it could be killed"
        assert time.monotonic() < deadline, "the export did not get so far"
        await asyncio.sleep(0.005)
