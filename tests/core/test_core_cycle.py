"""A whole tree through the store: prompt, review, lottery, replies, reviews, rankings, consensus, credits."""

from __future__ import annotations

from core.config import CollectionConfig
from core.errors import NothingToDo
from core.sweeper import sweep_once

GOOD = {"spam": 0.0, "quality": 0.75}


async def review_all(collection, people, kind: str) -> int:
    done = 0
    for user in people:
        while True:
            try:
                task = await collection.request_task(user, kind, ["en"])
            except NothingToDo:
                break
            await collection.submit_review(user, task.id, GOOD)
            done += 1
    return done


async def grow_to_ranking(collection, people) -> str:
    """A tree of one prompt and three replies, in ranking; its id."""
    database, config = collection.database, collection.config
    task = await collection.request_task(people[0], "initial_prompt", ["en"])
    await collection.submit_prompt(people[0], task.id, "Why is the sky blue?", "en")
    assert await review_all(collection, people, "label_initial_prompt") == config.num_reviews_initial_prompt
    assert (await collection.tree(task.id)).state == "prompt_lottery_waiting"
    await sweep_once(database, config)
    assert (await collection.tree(task.id)).state == "growing"
    for number in range(6):
        for kind in ("assistant_reply", "prompter_reply"):
            try:
                reply = await collection.request_task(people[number % len(people)], kind, ["en"])
            except NothingToDo:
                continue
            await collection.submit_reply(
                people[number % len(people)], reply.id, f"Because of scattering, {number} {kind}."
            )
        await review_all(collection, people, "label_assistant_reply")
        await review_all(collection, people, "label_prompter_reply")
        if (await collection.tree(task.id)).state != "growing":
            break
    return task.id


async def test_a_tree_goes_from_prompt_to_export(collection, person, config: CollectionConfig) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid", "dan", "eve", "fay")]
    tree_id = await grow_to_ranking(collection, people)
    assert (await collection.tree(tree_id)).state == "ranking"
    messages = await collection.messages_of(tree_id)
    assert len([message for message in messages if message.usable]) >= config.goal_tree_size
    ranked = 0
    for user in people:
        try:
            task = await collection.request_task(user, "rank_assistant_replies", ["en"])
        except NothingToDo:
            continue
        await collection.submit_ranking(user, task.id, sorted(task.served))
        ranked += 1
    assert ranked == config.num_required_rankings
    tree = await collection.tree(tree_id)
    assert (tree.state, tree.dirty) == ("ready_for_export", False)
    siblings = [each for each in await collection.messages_of(tree_id) if each.depth == 1]
    assert sorted(each.rank for each in siblings) == [0, 1]
    assert min(siblings, key=lambda each: each.rank).id == min(each.id for each in siblings)
    assert await collection.database["work"].count_documents({"tree_id": tree_id}) == 0
