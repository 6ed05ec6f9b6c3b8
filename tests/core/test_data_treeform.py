"""Export form to records and back: nothing is lost, changes show, wrong values are named."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from data_forms import Node, message, nodes, tree
from hypothesis import given, settings
from hypothesis import strategies as st

from core.anonymise import Anonymiser
from core.errors import BadRecord
from core.opinions import Ranking
from core.records import Message, Tree, now
from core.treecheck import MAX_DEPTH, MAX_TEXT
from core.treeform import ImportedTree, export_tree, parse_tree

ABSENT = object()


def parsed(value: Node, origin: str | None = None) -> ImportedTree:
    return parse_tree(value, origin=origin, imported_at=now())


def given_back(records: ImportedTree) -> Node:
    """Through documents, as the store would have them, and out."""
    stored = [Message.from_document(each.to_document()) for each in records.messages]
    rankings = [Ranking.from_document(each.to_document()) for each in records.rankings]
    whole = export_tree(Tree.from_document(records.tree.to_document()), reversed(stored), rankings)
    loaded: Node = json.loads(json.dumps(whole))
    return loaded


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20).filter(str.strip)
dates = st.datetimes(min_value=datetime(1970, 1, 2)).filter(lambda each: each.year < 9998)
names = st.sampled_from(["spam", "quality", "humor", "fails_task"])
labels = st.dictionaries(
    names, st.fixed_dictionaries({"value": st.none() | st.floats(0, 1), "count": st.integers(0, 9)})
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a.b", "$c", "", "d"]), inner),
    max_leaves=5,
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "user_id": st.none() | texts,
    "created_date": st.none()
    | dates.map(lambda each: each.isoformat())
    | dates.map(lambda d: d.isoformat() + "+05:30"),
    "lang": st.none() | st.sampled_from(["en", "pt-BR", "zh"]),
    "review_count": st.none() | st.integers(0, 9),
    "review_result": st.none() | st.booleans(),
    "deleted": st.none() | st.booleans(),
    "rank": st.none() | st.integers(0, 5),
    "synthetic": st.none() | st.booleans(),
    "model_name": st.none() | texts,
    "emojis": st.none() | st.dictionaries(st.sampled_from(["+1", "-1", "_skip_reply"]), st.integers(0, 9)),
    "labels": st.none() | labels,
    "events": st.none()
    | st.dictionaries(st.sampled_from(["emoji", "x"]), st.lists(st.dictionaries(texts, json_values))),
    "detoxify": st.none() | st.dictionaries(st.sampled_from(["toxicity"]), st.floats(0, 1)),
    "message_tree_id": st.none(),
    "future": json_values,
}
field_sets = st.fixed_dictionaries({}, optional=FIELDS)


@st.composite
def trees(draw: st.DrawFn) -> Node:
    """Any tree: any keys there or not, any null, siblings in any order."""
    made: list[Node] = []
    for index in range(draw(st.integers(1, 7))):
        above = made[draw(st.integers(0, index - 1))] if index else None
        role = "assistant" if above and above["role"] == "prompter" else "prompter"
        node = {"message_id": f"m{index}", "text": draw(texts), "role": role, **draw(field_sets)}
        if draw(st.booleans()):
            node["parent_id"] = above["message_id"] if above else None
        if above is not None:
            above["replies"] = [*(above.get("replies") or []), node]
        elif draw(st.booleans()):
            node["replies"] = draw(st.sampled_from([None, []]))
        made.append(node)
    own = draw(st.fixed_dictionaries({}, optional={"origin": st.none() | texts, "future": json_values}))
    if draw(st.booleans()):
        own["tree_state"] = draw(st.sampled_from(["growing", "ready_for_export", None]))
    return {"message_tree_id": "m0", **own, "prompt": made[0]}


@given(trees())
def test_what_goes_in_comes_out(value: Node) -> None:
    assert given_back(parsed(json.loads(json.dumps(value)), origin="elsewhere")) == json.loads(json.dumps(value))


@settings(max_examples=50)
@given(trees())
def test_parents_come_first_and_deletion_reaches_down(value: Node) -> None:
    records = parsed(value)
    seen: dict[str, Message] = {}
    for each in records.messages:
        assert each.parent_id is None or each.parent_id in seen
        assert each.ancestors == (() if each.parent_id is None else (*seen[each.parent_id].ancestors, each.parent_id))
        assert each.depth == len(each.ancestors)
        assert each.deleted or not any(seen[ancestor].deleted for ancestor in each.ancestors)
        seen[each.id] = each


def two_replies() -> Node:
    replies = [message(name, rank=rank, deleted=False, labels={}) for rank, name in enumerate("ab")]
    return tree(message("root", *replies))


def test_a_change_since_the_import_shows_and_all_else_is_as_it_came() -> None:
    records = parsed(two_replies())
    root, first, second = records.messages
    changed = [root, replace(first, rank=1, labels={"spam": {"value": 1.0, "count": 1}}), replace(second, rank=0)]
    out = export_tree(records.tree, changed)
    assert [reply["message_id"] for reply in out["prompt"]["replies"]] == ["b", "a"]
    assert out["prompt"]["replies"][1]["labels"] == {"spam": {"value": 1.0, "count": 1}}
    assert set(out["prompt"]["replies"][1]) == set(two_replies()["prompt"]["replies"][0])


@pytest.mark.parametrize(
    ("field", "value", "key", "shown"),
    [
        ("deleted", True, "deleted", True),
        ("state", "refused", "review_result", False),
        ("review_count", 4, "review_count", 4),
        ("emojis", {"+1": 1}, "emojis", {"+1": 1}),
        ("author_id", "someone", "user_id", "someone"),
    ],
)
def test_a_key_that_was_not_there_appears_when_its_value_changes(field: str, value: Any, key: str, shown: Any) -> None:
    records = parsed(tree(message("root")))
    assert key not in export_tree(records.tree, records.messages)["prompt"]
    assert export_tree(records.tree, [replace(records.messages[0], **{field: value})])["prompt"][key] == shown


def test_a_new_state_of_the_tree_shows() -> None:
    records = parsed(tree(message("root"), state="growing", origin=None))
    assert records.tree.dirty
    out = export_tree(replace(records.tree, state="ranking"), records.messages)
    assert (out["tree_state"], out["origin"]) == ("ranking", None)


def ranked(order: list[str], **more: Any) -> Node:
    value = two_replies()
    event = {"type": "ranking", "user_id": "u", "ranking": [1, 0], "ranked_message_ids": order, **more}
    value["prompt"]["events"] = {"ranking": [event]}
    return value


def test_rankings_among_the_events_become_records_and_later_ones_are_added_to_the_events() -> None:
    records = parsed(ranked(["b", "a"]))
    (ranking,) = records.rankings
    assert (ranking.parent_id, ranking.ranking, ranking.served) == ("root", ("b", "a"), ("a", "b"))
    assert [each.ranking_count for each in records.messages] == [0, 1, 1]
    later = Ranking(id="t", tree_id="root", parent_id="root", ranking=("a", "b"), served=("b", "a"), user_id="me")
    events = export_tree(records.tree, records.messages, [ranking, later])["prompt"]["events"]["ranking"]
    assert [event["ranked_message_ids"] for event in events] == [["b", "a"], ["a", "b"]]
    assert events[1] | {"ranking": [1, 0], "user_id": "me", "not_rankable": False} == events[1]


@st.composite
def opinions(draw: st.DrawFn) -> Ranking:
    """Any ranking of up to five replies that people may give: partial, with ties, all wrong with an order or none."""
    served = draw(st.permutations("abcde").map(lambda each: each[: draw(st.integers(2, 5))]))
    wrong = draw(st.booleans())
    size = draw(st.integers(0 if wrong else 2, len(served)).filter(lambda size: size != 1))
    order = draw(st.permutations(served))[:size]
    cuts = sorted(draw(st.sets(st.integers(1, size - 1)))) if size > 1 else []
    sizes = tuple(end - start for start, end in pairwise([0, *cuts, size])) if size else ()
    tiers = sizes if any(each > 1 for each in sizes) else ()
    return Ranking(
        id="r", tree_id="root", parent_id="root", ranking=tuple(order), served=tuple(served), not_rankable=wrong,
        tiers=tiers, user_id="somebody",
    )  # fmt: skip


@given(opinions(), st.booleans())
def test_whatever_people_say_in_a_ranking_comes_back(said: Ranking, hidden: bool) -> None:
    records = parsed(tree(message("root", *(message(name) for name in "abcde"))))
    out = export_tree(records.tree, records.messages, [said])
    own = {each: each for each in ("root", *"abcde")}
    if hidden:
        hide = Anonymiser("a salt of sixteen or more")
        out, own = hide.tree(out), {each: hide.message_id(each) for each in own}
    again = parsed(json.loads(json.dumps(out)))
    (found,) = again.rankings
    assert found.ranking == tuple(own[each] for each in said.ranking)
    assert found.served == tuple(own[each] for each in said.served)
    assert (found.tiers, found.not_rankable, found.parent_id) == (said.tiers, said.not_rankable, own["root"])
    counts = {each.id: each.ranking_count for each in again.messages}
    assert counts == {name: int(each in said.served) for each, name in own.items()}
    assert given_back(again) == json.loads(json.dumps(out))


@pytest.mark.parametrize("named", [["a"], ["a", "a", "b"], "ab", [1, 2], ["b", "gone"], None])
def test_what_was_served_is_not_taken_from_a_list_that_cannot_be_it(named: Any) -> None:
    (ranking,) = parsed(ranked(["b", "a"], served_message_ids=named)).rankings
    assert ranking.served == ("a", "b")


def test_of_what_was_served_only_replies_at_hand_are_kept() -> None:
    (ranking,) = parsed(ranked(["b", "a"], served_message_ids=["a", "gone", "b"])).rankings
    assert ranking.served == ("a", "b")


@pytest.mark.parametrize("order", [["a"], ["a", "a"], ["a", "elsewhere"], "ab", [1, 2]])
def test_a_ranking_of_other_messages_is_carried_but_is_no_record(order: Any) -> None:
    value = ranked(order)
    records = parsed(value)
    assert records.rankings == []
    assert given_back(records) == value


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({}, "accepted"),
        ({"review_count": 1}, "pending"),
        ({"review_result": None}, "pending"),
        ({"review_result": True}, "accepted"),
        ({"review_result": False}, "refused"),
    ],
)
def test_the_verdict_of_reviews(fields: Node, verdict: str) -> None:
    assert parsed(tree(message("root", **fields))).messages[0].state == verdict


NAMED = {
    "message_id": [None, "", 7, "a b", "a|b", "$a", "x" * 129],
    "parent_id": ["elsewhere", 3],
    "text": [None, "", " \n", 5, "a\x00b", "x" * (MAX_TEXT + 1)],
    "role": [None, "user", "assistant"],
    "lang": ["", "english please", 5, "e" * 40],
    "review_count": [-1, 1.5, True, "3", 2**31],
    "review_result": ["yes", 1],
    "deleted": [0, "false"],
    "rank": [-1, "0", False],
    "synthetic": ["no"],
    "created_date": ["yesterday", 5, "0001-01-01T00:00:00", "1969-12-31T00:00:00"],
    "emojis": [["+1"], {"+1": -1}, {"a.b": 1}, {"$x": 1}],
    "labels": [[], {"spam": 1}, {"spam": {"value": 2, "count": 1}}, {"spam": {"value": 0.5}}, {"a.b": {"count": 1}}],
    "events": [[], {"ranking": {}}, {"ranking": ["x"]}],
    "detoxify": [{"toxicity": "high"}, 5],
    "replies": [{}, "none", [5]],
    "user_id": [5, "x" * 1025],
    "model_name": [5],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in NAMED.items() for value in values])
def test_a_wrong_value_is_refused_by_name(name: str, value: Any) -> None:
    wrong = tree(message("root", message("reply")))
    (wrong["prompt"]["replies"][0] if name == "message_id" else wrong["prompt"])[name] = value
    with pytest.raises(BadRecord, match="a reply is 5" if value == [5] else name):
        parsed(wrong)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"prompt": {}}, "neither message_tree_id nor message_id"),
        ({"message_tree_id": "a"}, "prompt is None"),
        ({"message_tree_id": "a", "prompt": message("b")}, "must be the message_tree_id 'a'"),
        (tree(message("a"), state="done"), "tree_state is 'done'"),
        (tree(message("a"), origin=5), "origin is 5"),
        (tree(message("a", message("b"), message("b"))), "'b' occurs twice"),
        (tree(message("a", message("b", message("a")))), "'a' occurs twice"),
    ],
)
def test_a_wrong_tree_is_refused_by_what_is_wrong(value: Node, says: str) -> None:
    with pytest.raises(BadRecord, match=says):
        parsed(value)


def test_a_tree_may_be_deep_but_not_without_end() -> None:
    def chain(depth: int) -> Node:
        node = message(f"m{depth}")
        for level in reversed(range(depth)):
            node = {"message_id": f"m{level}", "text": "t", "role": "", "replies": [node]}
        top = node
        for level, each in enumerate(nodes({"prompt": top})):
            each["role"] = ("prompter", "assistant")[level % 2]
        return tree(top)

    assert given_back(parsed(chain(MAX_DEPTH))) == chain(MAX_DEPTH)
    with pytest.raises(BadRecord, match="levels"):
        parsed(chain(MAX_DEPTH + 1))


def test_a_tree_without_its_root_cannot_be_exported() -> None:
    records = parsed(two_replies())
    with pytest.raises(BadRecord, match="no root"):
        export_tree(records.tree, records.messages[1:])
