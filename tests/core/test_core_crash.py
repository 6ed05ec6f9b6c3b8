"""A crash between any two writes of any step: the sweeper brings the same end as without it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from core_people import GOOD, until_growing, until_ranking
from faults import Crashed, copy, crash_after

from core.collection import Collection
from core.errors import NothingToDo, TaskGone
from core.opinions import Ranking, Review
from core.records import Task
from core.sweeper import sweep_once

TREE_FIELDS = ("state", "dirty")
MESSAGE_FIELDS = ("text", "state", "deleted", "review_count", "ranking_count", "rank", "emojis", "labels")


async def picture(collection: Collection, tree_id: str) -> dict:
    """What is stored of a tree and its people's scores, but for ids and times that differ from run to run."""
    database = collection.database
    tree = await collection.tree(tree_id)
    messages = await collection.messages_of(tree_id)
    work = [each async for each in database["work"].find({"tree_id": tree_id})]
    scores = {each["_id"]: each["total"]["counts"] async for each in database["scores"].find()}
    names = {each["_id"]: each["display_name"] async for each in database["users"].find()}
    return {
        "tree": {name: getattr(tree, name) for name in TREE_FIELDS},
        "messages": sorted(str({name: getattr(each, name) for name in MESSAGE_FIELDS}) for each in messages),
        "work": sorted((each["kind"], each["free"], len(each["holds"])) for each in work),
        "scores": {names[user]: counts for user, counts in scores.items()},
        "tasks": sorted([each["state"] async for each in database["tasks"].find()]),
        "words": sorted([each["text"] async for each in database["message_words"].find()]),
        "sketches": sorted([each["sketch"] async for each in database["text_bands"].find()]),
    }


async def crash_everywhere(collection, step, tree_id, stride: int = 1) -> None:
    """Run `step(branch)` on a copy of the store for each number of writes after which it may crash; compare ends.

    After a crash before the first write of what was asked, the client asks again; later, only sometimes.
    """
    expected, total = await ends(collection, step, tree_id)
    assert total > 2
    for limit in [*range(FIRST), *range(FIRST, total, stride)]:
        branch = await copy(collection, f"crash{limit}")
        with crash_after(limit), pytest.raises(Crashed):
            await step(branch)
        if limit < FIRST or limit % 3 == 0:
            await step(branch)
        await sweep_once(branch.database, collection.config, random.Random(1))
        assert await picture(branch, tree_id) == expected, f"after {limit} of {total} writes"
        await branch.database.client.drop_database(branch.database.name)


FIRST = 3
"""Writes by which every step has stored what was asked of it."""


async def ends(collection: Collection, step, tree_id: str) -> tuple[dict, int]:
    """What is stored after the step and a sweep, and the number of writes of the step."""
    branch = await copy(collection, "whole")
    with crash_after(None) as writes:
        await step(branch)
        total = writes.asked
    await sweep_once(branch.database, collection.config, random.Random(1))
    return await picture(branch, tree_id), total


async def test_a_review_that_moves_the_tree_on(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid")]
    prompt = await collection.request_task(people[0], "initial_prompt", ["en"])
    await collection.submit_prompt(people[0], prompt.id, "Why?", "en")
    first = await collection.request_task(people[1], "label_initial_prompt", ["en"])
    await collection.submit_review(people[1], first.id, GOOD)
    last = await collection.request_task(people[2], "label_initial_prompt", ["en"])
    await crash_everywhere(collection, lambda branch: branch.submit_review(people[2], last.id, GOOD), prompt.id, 2)


async def test_a_new_prompt(collection, person) -> None:
    ann = await person("ann")
    task = await collection.request_task(ann, "initial_prompt", ["en"])
    text = "Why does bread rise, and why does salt slow it down?"
    await crash_everywhere(collection, lambda branch: branch.submit_prompt(ann, task.id, text, "en"), task.id)


async def test_a_reply(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid")]
    tree_id = await until_growing(collection, people)
    task = await collection.request_task(people[1], "assistant_reply", ["en"])
    await crash_everywhere(collection, lambda branch: branch.submit_reply(people[1], task.id, "So."), tree_id)


async def test_the_last_ranking(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid", "dan", "eve", "fay")]
    tree_id = await until_ranking(collection, people)
    tasks: list[tuple] = []
    for user in people:
        try:
            tasks.append((user, await collection.request_task(user, "rank_assistant_replies", ["en"])))
        except NothingToDo:
            continue
    (first, task), (second, other) = tasks
    await collection.submit_ranking(first, task.id, task.served)
    await crash_everywhere(
        collection, lambda branch: branch.submit_ranking(second, other.id, sorted(other.served)), tree_id, 3
    )


async def test_a_skip(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob")]
    prompt = await collection.request_task(people[0], "initial_prompt", ["en"])
    await collection.submit_prompt(people[0], prompt.id, "Why?", "en")
    task = await collection.request_task(people[1], "label_initial_prompt", ["en"])
    await crash_everywhere(collection, lambda branch: branch.skip_task(people[1], task.id, "dull"), prompt.id)


async def test_a_deletion(collection, person) -> None:
    ann, mod = await person("ann"), await person("mod", "moderator")
    prompt = await collection.request_task(ann, "initial_prompt", ["en"])
    await collection.submit_prompt(ann, prompt.id, "Why?", "en")
    await crash_everywhere(collection, lambda branch: branch.delete_message(mod, prompt.id), prompt.id)


async def test_an_answer_given_is_applied_by_the_sweeper_alone(collection, person) -> None:
    """The client never comes back; what it was told, and what it was not, is finished all the same."""
    ann, bob = await person("ann"), await person("bob")
    prompt = await collection.request_task(ann, "initial_prompt", ["en"])
    await collection.submit_prompt(ann, prompt.id, "Why?", "en")
    task = await collection.request_task(bob, "label_initial_prompt", ["en"])
    with crash_after(1), pytest.raises(Crashed):
        await collection.submit_review(bob, task.id, GOOD)
    assert (await collection.get_task(bob, task.id)).state == "answered"
    swept = await sweep_once(collection.database, collection.config)
    assert (swept.applied, swept.failures) == (1, [])
    assert (await collection.get_task(bob, task.id)).state == "done"
    assert (await collection.message(prompt.id)).review_count == 1


async def test_a_hand_out_that_crashed_gives_its_place_back(collection, person) -> None:
    ann, bob = await person("ann"), await person("bob")
    prompt = await collection.request_task(ann, "initial_prompt", ["en"])
    await collection.submit_prompt(ann, prompt.id, "Why?", "en")
    hasty = Collection(collection.database, replace(collection.config, lease_label_seconds=0), random.Random(1))
    with crash_after(1), pytest.raises(Crashed):
        await hasty.request_task(bob, "label_initial_prompt", ["en"])
    (work,) = [each async for each in collection.database["work"].find({"kind": "label_initial_prompt"})]
    assert len(work["holds"]) == 1
    await sweep_once(collection.database, collection.config)
    (work,) = [each async for each in collection.database["work"].find({"kind": "label_initial_prompt"})]
    assert (work["holds"], work["free"]) == ({}, 2)
    assert (await collection.request_task(bob, "label_initial_prompt", ["en"])).state == "open"


async def test_an_expired_task_cannot_be_submitted_and_its_place_returns(collection, person) -> None:
    ann, bob = await person("ann"), await person("bob")
    prompt = await collection.request_task(ann, "initial_prompt", ["en"])
    await collection.submit_prompt(ann, prompt.id, "Why?", "en")
    hasty = Collection(collection.database, replace(collection.config, lease_label_seconds=0), random.Random(1))
    task = await hasty.request_task(bob, "label_initial_prompt", ["en"])
    await sweep_once(collection.database, collection.config)
    with pytest.raises(TaskGone, match="expired"):
        await collection.submit_review(bob, task.id, GOOD)
    again = await collection.request_task(bob, "label_initial_prompt", ["en"])
    assert again.id != task.id
    reviews = [Review.from_document(each) async for each in collection.database["reviews"].find()]
    assert reviews == []


async def test_what_is_stored_reads_back_as_records(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid", "dan", "eve", "fay")]
    tree_id = await until_ranking(collection, people)
    task = None
    for user in people:
        try:
            task = await collection.request_task(user, "rank_assistant_replies", ["en"])
            await collection.submit_ranking(user, task.id, task.served, not_rankable=True)
            break
        except NothingToDo:
            continue
    (ranking,) = [Ranking.from_document(each) async for each in collection.database["rankings"].find()]
    assert (ranking.tree_id, ranking.ranking, ranking.not_rankable) == (tree_id, task.served, True)
    stored = Task.from_document(await collection.database["tasks"].find_one({"_id": task.id}))
    assert stored.answer == {"ranking": list(task.served), "not_rankable": True}
