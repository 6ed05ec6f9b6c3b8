"""The forms and places of trees: flat files, the 18 columns, folders in parts, the object store; there and back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from data_forms import SAMPLES, Node, exported, message, nodes, read, tree

from core.database import Database
from core.errors import BadInput, BadRecord
from core.flatform import Gatherer, flat_messages
from core.hubform import SCHEMA, SCORES, row_of
from core.interchange import import_trees
from core.jsonl import parse_object
from core.objects import ObjectStore
from core.records import now
from core.sources import Source
from core.targets import Plan
from core.tree_export import Choice, export_trees
from core.treeform import export_tree, parse_tree

REAL = ("oasst1-en-validation", "oasst2-multilingual-551")
COLUMNS = [
    "message_id", "parent_id", "user_id", "created_date", "text", "role", "lang", "review_count", "review_result",
    "deleted", "rank", "synthetic", "model_name", "detoxify", "message_tree_id", "tree_state", "emojis", "labels",
]  # fmt: skip


def carried(value: Node) -> list[Node]:
    """What the 18 columns carry of a tree: its rows, depth first."""
    return [row_of(each) for each in flat_messages(value)]


@pytest.fixture(scope="module", params=REAL)
def real(request: pytest.FixtureRequest, shared_data: Path) -> Path:
    return shared_data / request.param / "trees.jsonl.gz"


async def emptied(database: Database) -> None:
    for name in ("trees", "message_words", "messages", "rankings"):
        await database[name].delete_many({})


async def test_real_trees_come_back_from_every_form(database: Database, real: Path, tmp_path: Path) -> None:
    wanted = read(real)
    await import_trees(database, real)
    for form, name in (("trees", "t.jsonl.gz"), ("messages", "m.jsonl"), ("parquet", "rows.parquet")):
        await export_trees(database, tmp_path / name, Choice(include_deleted=True), Plan(form=form))
    assert read(tmp_path / "t.jsonl.gz") == wanted
    assert sorted(loaded(tmp_path / "t.jsonl.gz")["message_tree_id"]) == sorted(wanted)

    rows = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert rows == [row for identity in sorted(wanted) for row in carried(wanted[identity])]

    flat = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text("utf-8").splitlines()]
    assert flat == [each for identity in sorted(wanted) for each in flat_messages(wanted[identity])]

    for name in ("m.jsonl", "rows.parquet"):
        assert loaded(tmp_path / name).num_rows == len(flat)
        found = reread(tmp_path / name)
        assert found.keys() == wanted.keys()
        for identity, each in wanted.items():
            assert carried(found[identity]) == carried(each)
            assert name != "m.jsonl" or same(found[identity]) == same(each)


def loaded(path: Path) -> Any:
    """The file as `datasets` reads it."""
    import datasets

    kind = "parquet" if path.suffix == ".parquet" else "json"
    cache = str(path.parent / "cache")
    return datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=cache)


def reread(path: Path) -> dict[str, Node]:
    """The trees of a flat file as an import makes records of them and an export trees again."""
    gatherer, found = Gatherer(), {}
    for value in (*(value for _, value in Source(path)), None):
        done = gatherer.finish() if value is None else gatherer.add(parse_object(value))
        if done is not None:
            parsed = parse_tree(done, origin=None, imported_at=now())
            found[parsed.tree.id] = export_tree(parsed.tree, parsed.messages, parsed.rankings)
    return found


def same(value: Node) -> list[Node]:
    """A tree's messages with all of their keys; lost in a flat file is only what stands for no replies, and what a
    message itself said of its tree."""
    lost = ("replies", "message_tree_id", "tree_state")
    return [{key: each for key, each in node.items() if key not in lost} for node in nodes(value)]


def test_the_columns_are_those_that_are_published() -> None:
    assert SCHEMA.names == COLUMNS
    assert str(SCHEMA.field("emojis").type) == "struct<name: list<item: string>, count: list<item: int32>>"
    labels = "struct<name: list<item: string>, value: list<item: double>, count: list<item: int32>>"
    assert str(SCHEMA.field("labels").type) == labels
    assert [field.name for field in SCHEMA.field("detoxify").type] == list(SCORES)


async def test_datasets_reads_every_form(database: Database, tmp_path: Path) -> None:
    await import_trees(database, SAMPLES / "trees.jsonl")
    for form, suffix in (("trees", "jsonl.gz"), ("messages", "jsonl"), ("parquet", "parquet")):
        path = tmp_path / f"{form}.{suffix}"
        report = await export_trees(database, path, plan=Plan(form=form))
        found = loaded(path)
        assert len(found) == (report.trees if form == "trees" else report.messages)
        if form == "parquet":
            assert found.column_names == COLUMNS


async def test_a_folder_in_parts_goes_out_and_in(database: Database, tmp_path: Path) -> None:
    await import_trees(database, SAMPLES / "trees.jsonl")
    before = await exported(database)
    await export_trees(database, f"{tmp_path / 'out'}/", plan=Plan(per_part=100))
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [f"part-0000{n}.jsonl.gz" for n in range(4)]
    with pytest.raises(BadInput, match="is not empty"):
        await export_trees(database, tmp_path / "out")
    await emptied(database)
    report = await import_trees(database, tmp_path / "out")
    assert (report.trees, report.bytes_read) == (63, report.bytes_total)
    assert await exported(database) == before


async def test_the_object_store_is_a_target_and_a_source(
    database: Database, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OA_S3_ENDPOINT", str(store.endpoint))
    monkeypatch.setenv("OA_S3_BUCKET", store.bucket)
    await import_trees(database, SAMPLES / "trees.jsonl")
    before = await exported(database)
    one, many = f"s3://{store.bucket}/exports/one.parquet", f"s3://{store.bucket}/exports/many/"
    await export_trees(database, one)
    await export_trees(database, many, plan=Plan(per_part=200))
    assert [each.key for each in store.list("exports/")] == [
        "exports/many/part-00000.jsonl.gz", "exports/many/part-00001.jsonl.gz", "exports/one.parquet",
    ]  # fmt: skip
    for source in (one, many):
        await emptied(database)
        assert (await import_trees(database, source)).trees == 63
        found = await exported(database)
        assert all(carried(found[identity]) == carried(each) for identity, each in before.items())
    with pytest.raises(BadInput, match="is not empty"):
        await export_trees(database, many)
    with pytest.raises(BadInput, match="names no object"):
        Source(f"s3://{store.bucket}/nothing/")


async def test_a_failed_export_leaves_no_file(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await import_trees(database, SAMPLES / "trees.jsonl")
    written: list[Node] = []

    def fails(*arguments: Any) -> Node:
        if len(written) == 20:
            raise RuntimeError("enough")
        written.append(export_tree(*arguments))
        return written[-1]

    monkeypatch.setattr("core.tree_export.export_tree", fails)
    for name in ("a.parquet", "b.jsonl.gz", "c/"):
        written.clear()
        with pytest.raises(RuntimeError, match="enough"):
            await export_trees(database, f"{tmp_path}/{name}")
    assert [each.name for each in tmp_path.rglob("*")] == ["c"]  # noqa: ASYNC240 - nothing else runs


async def test_a_wrong_line_in_a_folder_is_named_with_its_file(database: Database, tmp_path: Path) -> None:
    good = tree(message("a"))
    (tmp_path / "1.jsonl").write_text(json.dumps(good) + "\n")
    (tmp_path / "2.jsonl").write_text("\nnonsense\n")
    (tmp_path / "3.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "notes.txt").write_text("left alone")
    with pytest.raises(BadRecord, match=r"^line 2 of 2\.jsonl: no JSON"):
        await import_trees(database, tmp_path)
    (tmp_path / "2.jsonl").unlink()
    with pytest.raises(BadInput, match=r"3\.parquet' as Parquet"):
        await import_trees(database, tmp_path)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nothing.jsonl", "cannot read 'nothing.jsonl'"),
        ("s3:///key", "names no bucket"),
        (Path(__file__).parents[2] / "docker", "has no file that ends in"),
    ],
)
def test_a_source_that_is_none_is_said(source: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Source(source)


async def test_an_unknown_form_is_refused(database: Database) -> None:
    with pytest.raises(BadInput, match="form 'csv' is none of trees, messages, parquet"):
        await export_trees(database, io.BytesIO(), plan=Plan(form="csv"))
