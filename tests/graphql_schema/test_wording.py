"""Errors of the rules in a caller's words."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from core.errors import BadInput, NotFound, TaskGone
from graphql_schema.relay import global_id
from graphql_schema.wording import camel, in_callers_words


@dataclass
class Given:
    """An input with an id and a plain field."""

    task_id: str = ""
    top_p: float = 0.5
    text: str = ""
    labels: list[str] = field(default_factory=list)
    config: dict[str, int] = field(default_factory=dict)


@pytest.mark.parametrize(("name", "spelt"), [("parent_id", "parentId"), ("lang", "lang"), ("top_p", "topP")])
def test_names_are_spelt_as_in_the_schema(name, spelt):
    assert camel(name) == spelt


def test_an_id_is_named_as_it_was_sent_and_says_where_it_was():
    sent = global_id("Task", "0190-x")
    assert in_callers_words(TaskGone("task '0190-x' is done"), Given(sent)) == (f"task '{sent}' is done", ["taskId"])


def test_a_path_that_an_error_says_itself_stays():
    error = NotFound("0190-x lacks it", path=("text",))
    assert in_callers_words(error, Given(global_id("Task", "0190-x")))[1] == ["text"]


def test_a_step_that_the_input_has_not_is_left_out():
    error = BadInput("top_p is 3; it must be up to 1", path=("sampling", "top_p"))
    assert in_callers_words(error, Given()) == ("topP is 3; it must be up to 1", ["topP"])
    assert in_callers_words(BadInput("x", path=("stages", "0")), Given())[1] == ["stages", "0"]


def test_the_path_into_a_list_ends_at_the_list():
    error = BadInput("label 'fails_task' is not asked here", path=("labels", "fails_task"))
    assert in_callers_words(error, Given()) == ("label 'FAILS_TASK' is not asked here", ["labels"])


def test_names_below_a_field_of_json_are_the_callers_own():
    error = BadInput("goal_tree_size is 0; it must be 1 or more", path=("config", "goal_tree_size"))
    said = ("goal_tree_size is 0; it must be 1 or more", ["config", "goal_tree_size"])
    assert in_callers_words(error, Given(config={"goal_tree_size": 0})) == said


def test_kinds_of_tasks_are_called_as_in_the_schema():
    error = BadInput("the task is of kind initial_prompt; num_reviews_initial_prompt stays")
    assert in_callers_words(error)[0] == "the task is of kind INITIAL_PROMPT; num_reviews_initial_prompt stays"


@pytest.mark.parametrize("value", ["", "x", "VGFzaw==", "🙂"])
def test_what_is_no_id_changes_nothing(value):
    assert in_callers_words(BadInput("there is no x"), Given(value)) == ("there is no x", [])
