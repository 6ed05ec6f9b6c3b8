"""Snapshots: what becomes a row, that freezing is repeatable, and that others can read what is frozen."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from data_forms import SAMPLES, Node, message, nodes, read, tree
from hypothesis import given
from hypothesis import strategies as st

from core import layout, manifest
from core.database import Database
from core.errors import BadInput, NotFound
from core.interchange import import_trees
from core.objects import ObjectStore
from core.records import now
from core.snapshot_filters import Filters, parse_filters
from core.snapshot_rows import rows_of, split_place
from core.snapshots import freeze, list_snapshots, load_manifest, signed_files
from core.treeform import parse_tree

Row = dict[str, Any]


def rows(kind: str, value: Node, **filters: Any) -> list[Row]:
    parsed = parse_tree(value, origin=None, imported_at=now())
    return rows_of(kind, parsed.tree, parsed.messages, "train", parse_filters(filters))


def threads(found: list[Row], key: str = "messages") -> set[tuple[str, ...]]:
    return {tuple(turn["message_id"] for turn in row[key]) for row in found}


def conversation() -> Node:
    """Two ranked replies to the root; the best is followed by two prompts, one of which has a good reply."""
    followed = message("p1", message("a2"), text="and then?")
    best = message("a0", followed, message("p2"), rank=0)
    return tree(message("root", best, message("a1", message("p3", message("a3")), rank=1)))


def test_fine_tuning_takes_the_best_thread_as_far_as_it_goes() -> None:
    assert threads(rows("sft", conversation())) == {("root", "a0", "p1", "a2")}
    both = {("root", "a0", "p1", "a2"), ("root", "a1", "p3", "a3")}
    assert threads(rows("sft", conversation(), top_k=2)) == both
    (row,) = rows("sft", conversation())
    assert [turn["role"] for turn in row["messages"]] == ["user", "assistant", "user", "assistant"]
    assert (row["thread_id"], row["tree_id"], row["lang"], row["split"]) == ("a2", "root", "und", "train")


@pytest.mark.parametrize(
    ("replies", "wanted"),
    [
        ([{"rank": None}], {("root", "r0")}),
        ([{"rank": None}, {"rank": None}], set()),
        ([{"rank": 0, "synthetic": True}, {"rank": 1}], set()),
        ([{"rank": 0, "deleted": True}, {"rank": 1}], {("root", "r1")}),
        ([{"rank": 0, "review_result": False}, {"rank": 1}], {("root", "r1")}),
        ([{"synthetic": True}], set()),
    ],
)
def test_fine_tuning_learns_from_the_best_of_people_or_the_only_one(replies: list[Node], wanted: set[Any]) -> None:
    value = tree(message("root", *(message(f"r{index}", **each) for index, each in enumerate(replies))))
    assert threads(rows("sft", value)) == wanted


def test_pairs_are_of_ranked_siblings_with_margins_and_weights() -> None:
    value = tree(message("root", *(message(name, rank=rank) for rank, name in enumerate("abc"))))
    found = {(row["chosen_id"], row["rejected_id"]): row for row in rows("preference", value)}
    assert {pair: row["margin"] for pair, row in found.items()} == {("a", "b"): 0.5, ("a", "c"): 1.0, ("b", "c"): 0.5}
    assert sum(row["weight"] for row in found.values()) == pytest.approx(1)
    row = found["a", "c"]
    assert (row["chosen"], row["rejected"], row["parent_id"]) == ("text of a", "text of c", "root")
    assert row["prompt"] == [{"role": "user", "content": "text of root", "message_id": "root"}]


def test_pairs_may_hold_replies_of_models_unless_refused_and_never_equal_texts() -> None:
    value = tree(
        message(
            "root", message("a", rank=0, synthetic=True), message("b", rank=1), message("c", rank=2, text="text of b")
        )
    )
    pairs = {(row["chosen_id"], row["rejected_id"]) for row in rows("preference", value)}
    assert pairs == {("a", "b"), ("a", "c")}
    assert rows("preference", value, synthetic=False) == []


def test_prompts_are_all_threads_that_end_in_a_prompter() -> None:
    wanted = {("root",), ("root", "a0", "p1"), ("root", "a0", "p2"), ("root", "a1", "p3")}
    assert threads(rows("prompts", conversation()), "prompt") == wanted


@pytest.mark.parametrize("kind", ["sft", "preference", "prompts"])
@pytest.mark.parametrize("fields", [{"deleted": True}, {"review_result": False}, {"review_result": None}])
def test_nothing_comes_of_a_tree_whose_root_is_not_accepted(kind: str, fields: Node) -> None:
    value = conversation()
    value["prompt"] |= fields
    assert rows(kind, value) == []


@st.composite
def any_trees(draw: st.DrawFn) -> Node:
    made = [message("m0")]
    for index in range(1, draw(st.integers(1, 12))):
        above = draw(st.sampled_from(made))
        fields = {
            "rank": draw(st.none() | st.integers(0, 3)),
            "deleted": draw(st.sampled_from([False, False, False, True])),
            "review_result": draw(st.sampled_from([True, True, True, False, None])),
            "synthetic": draw(st.booleans()),
        }
        made.append(message(f"m{index}", role="assistant" if above["role"] == "prompter" else "prompter", **fields))
        above["replies"].append(made[-1])
    return tree(made[0])


@given(any_trees(), st.integers(1, 3))
def test_rows_hold_only_what_they_may(value: Node, top_k: int) -> None:
    parsed = parse_tree(value, origin=None, imported_at=now())
    known = {each.id: each for each in parsed.messages}
    for kind in ("sft", "preference", "prompts"):
        found = rows_of(kind, parsed.tree, parsed.messages, "train", Filters(top_k=top_k))
        assert found == rows_of(kind, parsed.tree, parsed.messages[::-1], "train", Filters(top_k=top_k))
        for row in found:
            path = [known[turn["message_id"]] for turn in row["messages" if kind == "sft" else "prompt"]]
            assert all(each.usable for each in path)
            assert [each.id for each in path] == [*path[-1].ancestors, path[-1].id]
            assert path[-1].role == ("assistant" if kind == "sft" else "prompter")
            if kind == "sft":
                assert not any(each.synthetic for each in path if each.role == "assistant")
            if kind == "preference":
                better, worse = known[row["chosen_id"]], known[row["rejected_id"]]
                assert better.parent_id == worse.parent_id == path[-1].id
                assert better.rank is not None
                assert worse.rank is not None
                assert better.rank < worse.rank
                assert 0 < row["margin"] <= 1
        names = [row[{"sft": "thread_id", "preference": "pair_id", "prompts": "prompt_id"}[kind]] for row in found]
        assert len(set(names)) == len(names)


@given(st.integers(0, 2**32 - 1), st.text(max_size=40))
def test_the_split_place_is_in_range_and_fixed(seed: int, identity: str) -> None:
    assert 0 <= split_place(seed, identity) < 1_000_000
    assert split_place(seed, identity) == split_place(seed, identity)


async def frozen(database: Database, store: ObjectStore, kind: str = "sft", **options: Any) -> dict[str, Any]:
    return await freeze(database, store, **{"kind": kind, "name": f"samples-{kind}", "seed": 7, **options})


async def test_datasets_reads_what_was_frozen(database: Database, store: ObjectStore, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    await import_trees(database, SAMPLES / "trees.jsonl")
    columns = {
        "sft": "thread_id tree_id lang split messages",
        "preference": "pair_id parent_id tree_id lang split prompt chosen rejected chosen_id rejected_id margin weight "
        "confidence rankings alpha",
        "prompts": "prompt_id tree_id lang split prompt",
    }
    for kind, names in columns.items():
        about = await frozen(database, store, kind)
        folder = tmp_path / kind
        manifest.fetch(store, layout.dataset(about["name"], about["version"]), folder)
        files = {split: str(folder / f"{split}.parquet") for split in ("train", "validation")}
        loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
        assert sorted(loaded["train"].column_names) == sorted(names.split())
        for split in files:
            assert len(loaded[split]) == about["counts"][split] > 0
            assert set(loaded[split]["split"]) == {split}
        assert not set(loaded["train"]["tree_id"]) & set(loaded["validation"]["tree_id"])
    row = loaded["train"][0]
    assert row["prompt"][-1]["role"] == "user"


async def test_the_samples_give_the_rows_that_their_shape_says(database: Database, store: ObjectStore) -> None:
    await import_trees(database, SAMPLES / "trees.jsonl")
    sizes = [
        len(node["replies"])
        for each in read(SAMPLES / "trees.jsonl").values()
        for node in nodes(each)
        if node["role"] == "prompter"
    ]
    counts = {kind: (await frozen(database, store, kind))["counts"] for kind in ("sft", "preference", "prompts")}
    assert counts["sft"]["rows"] == counts["sft"]["trees"] == 63
    assert counts["preference"]["rows"] == sum(size * (size - 1) // 2 for size in sizes)
    assert counts["prompts"]["rows"] == len(sizes)
    assert counts["sft"]["by_lang"]["en"] == 22


async def test_the_same_content_gives_the_same_version_and_other_content_another(
    database: Database, store: ObjectStore
) -> None:
    await import_trees(database, (SAMPLES / "trees.jsonl").read_text("utf-8").splitlines()[:30])
    first = await frozen(database, store, "preference")
    assert await frozen(database, store, "preference") == first
    assert len(first["version"]) == 12
    other = ObjectStore(f"{store.bucket}-2", store.endpoint)
    other.ensure_bucket()
    elsewhere = await frozen(database, other, "preference")
    assert elsewhere | {"created_at": ""} == first | {"created_at": ""}
    versions = {first["version"]}
    for options in ({"seed": 8}, {"validation_percent": 20}, {"filters": {"langs": ["en"]}}, {"licence": "CC0-1.0"}):
        versions.add((await frozen(database, store, "preference", **options))["version"])
    await database["messages"].update_one({"rank": 0}, {"$set": {"text": "another text"}})
    versions.add((await frozen(database, store, "preference"))["version"])
    assert len(versions) == 6
    assert {each["version"] for each in list_snapshots(store)} == versions


async def test_the_sources_name_everything_that_went_in(database: Database, store: ObjectStore, tmp_path: Path) -> None:
    await import_trees(database, SAMPLES / "trees.jsonl")
    review = {"_id": "review", "tree_id": "", "message_id": "", "labels": {"spam": 0.0}}
    root = await database["messages"].find_one({"parent_id": None})
    assert root is not None
    await database["reviews"].insert_one(review | {"tree_id": root["_id"], "message_id": root["_id"]})
    about = await frozen(database, store, "preference")
    manifest.fetch(store, layout.dataset(about["name"], about["version"]), tmp_path)
    sources = pq.read_table(tmp_path / about["sources"]).to_pylist()
    kinds = [row["kind"] for row in sources]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "tree": 63,
        "message": 312,
        "ranking": 243,
        "review": 1,
    }
    assert len({row["hash"] for row in sources if row["kind"] == "message"}) == 312


async def test_filters_choose_trees(database: Database, store: ObjectStore) -> None:
    made = (("a", "en", "ready_for_export", "x"), ("b", "de", "ready_for_export", "y"), ("c", "en", "growing", "x"))
    values = [
        tree(message(name, message(f"{name}1"), lang=lang), state=state, origin=origin)
        for name, lang, state, origin in made
    ]
    await import_trees(database, values)
    for filters, trees in (
        ({}, 2),
        ({"langs": ["en"]}, 1),
        ({"origins": ["y"]}, 1),
        ({"states": ["growing", "ready_for_export"]}, 3),
    ):
        assert (await frozen(database, store, filters=filters))["counts"]["trees"] == trees


async def test_a_small_set_still_holds_out_one_tree_unless_asked_not_to(database: Database, store: ObjectStore) -> None:
    await import_trees(database, [tree(message(f"t{number}", message(f"t{number}a"))) for number in range(3)])
    counts = (await frozen(database, store, validation_percent=0.001))["counts"]
    assert (counts["train"], counts["validation"]) == (2, 1)
    none = await frozen(database, store, validation_percent=0)
    assert (none["counts"]["train"], none["counts"]["validation"]) == (3, 0)
    assert [each["path"] for each in none["files"]] == ["sources.parquet", "train.parquet"]


async def test_rows_are_written_in_groups(
    database: Database, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, rows in (("ROWS", 10), ("GROUP", 20)):
        monkeypatch.setattr(f"core.row_groups.{name}", rows)
    await import_trees(database, SAMPLES / "trees.jsonl")
    about = await frozen(database, store, "preference")
    manifest.fetch(store, layout.dataset(about["name"], about["version"]), tmp_path)
    file = pq.ParquetFile(tmp_path / "train.parquet")
    assert file.metadata.num_row_groups >= 5
    assert file.metadata.num_rows == about["counts"]["train"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "dpo"}, "kind 'dpo' is none of sft, preference, prompts"),
        ({"name": "Has Space"}, "'Has Space' must be"),
        ({"validation_percent": 95}, "validation_percent is 95"),
        ({"seed": -1}, "seed is -1"),
        ({"filters": {"language": "en"}}, "filter 'language' is none of states"),
        ({"filters": {"states": ["done"]}}, r"filter states is \['done'\]"),
        ({"filters": {"langs": "en"}}, "filter langs is 'en'; it must be null or a list"),
        ({"filters": {"top_k": 0}}, "filter top_k is 0"),
        ({"filters": {"synthetic": 1}}, "filter synthetic is 1"),
        ({}, "no sft rows in the 0 trees"),
    ],
)
async def test_what_cannot_be_frozen_is_said(
    database: Database, store: ObjectStore, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        await frozen(database, store, **options)
    assert list(store.list("")) == []


async def test_snapshots_are_listed_and_found(database: Database, store: ObjectStore) -> None:
    await import_trees(database, SAMPLES / "trees.jsonl")
    assert list_snapshots(store) == []
    about = await frozen(database, store)
    other = await frozen(database, store, "prompts")
    assert list_snapshots(store, "samples-sft") == [about]
    assert [each["name"] for each in list_snapshots(store)] == ["samples-prompts", "samples-sft"]
    assert load_manifest(store, other["name"], other["version"]) == other
    with pytest.raises(NotFound, match=f"versions of that name: {about['version']}"):
        load_manifest(store, about["name"], "000000000000")


def test_labels_reviews_and_models_decide_which_messages_take_part() -> None:
    def answered(value: float) -> Node:
        return {"quality": {"value": value, "count": 3}}

    value = tree(
        message(
            "root", message("good", message("more", message("end"))), message("poor"), message("unknown"),
            message("few"), message("model", message("after", message("last"))), review_count=3, labels=answered(1),
        )
    )  # fmt: skip
    stack = [value["prompt"]]
    while stack:
        node = stack.pop()
        node.update(review_count=3, review_result=True, labels=answered(0.9), synthetic=node["message_id"] == "model")
        stack.extend(node["replies"])
    by = {each["message_id"]: each for each in nodes(value)}
    by["poor"]["labels"] = answered(0.2)
    by["unknown"]["labels"] = {}
    by["few"]["review_count"] = 1

    def left(**filters: Any) -> set[str]:
        return {row["message_id"] for row in rows("trees", value, **filters)}

    everything = set(by)
    assert left() == everything
    assert left(min_reviews=2) == everything - {"few"}
    assert left(min_labels={"quality": 0.5}) == everything - {"poor", "unknown"}
    assert left(max_labels={"quality": 0.5}) == set()
    by["root"]["labels"] = {}
    assert left(max_labels={"quality": 0.5}) == {"root", "poor", "unknown"}
    assert left(synthetic=False) == everything - {"model", "after", "last"}


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        ({"min_labels": {"quality": 2}}, "min_labels is {'quality': 2}; it must be an object of labels"),
        ({"max_labels": {"beauty": 0.5}}, "it must be an object of labels with numbers from 0 to 1"),
        ({"min_reviews": -1}, "min_reviews is -1; it must be a whole number from 0"),
        ({"since": "yesterday"}, "since is 'yesterday'; it must be null or a day like 2026-03-14"),
        ({"chats": 1}, "chats is 1; it must be true or false"),
        ({"min_label": {}}, "filter 'min_label' is none of states, langs"),
    ],
)
def test_a_filter_that_is_none_is_said(filters: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        parse_filters(filters)


def test_filters_choose_trees_by_day_and_chat_and_new_ones_do_not_rename_old_snapshots() -> None:
    assert parse_filters({}).as_dict().keys() == {"states", "langs", "origins", "top_k", "synthetic"}
    parsed = parse_tree(
        tree(message("a", created_date="2026-03-14T23:30:00-02:00")), origin="chat", imported_at=now()
    ).tree
    assert [parse_filters({"since": day}).takes_tree(parsed) for day in ("2026-03-15", "2026-03-16")] == [True, False]
    assert [parse_filters({"until": day}).takes_tree(parsed) for day in ("2026-03-15", "2026-03-14")] == [True, False]
    assert not parse_filters({"chats": False}).takes_tree(parsed)


async def test_whole_trees_are_frozen_without_their_authors_and_with_how_far_people_agreed(
    database: Database, store: ObjectStore, tmp_path: Path
) -> None:
    await import_trees(database, SAMPLES / "trees.jsonl")
    about = await frozen(database, store, "trees", filters={"chats": False})
    manifest.fetch(store, layout.dataset(about["name"], about["version"]), tmp_path)
    parts = [pq.read_table(tmp_path / f"{split}.parquet").to_pylist() for split in ("train", "validation")]
    assert sum(map(len, parts)) == about["counts"]["rows"] == 312
    assert not {row["message_tree_id"] for row in parts[0]} & {row["message_tree_id"] for row in parts[1]}
    assert {row["user_id"] for part in parts for row in part} == {None}
    wanted = {node["message_id"]: node for each in read(SAMPLES / "trees.jsonl").values() for node in nodes(each)}
    for row in parts[0]:
        node = wanted[row["message_id"]]
        assert (row["text"], row["rank"], row["parent_id"]) == (node["text"], node.get("rank"), node.get("parent_id"))
    assert about["agreement"]["rankings"] == 243
    assert 0 < about["agreement"]["ranking_alpha"] <= 1
    left_out = {"messages": 0, "chats": 0}
    assert about["consent"] == {"scope": "training", "basis": ["terms"], "left_out": left_out}


async def test_addresses_that_are_signed_read_every_file(database: Database, store: ObjectStore) -> None:
    await import_trees(database, SAMPLES / "trees.jsonl")
    about = await frozen(database, store)
    files = signed_files(store, about, 60)
    assert [each["path"] for each in files] == [*(each["path"] for each in about["files"]), "manifest.json"]
    async with httpx.AsyncClient() as client:
        for each in files:
            content = (await client.get(each["url"])).raise_for_status().content
            assert each["sha256"] in (None, hashlib.sha256(content).hexdigest())
    with pytest.raises(BadInput, match="seconds is 5; it must be from 60"):
        signed_files(store, about, 5)
