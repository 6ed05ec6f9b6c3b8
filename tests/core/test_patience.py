"""Siblings that nobody may rank any more go on with the rankings they have, messages with their reviews; what came late
is not forgotten."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from core_people import SMALL, reply_all, review_all, write_prompt
from hypothesis import given, settings
from hypothesis import strategies as st

from core.collection import Collection
from core.config import CollectionConfig
from core.errors import NothingToDo
from core.journal import events_page
from core.opinions import Ranking, Review
from core.patience import last_answers, waiting
from core.records import milliseconds, now
from core.rulings import judge_message
from core.sweeper import sweep_once
from core.work_records import NEVER, Work

HASTY = CollectionConfig(ranking_patience_seconds=0.001, p_activate_backlog_tree=0.0, max_pending_tasks=1000)


async def rank_all(collection: Collection, people) -> int:
    """Everybody ranks what they may; the number of rankings."""
    done = 0
    for user in people:
        while True:
            try:
                task = await collection.request_task(user, "rank_assistant_replies", ["en"])
            except NothingToDo:
                break
            await collection.submit_ranking(user, task.id, sorted(task.served))
            done += 1
    return done


@pytest.mark.parametrize("number", [3, 5])
async def test_a_few_people_finish_a_tree_of_the_usual_size(database, person, number) -> None:
    collection = Collection(database, HASTY, random.Random(7))
    people = [await person(f"p{each}") for each in range(number)]
    tree_id = await write_prompt(collection, people[0])
    for _ in range(60):
        did = await review_all(collection, people, "label_initial_prompt") + await reply_all(collection, people)
        for kind in ("label_assistant_reply", "label_prompter_reply"):
            did += await review_all(collection, people, kind)
        did += await rank_all(collection, people)
        await sweep_once(database, collection.config)
        if not did and (await collection.tree(tree_id)).state == "ready_for_export":
            break
    tree, messages = await collection.tree(tree_id), await collection.messages_of(tree_id)
    assert (tree.state, len(messages)) == ("ready_for_export", tree.goal_size)
    assert tree.enough, "nobody was left who could give three rankings"
    assert await database["work"].count_documents({"tree_id": tree_id}) == 0
    lapsed, _ = await events_page(database, kind="ranking_lapsed")
    assert {each.details["message"] for each in lapsed} == set(tree.enough)
    for parent_id, rankings in tree.enough.items():
        ranks = [each.rank for each in messages if each.parent_id == parent_id and each.usable]
        assert rankings < tree.num_rankings
        assert ranks == [None] * len(ranks) if rankings == 0 else sorted(ranks) == list(range(len(ranks)))


async def test_what_somebody_ranks_just_now_is_waited_for(database, person) -> None:
    patient = Collection(database, replace(SMALL, ranking_patience_seconds=3600), random.Random(7))
    people = [await person(f"p{each}") for each in range(6)]
    tree_id = await write_prompt(patient, people[0])
    await review_all(patient, people, "label_initial_prompt")
    await sweep_once(database, patient.config)
    for _ in range(5):
        await reply_all(patient, people[:3])
        for kind in ("label_assistant_reply", "label_prompter_reply"):
            await review_all(patient, people, kind)
    assert (await patient.tree(tree_id)).state == "ranking"
    await sweep_once(database, patient.config)
    task = await patient.request_task(people[5], "rank_assistant_replies", ["en"])
    await _let_time_pass(database)
    await sweep_once(database, patient.config)
    assert (await patient.tree(tree_id)).state == "ranking"
    await patient.submit_ranking(people[5], task.id, sorted(task.served))
    await sweep_once(database, patient.config)
    assert (await patient.tree(tree_id)).state == "ranking", "the wait begins anew with each ranking"
    await _let_time_pass(database)
    await sweep_once(database, patient.config)
    tree = await patient.tree(tree_id)
    assert (tree.state, list(tree.enough.values())) == ("ready_for_export", [1])
    ranked = [each.id for each in await patient.messages_of(tree_id) if each.rank is not None]
    assert sorted(ranked) == sorted(task.served)


CLEAN, JUNK = {"spam": 0.0}, {"spam": 1.0}
WEIGHTED = CollectionConfig(p_activate_backlog_tree=0.0, max_pending_tasks=1000)


DECIDED = [
    ((CLEAN,), "accepted"),
    ((JUNK,), "refused"),
    ((JUNK, CLEAN), "accepted"),
    ((JUNK, CLEAN, CLEAN), "accepted"),
]


@pytest.mark.parametrize(("said", "verdict"), DECIDED)
async def test_a_message_that_nobody_more_reviews_is_decided_by_what_was_said(database, person, said, verdict) -> None:
    collection = Collection(database, WEIGHTED, random.Random(7))
    author, *reviewers = [await person(f"p{each}") for each in range(1 + len(said))]
    tree_id = await write_prompt(collection, author)
    for user, labels in zip(reviewers, said, strict=True):
        await review_all(collection, [user], "label_initial_prompt", labels)
    await sweep_once(database, collection.config)
    assert (await collection.message(tree_id)).state == "pending", "the wait is not over"
    await _let_time_pass(database, "label_initial_prompt")
    await sweep_once(database, collection.config)
    tree, message = await collection.tree(tree_id), await collection.message(tree_id)
    assert (message.state, tree.heard) == (verdict, {tree_id: len(said)})
    assert (message.judgement["acceptable"] >= 0.5) == (verdict == "accepted")
    assert tree.state == ("growing" if verdict == "accepted" else "aborted_low_grade")
    disputed = await database["moderation_items"].find_one({"_id": f"message:{tree_id}|disputed"})
    assert (disputed is not None) == (len(said) > 1), "moderators see what was decided although people were split"
    (lapsed,), _ = await events_page(database, kind="review_lapsed")
    assert (lapsed.subject, lapsed.details) == (tree_id, {"message": tree_id, "reviews": len(said)})
    await sweep_once(database, collection.config)
    assert await database["work"].count_documents({"kind": "label_initial_prompt"}) == 0


async def test_what_somebody_reviews_just_now_is_waited_for(database, person) -> None:
    collection = Collection(database, WEIGHTED, random.Random(7))
    author, first, second = [await person(f"p{each}") for each in range(3)]
    tree_id = await write_prompt(collection, author)
    await review_all(collection, [first], "label_initial_prompt", JUNK)
    task = await collection.request_task(second, "label_initial_prompt", ["en"])
    await _let_time_pass(database, "label_initial_prompt")
    await sweep_once(database, collection.config)
    assert (await collection.message(tree_id)).state == "pending"
    await collection.submit_review(second, task.id, CLEAN)
    await sweep_once(database, collection.config)
    assert (await collection.message(tree_id)).state == "pending", "the wait begins anew with each review"


async def test_a_message_that_nobody_reviewed_comes_to_the_moderators(database, person) -> None:
    collection = Collection(database, WEIGHTED, random.Random(7))
    tree_id = await write_prompt(collection, await person("author"))
    for times in (1, 2):
        await _let_time_pass(database, "label_initial_prompt", times)
        await sweep_once(database, collection.config)
        item = await database["moderation_items"].find_one({"_id": f"message:{tree_id}|unreviewed"})
        assert (item["state"], item["count"]) == ("open", times)
        await sweep_once(database, collection.config)  # the wait began anew
    assert (await collection.message(tree_id)).state == "pending"
    assert (await collection.tree(tree_id)).heard == {}
    await judge_message(
        database, collection.config, await person("mod", "moderator"), tree_id, "accepted", "reads well"
    )
    await sweep_once(database, collection.config)
    assert (await collection.tree(tree_id)).state == "growing"


async def _let_time_pass(database, kind: str = "rank_assistant_replies", since: int = 1) -> None:
    """As far as the store can tell, nobody has ranked or reviewed anything for long."""
    async for document in database["work"].find({"kind": kind}):
        work = replace(Work.from_document(document), since=since, lapses_at=since)
        await database["work"].update_one(
            {"_id": work.id}, {"$set": {"since": since, "lapses_at": since, **work.keys()}}
        )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**12), max_size=3), st.integers(0, 10**6), st.integers(0, 9))
def test_the_wait_begins_with_the_last_opinion(opened, answers, patience, later) -> None:
    config = CollectionConfig(ranking_patience_seconds=patience, review_patience_seconds=patience)
    for kind in ("rank_assistant_replies", "label_prompter_reply"):
        work = Work(id="w", kind=kind, lang="en", target_id="t")
        last = max(answers, default=0)
        told = {(kind.split("_")[0], "t"): last, ("other", "t"): 10**14}
        found = waiting(work, told, opened, config)
        assert found.since == max(opened or 0, last)
        assert found.lapses_at == (found.since + 1000 * patience if patience else NEVER)
        assert waiting(found, told, opened + later, config) == found if found.since else True
        assert waiting(replace(work, kind="assistant_reply"), told, opened, config).lapses_at == NEVER
    parity = replace(config, mode="parity")
    assert waiting(work, told, opened, parity).lapses_at == NEVER, "its number of reviews is fixed"


def test_the_last_answer_of_each_set_and_message() -> None:
    moment = now()
    told = [Ranking(id=f"k{n}", tree_id="t", parent_id=parent, ranking=(), created_at=moment) for n, parent in
            enumerate("aab")]  # fmt: skip
    earlier = [Review(id=f"r{n}", tree_id="t", message_id="a", labels={}, created_at=moment - timedelta(seconds=n))
               for n in (2, 1)]  # fmt: skip
    at = milliseconds(moment)
    assert last_answers(told, earlier) == {("rank", "a"): at, ("rank", "b"): at, ("label", "a"): at - 1000}
