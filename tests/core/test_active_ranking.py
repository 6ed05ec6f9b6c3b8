"""What a reward model is unsure of is ranked first."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from core_people import SMALL, until_ranking
from hypothesis import given
from hypothesis import strategies as st

from core.active_ranking import SOON, USUAL, priority, scores
from core.collection import Collection
from core.errors import BadInput, NotFound
from core.opinions import Ranking
from core.records import Message

SCORES = st.dictionaries(st.sampled_from("abcd"), st.floats(-5, 5), min_size=2)


def ranking(*order: str, tiers: tuple[int, ...] = ()) -> Ranking:
    return Ranking(id="-".join(order), tree_id="t", parent_id="p", ranking=order, tiers=tiers)


@pytest.mark.parametrize(
    ("score", "rankings", "wanted"),
    [
        ({}, [], USUAL),
        ({"a": 3.0, "b": 0.0}, [], USUAL),
        ({"a": 0.1, "b": 0.0}, [], SOON),
        ({"a": 3.0, "b": 0.0, "c": -0.1}, [], SOON),
        ({"a": 3.0, "b": 0.0}, [ranking("a", "b")], USUAL),
        ({"a": 3.0, "b": 0.0}, [ranking("b", "a")], SOON),
        ({"a": 3.0, "b": 0.0}, [ranking("b", "a"), ranking("a", "b")], USUAL),
        ({"a": 3.0, "b": 0.0}, [ranking("b", "a", tiers=(2,))], USUAL),
    ],
)
def test_unsure_or_contradicted_comes_soon(score, rankings, wanted) -> None:
    assert priority(score, rankings) == wanted


@given(SCORES, st.floats(-10, 10))
def test_only_differences_count(score, shift) -> None:
    moved = {each: round(value, 3) + round(shift, 3) for each, value in score.items()}
    assert priority(moved, []) == priority({each: round(value, 3) for each, value in score.items()}, [])


def test_scores_of_two_models_say_nothing() -> None:
    def reply(name: str, model: str | None) -> Message:
        reward = {"model_version": model, "score": 1.0} if model else None
        return Message(id=name, tree_id="t", parent_id="p", role="assistant", lang="en", text=name, reward=reward)

    assert scores([reply("a", "rm@1"), reply("b", "rm@1")]) == {"a": 1.0, "b": 1.0}
    assert scores([reply("a", "rm@1"), reply("b", "rm@2")]) == {}
    assert scores([reply("a", "rm@1"), reply("b", None)]) == {}


async def test_the_set_that_a_model_is_unsure_of_is_handed_out_first(database, person) -> None:
    people = [await person(f"person {number}") for number in range(5)]
    collection = Collection(database, replace(SMALL, duplicate_window_seconds=0), random.Random(5))
    trees = [await until_ranking(collection, people) for _ in range(3)]
    replies = {tree: [each for each in await collection.messages_of(tree) if each.parent_id == tree] for tree in trees}
    sure = {each.id: 4.0 * place for tree in trees for place, each in enumerate(replies[tree])}
    unsure = sure | {each.id: 0.0 for each in replies[trees[1]]}
    assert await collection.register_rewards("reward@1", sure) == 3
    assert await collection.register_rewards("reward@1", unsure) == 3
    found = database["work"].find({"kind": "rank_assistant_replies"})
    work = {each["tree_id"]: each["priority"] async for each in found}
    assert work == {trees[0]: USUAL, trees[1]: SOON, trees[2]: USUAL}
    wrote = {each.author_id for each in replies[trees[1]]}
    reader = next(user for user in people if user.id not in wrote)
    assert (await collection.request_task(reader, "rank_assistant_replies", ["en"])).tree_id == trees[1]


async def test_wrong_scores_are_named_and_store_nothing(database, person) -> None:
    collection = Collection(database, SMALL)
    with pytest.raises(NotFound, match="no message 'nobody'"):
        await collection.register_rewards("reward@1", {"nobody": 1.0})
    for version, given_scores, says in (
        ("reward", {"m": 1.0}, "must be name@version"),
        ("reward@1", {}, "there must be 1 to 100"),
        ("reward@1", {"m": float("nan")}, "finite number"),
    ):
        with pytest.raises(BadInput, match=says):
            await collection.register_rewards(version, given_scores)
