"""Anonymised exports: nothing of whom or which, everything of how it hangs together."""

from __future__ import annotations

import io
import json

import pytest
from data_forms import SAMPLES, exported, message, nodes, read, tree
from hypothesis import given, settings
from hypothesis import strategies as st

from core.anonymise import Anonymiser
from core.database import Database
from core.errors import BadInput
from core.interchange import import_trees
from core.opinions import Report
from core.reports import export_reports
from core.treecheck import check_tree

SALT = "a salt of sixteen or more"


def shape(value):
    """A tree with ids numbered by first sight: what must not change."""
    seen: dict[str, int] = {}

    def number(kind, own):
        return None if own is None else seen.setdefault(f"{kind} {own}", len(seen))

    return [
        (
            number("m", node["message_id"]), number("m", node.get("parent_id")), number("u", node.get("user_id")),
            node["role"], node["text"], node.get("rank"), node.get("labels"),
            [
                ([number("m", each) for each in event["ranked_message_ids"]], number("u", event.get("user_id")))
                for event in (node.get("events") or {}).get("ranking", [])
            ],
        )
        for node in nodes(value)
    ]  # fmt: skip


async def test_an_anonymised_export_has_no_id_of_here_and_the_same_shape(database: Database) -> None:
    wanted = read(SAMPLES / "trees.jsonl")
    await import_trees(database, SAMPLES / "trees.jsonl")
    hide = Anonymiser(SALT, dates="month")
    found = await exported(database, anonymiser=hide)
    text = json.dumps(found)
    for identity, each in wanted.items():
        other = found[hide.message_id(identity)]
        check_tree(other)
        assert shape(other) == shape(each)
        for node in nodes(each):
            assert node["message_id"] not in text
            assert not node.get("user_id") or node["user_id"] not in text
    assert all(node["created_date"].endswith("-01T00:00:00+00:00") for each in found.values() for node in nodes(each))
    assert found == await exported(database, anonymiser=hide)
    assert not found.keys() & (await exported(database, anonymiser=Anonymiser(SALT + "!"))).keys()


def test_unknown_fields_are_left_out_and_texts_scrubbed_on_request() -> None:
    value = tree(
        message("a", message("b", text="write to me@here.example"), author_name="Somebody", user_id="u"), origin="diary"
    )
    plain, clean = Anonymiser(SALT).tree(value), Anonymiser(SALT, scrub_texts=True).tree(value)
    assert "Somebody" not in json.dumps(plain)
    assert "origin" not in plain
    assert plain["prompt"]["replies"][0]["text"] == "write to me@here.example"
    assert clean["prompt"]["replies"][0]["text"] == "write to [email]"
    assert value["prompt"]["message_id"] == "a"


@settings(max_examples=50)
@given(st.text(min_size=1), st.text(min_size=1))
def test_pseudonyms_are_one_to_one_and_of_two_kinds(one: str, other: str) -> None:
    hide = Anonymiser(SALT)
    assert (hide.user_id(one) == hide.user_id(other)) == (one == other)
    assert hide.user_id(one) != hide.message_id(one)


@pytest.mark.parametrize(
    ("salt", "dates", "says"), [("", "exact", "OA_EXPORT_SALT"), (SALT, "year", "dates is 'year'")]
)
def test_a_guessable_salt_and_an_unknown_grain_are_refused(salt: str, dates: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Anonymiser(salt, dates)


async def test_reports_go_out_apart(database: Database) -> None:
    report = Report(id="r", tree_id="t", message_id="m", user_id="u", reason="he lives at me@here.example")
    await database["reports"].insert_one(report.to_document())
    out = io.BytesIO()
    assert await export_reports(database, out) == 1
    assert json.loads(out.getvalue())["reason"] == report.reason
    out, hide = io.BytesIO(), Anonymiser(SALT, "day", True)
    await export_reports(database, out, anonymiser=hide)
    found = json.loads(out.getvalue())
    assert (found["message_id"], found["user_id"]) == (hide.message_id("m"), hide.user_id("u"))
    assert found["reason"] == "he lives at [email]"
