"""The whole wheel with tiny sizes: the demonstration itself, run as a user runs it, then a second time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from whole_stack import ROOT, Stack, until

from core.objects import ObjectStore
from core.reply_scores import JOB_NAME
from oa.client import GraphQLClient
from oa.demo_people import sign_in

RECIPE = ROOT / "jobs" / "configs" / "tiny.json"

MODELS = 'query Models { models(first: 10, name: "assistant") { nodes { label promoted checks } } }'
JOBS = "query Jobs { jobs(first: 10) { nodes { id name state attempts } } }"


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe, publishing under the name that serving nodes follow."""
    path = tmp_path_factory.mktemp("recipe") / "recipe.json"
    path.write_text(json.dumps(json.loads(RECIPE.read_text("utf-8")) | {"name": "assistant"}), "utf-8")
    return path


@pytest.fixture(scope="session")
def first_turn(stack: Stack, recipe: Path) -> str:
    """What the demonstration printed when it turned the wheel for the first time."""
    return stack.oa("--recipe", str(recipe), module="oa.demo")


def test_the_wheel_turns_and_a_thumbs_down_comes_back_as_work(first_turn: str) -> None:
    assert "18 assistant_reply" in first_turn
    assert "RANK_ASSISTANT_REPLIES task asks a contributor which of 2 drafts is best" in first_turn
    assert "the wheel turned once" in first_turn


def test_what_was_measured_and_why_the_model_says_it_are_printed(first_turn: str) -> None:
    _, measured = first_turn.split("Measured on conversations that were never trained on")
    measured, lineage = measured.split("Why does the model say this?")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in measured.splitlines() if line.startswith("│")]
    after = {row[0]: row[-1] for row in rows if row[0]}
    assert list(after) == ["sft", "reward", "ppo", "evaluate", "export"]
    assert [stage for stage, number in after.items() if not re.match(r"-?\d", number)] == []
    for stage in ("reward", "evaluate"):
        assert re.fullmatch(r"\d\S* \[\d\.\d\d, \d\.\d\d\]", after[stage]), after
    assert re.search(r"ranking [0-9a-f-]{36} sha256", lineage), lineage


def test_the_model_that_serves_has_passed_its_checks(stack: Stack, first_turn: str) -> None:
    reader = sign_in(stack.anyone(), "curious", "ADMIN")
    (model,) = (model for model in reader.execute(MODELS)["models"]["nodes"] if model["promoted"])
    assert model["checks"]["onnx_parity"]["passed"] is True
    assert model["label"] in first_turn


def test_the_reward_model_scores_the_drafts_that_people_are_to_rank(stack: Stack, first_turn: str) -> None:
    found = stack.record["environment"]
    with MongoClient(found["OA_MONGODB_URI"]) as client:
        messages = client[found.get("OA_MONGODB_DATABASE", "open_assistant")]["messages"]

        def scored() -> list[Any]:
            return [each["reward"] for each in messages.find({"synthetic": True}) if each.get("reward")]

        rewards = until(scored, 120, "the scores of the drafts")
    assert len(rewards) == 2
    assert {each["model_version"] for each in rewards} <= set(re.findall(r"assistant@\w+", first_turn))
    assert len({each["score"] for each in rewards}) == 2


def test_a_second_run_makes_no_second_job_snapshot_or_model(stack: Stack, first_turn: str, recipe: Path) -> None:
    store = ObjectStore.from_env(stack.record["environment"])
    before = {item.key for item in store.list("datasets/")} | {item.key for item in store.list("models/")}
    operator = sign_in(stack.anyone(), "operator", "ADMIN")
    jobs = launched(operator)

    again = stack.oa("--recipe", str(recipe), module="oa.demo")

    assert "the same job succeeded before" in again
    assert {item.key for item in store.list("datasets/")} | {item.key for item in store.list("models/")} == before
    assert launched(operator) == jobs


def launched(operator: GraphQLClient) -> list[Any]:
    """The jobs that somebody asked for."""
    return [job for job in operator.execute(JOBS)["jobs"]["nodes"] if job["name"] != JOB_NAME]
