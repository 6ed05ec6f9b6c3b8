"""Records become documents and come back, whatever the store does to times."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.opinions import Ranking, Reaction, Report, Review
from core.records import EMOJIS, Message, Task, Tree, User, moment, now, text_hash, time_key
from core.treeform import as_imported
from core.work_records import Work

SAMPLES = [
    User(id="u", auth_method="test", subject="s", display_name="Ann", roles=("contributor", "admin")),
    Tree(id="t", state="growing", lang="pt-BR", won_lottery_at=now(), source={"kept": "x"}),
    Message(
        id="m", tree_id="t", parent_id="p", role="assistant", lang="en", text="hi", ancestors=("t", "p"), depth=2,
        emojis=dict.fromkeys(EMOJIS, 1), labels={"spam": {"value": 0.25, "count": 4}}, rank=0,
    ),
    Task(id="k", kind="assistant_reply", user_id="u", lang="en", work_id="w", thread=("t",), answer={"text": "x"}),
    Review(id="r", tree_id="t", message_id="m", labels={"spam": 0.0}),
    Ranking(id="g", tree_id="t", parent_id="p", ranking=("a", "b"), served=("b", "a")),
    Reaction(id="m|u|+1", tree_id="t", message_id="m", user_id="u", emoji="+1"),
    Report(id="m|u", tree_id="t", message_id="m", user_id="u", reason="rude"),
    Work(id="w", kind="assistant_reply", lang="en", free=1, holds={"k": {"user": "u", "until": 5}}, excluded=("u",)),
]  # fmt: skip


async def test_every_record_survives_the_store(database) -> None:
    for record in SAMPLES:
        await database["samples"].insert_one(record.to_document())
        document = await database["samples"].find_one({"_id": record.id})
        assert type(record).from_document(document) == record


async def test_every_record_survives_an_update(database) -> None:
    for record in SAMPLES:
        document = record.to_document()
        identity = document.pop("_id")
        await database["samples"].insert_one({"_id": identity})
        await database["samples"].update_one({"_id": identity}, {"$set": document})
        assert type(record).from_document(await database["samples"].find_one({"_id": identity})) == record


def test_times_are_read_in_every_form_that_stores_give() -> None:
    expected = datetime(2026, 11, 22, 13, 38, 49, 983000, tzinfo=UTC)
    for form in (
        "2026-11-22 13:38:49.983000",
        "2026-11-22T13:38:49.983+00:00",
        expected,
        expected.replace(tzinfo=None),
    ):
        assert moment(form) == expected


def test_unknown_fields_are_left_out_and_missing_ones_take_defaults() -> None:
    tree = Tree.from_document({"_id": "t", "state": "growing", "lang": "en", "colour": "red"})
    assert (tree.id, tree.goal_size, tree.dirty) == ("t", 15, False)


def test_a_document_that_lacks_a_field_without_a_default_is_told() -> None:
    with pytest.raises(TypeError, match="state"):
        Tree.from_document({"_id": "t", "lang": "en"})


def test_what_has_changed_makes_the_one_document_the_other() -> None:
    moved = moment("2026-11-22T13:38:49.983+00:00")
    changes = {"lang": "de", "created_at": moved, "state": "other", "ancestors": ("x",), "rank": None, "free": 0}
    changes |= {"emojis": {}, "reason": "spam", "roles": ("service",)}
    for record in SAMPLES:
        assert record.changes_from(record) == {}
        for name in changes.keys() & vars(record).keys():
            after = replace(record, **{name: changes[name]})
            made = record.to_document() | after.changes_from(record)
            assert made == after.to_document()
            assert after.changes_from(record).items() <= after.to_document().items()
            assert all(record.to_document().get(name) != value for name, value in after.changes_from(record).items())


@given(st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)), min_size=2, max_size=6))
def test_time_keys_sort_by_time(times) -> None:
    aware = [time.replace(tzinfo=UTC, microsecond=time.microsecond // 1000 * 1000) for time in times]
    assert sorted(aware) == sorted(aware, key=lambda time: time_key(time, "x"))
    assert time_key(aware[0], "a") < time_key(aware[0], "b")


def test_an_import_keeps_its_counts_as_a_base() -> None:
    message = as_imported(SAMPLES[2])
    assert message.base == {"review_count": 0, "ranking_count": 0, "emojis": message.emojis, "labels": message.labels}


def test_only_work_with_a_free_place_has_a_key() -> None:
    assert SAMPLES[-1].to_document()["key"] == "assistant_reply|en|5|"
    full = Work(id="w", kind="assistant_reply", lang="en", free=0)
    assert full.to_document()["key"] is None


def test_the_hash_of_a_text_is_that_of_its_bytes() -> None:
    assert text_hash("é") == "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c"


def test_importing_records_loads_no_driver() -> None:
    code = "import sys, core.records; assert not {'pymongo', 'bson', 'boto3'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
