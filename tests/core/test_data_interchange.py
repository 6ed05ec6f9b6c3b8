"""Trees into the store and out again: the real sets, faults, repetition, and what is refused."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_forms import SAMPLES, Node, exported, message, nodes, read, tree
from pymongo import AsyncMongoClient

from core.config import CollectionConfig
from core.database import Database
from core.errors import BadInput, BadRecord, Conflict, NotFound, OaError, Unavailable
from core.interchange import ImportReport, import_trees
from core.opinions import Ranking
from core.rules import CollectionRecord, collections
from core.settle import settle
from core.tree_export import export_trees
from oa.embedded import free_port

REAL = ("oasst1-en-validation/trees.jsonl.gz", "oasst2-multilingual-551/trees.jsonl.gz")


async def contents(database: Database) -> dict[str, list[Any]]:
    """Every document that an import may write."""
    return {
        name: sorted([each async for each in database[name].find()], key=lambda each: each["_id"])
        for name in ("trees", "messages", "rankings")
    }


async def test_the_samples_come_out_as_they_went_in(database: Database) -> None:
    report = await import_trees(database, SAMPLES / "trees.jsonl")
    assert (report.trees, report.messages, report.rankings, report.bad) == (63, 312, 243, 0)
    assert await exported(database) == read(SAMPLES / "trees.jsonl")


@pytest.mark.parametrize("name", REAL)
async def test_real_trees_come_out_field_by_field_and_a_second_import_changes_nothing(
    database: Database, shared_data: Path, name: str
) -> None:
    path = shared_data / name
    report = await import_trees(database, path, origin="elsewhere")
    before = await contents(database)
    assert await exported(database, include_deleted=True) == read(path)
    again = await import_trees(database, path, origin="another")
    assert (again.trees, again.messages, again.unchanged) == (0, 0, again.lines)
    assert report.trees + report.unchanged == report.lines == again.lines
    assert await contents(database) == before


async def test_real_flat_messages_give_the_nested_trees_and_orphans_are_reported(
    database: Database, shared_data: Path
) -> None:
    folder = shared_data / "oasst1-en-validation"
    with pytest.raises(BadRecord, match=r"line 153: message '9caf0013.*its parent '3aeb9373"):
        await import_trees(database, folder / "messages.jsonl.gz")
    report = await import_trees(database, folder / "messages.jsonl.gz", on_error="skip")
    assert (report.bad, [problem.split(":")[0] for problem in report.problems]) == (
        3,
        ["line 153", "line 215", "line 1670"],
    )
    found, wanted = await exported(database, include_deleted=True), read(folder / "trees.jsonl.gz")
    assert found.keys() == wanted.keys()
    for identity, each in wanted.items():
        assert by_id(found[identity]) == by_id(each)


def by_id(value: Node) -> dict[str, Node]:
    """Messages without their nesting; flat files have no sibling order, and null where nothing was labelled."""
    same = {"replies": None}
    return {
        node["message_id"]: node | same | {key: node[key] or {} for key in ("labels", "emojis")}
        for node in nodes(value)
    }


async def test_what_changes_after_an_import_shows_and_only_that(database: Database) -> None:
    await import_trees(database, SAMPLES / "trees.jsonl")
    wanted = read(SAMPLES / "trees.jsonl")
    value = next(iter(wanted.values()))
    best, second, worst = value["prompt"]["replies"]
    for node, rank in ((best, 1), (second, 0)):
        await database["messages"].update_one({"_id": node["message_id"]}, {"$set": {"rank": rank}})
        node["rank"] = rank
    labels = {"spam": {"value": 1.0, "count": 4}}
    await database["messages"].update_one({"_id": second["message_id"]}, {"$set": {"labels": labels}})
    await database["messages"].update_one({"_id": worst["message_id"]}, {"$set": {"deleted": True}})
    second["labels"] = labels
    value["prompt"]["replies"] = [second, best]
    assert await exported(database) == wanted
    worst["deleted"] = True
    value["prompt"]["replies"].append(worst)
    assert await exported(database, include_deleted=True) == wanted


async def test_the_consensus_of_imported_rankings_is_found_again_and_settling_changes_nothing_else(
    database: Database,
) -> None:
    await import_trees(database, SAMPLES / "trees.jsonl")
    wanted = read(SAMPLES / "trees.jsonl")
    await database["messages"].update_many({}, {"$set": {"rank": None}})
    await database["trees"].update_many({}, {"$set": {"state": "ranking"}})
    for identity in wanted:
        await settle(database, CollectionConfig(mode="parity"), identity)
    assert await exported(database) == wanted


async def test_rows_of_a_released_table_give_the_trees(database: Database, shared_data: Path, tmp_path: Path) -> None:
    wanted = read(shared_data / "oasst1-en-validation/trees.jsonl.gz")
    written = 0
    for split, part in (("train", [*wanted.values()][:6]), ("validation", [*wanted.values()][6:8])):
        rows = [row for value in part for row in table_rows(value)]
        assert len(rows[0]) == 18
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{split}.parquet")
        written += len(rows)
    report = await import_trees(database, tmp_path)
    assert (report.lines, report.messages, report.trees) == (written, written, 8)
    found = await exported(database, include_deleted=True)
    assert {key: by_id(each) for key, each in found.items()} == {key: by_id(wanted[key]) for key in found}


def table_rows(value: Node) -> Iterator[Node]:
    """A tree as rows of 18 columns, labels and emojis as columns within them."""
    for node in nodes(value):
        row = {key: each for key, each in node.items() if key != "replies"}
        labels, emojis = row["labels"], row["emojis"]
        row["labels"] = {
            "name": [*labels],
            **{key: [each[key] for each in labels.values()] for key in ("value", "count")},
        }
        row["emojis"] = {"name": [*emojis], "count": [*emojis.values()]}
        yield row | {"message_tree_id": value["message_tree_id"], "tree_state": value["tree_state"]}


def many(count: int, start: int = 0) -> Iterator[str]:
    """Lines of trees of six messages each."""
    for number in range(start, start + count):
        replies = [message(f"t{number}-{index}", text="word " * 40, rank=index) for index in range(5)]
        yield json.dumps(tree(message(f"t{number}", *replies)))


async def test_a_bad_line_stops_the_import_or_is_skipped_as_asked(database: Database) -> None:
    lines = [next(many(1)), '{"message_tree_id": "x", "prompt": NaN}', "", json.dumps(tree(message("y", role="user")))]
    lines += [*many(1, start=1)]
    with pytest.raises(BadRecord, match="line 2: no JSON") as caught:
        await import_trees(database, lines)
    assert caught.value.line == 2
    report = await import_trees(database, lines, on_error="skip")
    assert (report.lines, report.trees, report.bad) == (4, 2, 2)
    assert report.problems[1].startswith("line 4: message 'y': role is 'user'")
    assert sorted(await exported(database)) == ["t0", "t1"]


async def test_a_tree_with_one_bad_message_is_not_there_at_all(database: Database) -> None:
    bad = tree(message("root", message("good"), message("bad", rank=-1)))
    report = await import_trees(database, [bad], on_error="skip")
    assert report.problems == ["line 1: message 'bad': rank is -1; it must be null or a whole number from 0"]
    assert await contents(database) == {"trees": [], "messages": [], "rankings": []}


async def test_a_dry_run_finds_the_same_and_writes_nothing(database: Database) -> None:
    lines = [*many(3), "oops"]
    report = await import_trees(database, lines, on_error="skip", dry_run=True)
    assert (report.trees, report.messages, report.bad) == (3, 18, 1)
    assert await contents(database) == {"trees": [], "messages": [], "rankings": []}


async def test_ids_that_are_taken_are_refused(database: Database) -> None:
    await import_trees(database, [tree(message("a", message("a1")))])
    cases = {
        "message 'a1' of tree 'b' is there already, in tree 'a'": tree(message("b", message("a1"))),
        "tree 'a' is there already, but without message 'a2'": tree(message("a", message("a1"), message("a2"))),
    }
    before = await contents(database)
    for says, value in cases.items():
        with pytest.raises(BadRecord, match=says):
            await import_trees(database, [value])
    twice = [tree(message("c", message("x"))), tree(message("d", message("x")))]
    with pytest.raises(BadRecord, match="line 2: message 'x' of tree 'd' occurs in another tree"):
        await import_trees(database, twice, dry_run=True)
    assert await contents(database) == before


async def test_what_an_interrupted_import_left_is_replaced(database: Database) -> None:
    lines = (SAMPLES / "trees.jsonl").read_text("utf-8").splitlines()
    await import_trees(database, lines)
    await database["trees"].delete_many({})
    await database["messages"].update_many({"rank": 0}, {"$set": {"text": "stale"}})
    assert await exported(database) == {}
    report = await import_trees(database, lines)
    assert (report.trees, report.unchanged) == (63, 0)
    assert await exported(database) == read(SAMPLES / "trees.jsonl")
    texts = {each["_id"]: each["text"] async for each in database["messages"].find()}
    assert texts == {each["_id"]: each["text"] async for each in database["message_words"].find()}


async def test_an_import_that_is_killed_leaves_whole_trees_and_goes_on_when_run_again(
    database: Database, mongodb_uri: str, tmp_path: Path
) -> None:
    path = tmp_path / "trees.jsonl"
    path.write_text("\n".join(many(1_500)))
    environment = {**os.environ, "OA_MONGODB_URI": mongodb_uri, "OA_MONGODB_DATABASE": database.name}
    process = subprocess.Popen(  # noqa: ASYNC220 - starting is quick, and it is waited for by polling
        [sys.executable, "-m", "oa.main", "import", str(path)],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await reached(lambda: database["trees"].count_documents({}), 160, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    found = await exported(database)
    assert 160 <= len(found) < 1_500
    assert all(len(list(nodes(each))) == 6 for each in found.values())
    report = await import_trees(database, path)
    assert (report.unchanged, report.trees) == (len(found), 1_500 - len(found))
    assert await database["messages"].count_documents({}) == 9_000


async def reached(count: Callable[[], Any], enough: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while await count() < enough:
        assert process.poll() is None, "the import ended before it could be killed"
        assert time.monotonic() < deadline, "the import did not get so far"
        await asyncio.sleep(0.02)


async def test_two_imports_of_the_same_at_once_leave_every_tree_whole(database: Database) -> None:
    lines = [*many(400)]
    outcomes = await asyncio.gather(*(import_trees(database, lines) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(each, ImportReport | Conflict | BadRecord) for each in outcomes)
    await import_trees(database, lines)
    found = await exported(database)
    assert found == {each["message_tree_id"]: each for each in map(json.loads, lines)}


async def test_rankings_with_ties_and_trees_of_a_collection_come_back(database: Database) -> None:
    root = message("a", message("b"), message("c"), message("d"))
    ranking = {"type": "ranking", "ranked_message_ids": ["c", "b", "d"], "tiers": [1, 2], "not_rankable": False}
    value = tree({**root, "events": {"ranking": [ranking, {**ranking, "tiers": [9]}]}})
    with pytest.raises(NotFound, match="there is no collection 'poems'"):
        await import_trees(database, [value], collection="poems")
    await database["collections"].insert_one(CollectionRecord(id="poems", name="poems").to_document())
    await collections(database, fresh=True)
    await import_trees(database, [value], collection="poems")
    await import_trees(database, [tree(message("x"))])
    groups = [Ranking.from_document(each).groups async for each in database["rankings"].find().sort("_id")]
    assert groups == [(("c",), ("b", "d")), (("c",), ("b",), ("d",))]
    assert sorted(await exported(database, collections=["poems"])) == ["a"]
    of = {each["_id"]: each["collection"] async for each in database["messages"].find()}
    assert of == dict.fromkeys("abcd", "poems") | {"x": "default"}
    assert (await exported(database))["a"] == value
    own = Ranking(id="r", tree_id="a", parent_id="a", ranking=("b", "c", "d"), served=("b", "c", "d"), tiers=(2, 1))
    await database["rankings"].insert_one(own.to_document())
    event = (await exported(database))["a"]["prompt"]["events"]["ranking"][-1]
    assert (event["ranked_message_ids"], event["tiers"]) == (["b", "c", "d"], [2, 1])


async def test_an_export_can_be_narrowed(database: Database) -> None:
    value = tree(
        message(
            "de", message("ok", message("under ok".replace(" ", "-"))),
            message("gone", message("under-gone"), deleted=True), message("refused", review_result=False), lang="de",
        ),
        state="growing",
    )  # fmt: skip
    await import_trees(database, [value, tree(message("en", lang="en")), tree(message("x", deleted=True))])
    assert sorted(await exported(database)) == ["de", "en"]
    told: list[tuple[int, int, int]] = []
    await export_trees(database, io.BytesIO(), progress=lambda each: told.append((each.trees, each.seen, each.total)))
    assert told[-1] == (2, 3, 3), "of the third nothing is left, and it is done all the same"
    assert sorted(await exported(database, include_deleted=True)) == ["de", "en", "x"]
    assert sorted(await exported(database, states=["growing"])) == ["de"]
    assert sorted(await exported(database, langs=["en", "fr"])) == ["en"]
    kept = await exported(database, accepted_only=True, langs=["de"])
    assert [node["message_id"] for node in nodes(kept["de"])] == ["de", "ok", "under-ok"]
    with pytest.raises(BadInput, match="'done' is none of"):
        await exported(database, states=["done"])


async def test_an_export_can_hide_who_wrote_and_ranked(database: Database) -> None:
    await import_trees(database, SAMPLES / "trees.jsonl")
    plain = [*nodes_of(await exported(database))]
    hidden = [*nodes_of(await exported(database, pseudonyms="secret"))]
    again = [*nodes_of(await exported(database, pseudonyms="secret"))]
    other = [*nodes_of(await exported(database, pseudonyms="another"))]
    assert hidden == again
    people = {(before["user_id"], after["user_id"]) for before, after in zip(plain, hidden, strict=True)}
    assert len(people) == len({before for before, _ in people}) == len({after for _, after in people}) == 12
    assert "sample-" not in json.dumps(hidden)
    assert not {node["user_id"] for node in hidden} & {node["user_id"] for node in other}
    rankers = {event["user_id"] for node in hidden for event in node.get("events", {}).get("ranking", [])}
    assert rankers <= {node["user_id"] for node in hidden}
    with pytest.raises(BadInput, match="secret of the pseudonyms is empty"):
        await exported(database, pseudonyms="")


def nodes_of(trees: dict[str, Node]) -> Iterator[Node]:
    return (node for value in trees.values() for node in nodes(value))


async def test_progress_is_told_after_each_batch(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(many(500)))
    told: list[tuple[int, int]] = []
    await import_trees(database, path, progress=lambda report: told.append((report.trees, report.bytes_read)))
    assert len(told) >= 3
    assert told == sorted(told)
    assert told[-1] == (500, path.stat().st_size)


async def test_memory_does_not_grow_with_the_file(database: Database) -> None:
    async def peak(count: int) -> int:
        tracemalloc.start()
        await import_trees(database, many(count), dry_run=True)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    await peak(200)
    small, large = await peak(300), await peak(900)
    assert large < 1.3 * small


async def test_wrong_arguments_and_a_store_that_is_not_there_are_said(database: Database) -> None:
    with pytest.raises(BadInput, match="on_error is 'ignore'"):
        await import_trees(database, [], on_error="ignore")
    async with AsyncMongoClient(f"mongodb://127.0.0.1:{free_port()}", serverSelectionTimeoutMS=200) as client:
        with pytest.raises(OaError) as caught:
            await import_trees(client["x"], many(1))
    assert isinstance(caught.value, Unavailable)
