"""Lottery, backlog, trees made of chats, the sweeper's loop."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, replace

import pytest
from core_people import credits_in, review_all, until_ranking, write_prompt

from core.collection import Collection
from core.errors import BadInput, NothingToDo
from core.sweeper import run_sweeper, sweep_once


@dataclass(frozen=True)
class Said:
    """A turn of a chat."""

    role: str
    text: str
    model_version: str | None = None


THREAD = [Said("user", "Hi"), Said("assistant", "Hello!", "tiny@1"), Said("user", "Why is the sky blue?")]
REPLIES = [Said("assistant", "Scattering.", "tiny@1"), Said("assistant", "It is not.", "tiny@2")]


async def test_a_rated_chat_becomes_ranking_work(collection, person) -> None:
    ann = await person("ann")
    tree = await collection.add_synthetic_tree(THREAD, REPLIES, key="chat:1", lang="en", author_id=ann.id)
    assert (tree.state, tree.origin) == ("backlog_ranking", "chat")
    again = await collection.add_synthetic_tree(THREAD, REPLIES[::-1], key="chat:1", lang="en")
    words = {each["text"] async for each in collection.database["message_words"].find()}
    assert words == {each.text for each in await collection.messages_of(tree.id)}
    assert again.id == tree.id
    messages = await collection.messages_of(tree.id)
    assert [(each.depth, each.role, each.synthetic, each.model_version, each.usable) for each in messages] == [
        (0, "prompter", False, None, True), (1, "assistant", True, "tiny@1", True), (2, "prompter", False, None, True),
        (3, "assistant", True, "tiny@1", True), (3, "assistant", True, "tiny@2", True),
    ]  # fmt: skip
    assert [each.author_id for each in messages] == [ann.id, None, ann.id, None, None]
    with pytest.raises(NothingToDo):
        await collection.request_task(ann, "rank_assistant_replies", ["en"])
    assert await collection.activate_backlog("de") is None
    active = await collection.activate_backlog("en")
    assert (active.id, active.state) == (tree.id, "ranking")
    assert await collection.activate_backlog("en") is None
    for name in ("bob", "cid"):
        user = await person(name)
        task = await collection.request_task(user, "rank_assistant_replies", ["en"])
        assert len(task.thread) == 3
        best = next(each.id for each in messages if each.text == "Scattering.")
        await collection.submit_ranking(user, task.id, sorted(task.served, key=lambda each: each != best))
    assert (await collection.tree(tree.id)).state == "ready_for_export"
    ranks = {each.text: each.rank for each in await collection.messages_of(tree.id)}
    assert (ranks["Scattering."], ranks["It is not."], ranks["Hello!"]) == (0, 1, None)
    # Machines' texts and the turns of a chat earn nobody anything.
    assert {what for _, what in await credits_in(collection.database, tree.id)} == {"rankings", "rankings_good"}


@pytest.mark.parametrize(
    ("thread", "replies"),
    [([], REPLIES), (THREAD[:2], REPLIES), (THREAD[1:], REPLIES), ([Said("system", "x")], REPLIES),
     (THREAD, REPLIES[:1]), (THREAD, [REPLIES[0], Said("user", "no")])],
)  # fmt: skip
async def test_a_chat_of_the_wrong_form_is_refused(collection, thread, replies) -> None:
    with pytest.raises(BadInput):
        await collection.add_synthetic_tree(thread, replies, key="k", lang="en")
    assert await collection.database["messages"].count_documents({}) == 0


async def test_two_additions_at_once_make_one_tree(collection) -> None:
    added = [collection.add_synthetic_tree(THREAD, REPLIES, key="chat:1", lang="en") for _ in range(6)]
    assert len({tree.id for tree in await asyncio.gather(*added)}) == 1
    assert await collection.database["messages"].count_documents({}) == 5


async def test_the_lottery_keeps_as_many_trees_growing_as_may(database, config, person) -> None:
    few = Collection(database, replace(config, max_active_trees=2), random.Random(1))
    people = [await person(f"p{number}") for number in range(4)]
    for number, user in enumerate(people):
        await write_prompt(few, user, f"Question {number}?")
    await review_all(few, people, "label_initial_prompt")
    assert (await sweep_once(database, few.config, random.Random(3))).won == 2
    assert (await sweep_once(database, few.config, random.Random(3))).won == 0
    growing = (await few.trees_page(state="growing")).items
    assert len(growing) == 2
    assert all(tree.won_lottery_at is not None for tree in growing)
    assert len((await few.trees_page(state="prompt_lottery_waiting", lang="en")).items) == 2


async def test_two_sweepers_at_once_draw_no_tree_twice(database, config, person) -> None:
    few = Collection(database, replace(config, max_active_trees=2), random.Random(1))
    people = [await person(f"p{number}") for number in range(5)]
    for number, user in enumerate(people):
        await write_prompt(few, user, f"Question {number}?")
    await review_all(few, people, "label_initial_prompt")
    swept = await asyncio.gather(*(sweep_once(database, few.config, random.Random(seed)) for seed in range(3)))
    drawn = [each["subject"] async for each in database["events"].find({"kind": "lottery"})]
    assert len(drawn) == len(set(drawn)) == sum(each.won for each in swept) >= 2


async def test_the_backlog_fills_up_ranking_to_the_least_wanted(database, config) -> None:
    busy = Collection(database, replace(config, min_active_rankings_per_lang=2), random.Random(1))
    for number in range(3):
        await busy.add_synthetic_tree(THREAD, REPLIES, key=f"chat:{number}", lang="en")
    assert (await sweep_once(database, busy.config)).activated == 2
    assert (await sweep_once(database, busy.config)).activated == 0
    assert len((await busy.trees_page(state="backlog_ranking")).items) == 1


async def test_a_tree_that_ends_brings_one_from_the_backlog(database, config, person) -> None:
    always = Collection(database, replace(config, p_activate_backlog_tree=1.0), random.Random(1))
    tree = await always.add_synthetic_tree(THREAD, REPLIES, key="chat:1", lang="en")
    await always.halt_tree(await person("mod", "moderator"), await write_prompt(always, await person("ann")))
    assert (await always.tree(tree.id)).state == "backlog_ranking"  # halted by hand: nothing was finished
    other = await write_prompt(always, await person("ann"), "Another?")
    for number in range(4):
        await always.report(await person(f"p{number}"), other, "spam")
    assert (await always.tree(tree.id)).state == "ranking"


async def test_backlog_trees_without_a_choice_are_put_aside(collection, person) -> None:
    first = await collection.add_synthetic_tree(THREAD, REPLIES, key="chat:1", lang="en")
    second = await collection.add_synthetic_tree(THREAD, REPLIES, key="chat:2", lang="en")
    reply = (await collection.messages_of(first.id))[-1]
    await collection.delete_message(await person("mod", "moderator"), reply.id)
    assert (await collection.activate_backlog("en")).id == second.id
    assert (await collection.tree(first.id)).state == "aborted_low_grade"


async def test_a_random_goal_is_drawn_once(database, config, person) -> None:
    varied = Collection(
        database, replace(config, random_goal_tree_size=True, min_goal_tree_size=2, goal_tree_size=9), random.Random(1)
    )
    goals = set()
    for number in range(12):
        tree = await varied.tree(await write_prompt(varied, await person("ann"), f"Question {number}?"))
        goals.add(tree.goal_size)
    assert goals <= set(range(2, 10))
    assert len(goals) > 3


async def test_the_loop_goes_on_after_a_failure_and_stops_when_told(collection, person, caplog) -> None:
    ann, bob = await person("ann"), await person("bob")
    tree_id = await write_prompt(collection, ann)
    task = await collection.request_task(bob, "label_initial_prompt", ["en"])
    # An answer to a task of no known kind: what a version to come might leave behind.
    await collection.database["tasks"].update_one(
        {"_id": task.id},
        {"$set": {"kind": "assistant_reply", "state": "answered", "deadline": "answered|0", "answer": {"text": "x"},
                  "target_id": "gone"}},
    )  # fmt: skip
    await collection.database["trees"].update_one({"_id": tree_id}, {"$set": {"dirty": True}})
    with caplog.at_level(logging.WARNING):
        loop = asyncio.create_task(run_sweeper(collection.database, collection.config, 0.01))
        async with asyncio.timeout(20):
            # What is waited for lies in the store and the log, where no event can be had.
            while "has been removed" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await collection.database["trees"].update_one({"_id": tree_id}, {"$set": {"dirty": True}})
            while (await collection.tree(tree_id)).dirty:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        while not loop.done():  # asked again, since what is deep in the driver may miss the first
            loop.cancel()
            await asyncio.wait({loop}, timeout=0.5)
    assert loop.cancelled()


async def test_sweeping_a_quiet_store_changes_nothing(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid", "dan", "eve", "fay")]
    await until_ranking(collection, people)
    await sweep_once(collection.database, collection.config)
    before = await everything(collection.database)
    swept = await sweep_once(collection.database, collection.config)
    assert (swept.applied, swept.expired, swept.settled, swept.won) == (0, 0, 0, 0)
    assert await everything(collection.database) == before


async def everything(database) -> dict:
    names = await database.list_collection_names()
    return {name: sorted([str(each) async for each in database[name].find()]) for name in names}
