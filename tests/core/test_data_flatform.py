"""Flat messages, of both forms, become the trees that they were."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from data_forms import Node, message, tree
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadRecord
from core.flatform import Gatherer, nested_row


@st.composite
def grown(draw: st.DrawFn, name: str) -> Node:
    """A tree of any shape."""
    made = [message(name)]
    for index in range(draw(st.integers(0, 8))):
        above = draw(st.sampled_from(made))
        role = "assistant" if above["role"] == "prompter" else "prompter"
        made.append(message(f"{name}{index}", role=role, labels={"spam": {"value": 0.5, "count": 2}}, emojis={"+1": 1}))
        above["replies"].append(made[-1])
    return tree(made[0])


def rows(value: Node, columns: bool) -> Iterator[Node]:
    """A tree as flat rows, depth first, each with its parent and its tree."""
    waiting: list[tuple[Node, str | None]] = [(value["prompt"], None)]
    while waiting:
        node, parent = waiting.pop()
        row = {key: each for key, each in node.items() if key != "replies"} | {"parent_id": parent}
        if columns and "labels" in row:
            row["labels"] = {"name": ["spam"], "value": [0.5], "count": [2]}
            row["emojis"] = {"name": ["+1"], "count": [1]}
        yield row | {"message_tree_id": value["message_tree_id"], "tree_state": value["tree_state"]}
        waiting.extend((reply, node["message_id"]) for reply in reversed(node["replies"]))


def without_parents(value: Node) -> Node:
    def strip(node: Node) -> Node:
        return {k: v for k, v in node.items() if k != "parent_id"} | {"replies": [strip(r) for r in node["replies"]]}

    return value | {"prompt": strip(value["prompt"])}


@given(grown("a"), grown("b"), st.booleans(), st.booleans())
def test_trees_that_are_laid_flat_are_gathered_again(first: Node, second: Node, columns: bool, named: bool) -> None:
    gatherer, found = Gatherer(), []
    for row in [*rows(first, columns), *rows(second, columns)]:
        if not named and row["parent_id"] is not None:
            del row["message_tree_id"]
        found.append(gatherer.add(row))
    found.append(gatherer.finish())
    assert [without_parents(each) for each in found if each is not None] == [first, second]
    assert gatherer.finish() is None


def test_dates_of_a_table_become_text_and_nulls_stay() -> None:
    node = nested_row({"created_date": datetime(2026, 1, 2, tzinfo=UTC), "labels": None, "tree_state": "growing"})
    assert node == {"created_date": "2026-01-02T00:00:00+00:00", "labels": None, "replies": []}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"message_id": "x", "parent_id": "unknown"}, "its parent 'unknown' is not among the rows"),
        ({"message_id": "x", "parent_id": "root", "message_tree_id": "other"}, "is not among the rows of its tree"),
        ({"message_id": "x", "parent_id": "root", "role": "prompter"}, "it must be 'assistant'"),
        ({"message_id": "root", "parent_id": "root"}, "'root' occurs twice"),
        ({"message_id": "x", "parent_id": "root", "text": ""}, "text is ''"),
        ({"message_id": "x", "parent_id": None, "role": "assistant"}, "at the root it must be 'prompter'"),
        ({"message_id": "x", "parent_id": "root", "emojis": {"name": ["+1"], "count": []}}, "differ in length"),
    ],
)
def test_a_wrong_row_is_refused_and_the_tree_goes_on_without_it(row: Node, says: str) -> None:
    gatherer = Gatherer()
    gatherer.add({"message_id": "root", "text": "t", "role": "prompter", "parent_id": None})
    with pytest.raises(BadRecord, match=says):
        gatherer.add({"text": "t", "role": "assistant"} | row)
    gatherer.add({"message_id": "reply", "text": "t", "role": "assistant", "parent_id": "root"})
    done = gatherer.finish()
    assert done is not None
    assert [reply["message_id"] for reply in done["prompt"]["replies"]] == ["reply"]
