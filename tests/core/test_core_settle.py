"""Settling while something else settles: the later fact wins, whoever writes last."""

from __future__ import annotations

from core_people import GOOD, until_growing, write_prompt

import core.answers
import core.settle
from core.sweeper import sweep_once


async def overtaken(monkeypatch, meanwhile, module=core.settle, name="load") -> None:
    """Let `meanwhile` happen once, right after the next settling has read its facts, by that function."""
    real, left = getattr(module, name), [meanwhile]

    async def load(*arguments):
        facts = await real(*arguments)
        if left:
            await left.pop()()
        return facts

    monkeypatch.setattr(module, name, load)


async def test_a_reaction_that_overtakes_another_is_kept(collection, person, monkeypatch) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    tree_id = await write_prompt(collection, ann)
    await overtaken(monkeypatch, lambda: collection.react(cid, tree_id, "100"))
    assert (await collection.react(bob, tree_id, "100")).emojis == {"100": 2}
    assert not (await collection.tree(tree_id)).dirty


async def test_a_review_that_overtakes_another_leaves_no_place_too_many(collection, person, monkeypatch) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    tree_id = await write_prompt(collection, ann)
    first = await collection.request_task(bob, "label_initial_prompt", ["en"])
    second = await collection.request_task(cid, "label_initial_prompt", ["en"])
    await overtaken(monkeypatch, lambda: collection.submit_review(cid, second.id, GOOD), core.answers)
    await collection.submit_review(bob, first.id, GOOD)
    message = await collection.message(tree_id)
    assert (message.review_count, message.state) == (2, "accepted")
    assert await collection.database["work"].count_documents({"tree_id": tree_id}) == 0
    assert (await collection.tree(tree_id)).state == "prompt_lottery_waiting"


async def test_a_deletion_that_overtakes_a_reply_closes_its_work(collection, person, monkeypatch) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid")]
    mod = await person("mod", "moderator")
    tree_id = await until_growing(collection, people)
    task = await collection.request_task(people[1], "assistant_reply", ["en"])
    await overtaken(monkeypatch, lambda: collection.delete_message(mod, tree_id), core.answers, "look_around")
    await collection.submit_reply(people[1], task.id, "An answer")
    tree = await collection.tree(tree_id)
    assert (tree.state, tree.dirty) == ("halted_by_moderator", False)
    assert all(each.deleted for each in await collection.messages_of(tree_id))
    assert await collection.database["work"].count_documents({"tree_id": tree_id}) == 0


async def test_a_reaction_to_a_prompt_that_is_just_being_stored_is_kept(collection, person, monkeypatch) -> None:
    ann, bob = await person("ann"), await person("bob")
    real, left = core.credits.together, ["the first of them"]

    async def together(database, writes):
        if not left:
            return await real(database, writes)
        left.clear()
        message, tree = writes[:2]
        assert (message.collection, tree.collection) == ("messages", "trees")
        stored = await real(database, [message, tree])
        await collection.react(bob, message.document["_id"], "100")  # as others can between any two of the writes
        return stored + await real(database, writes[2:])

    monkeypatch.setattr(core.credits, "together", together)
    tree_id = await write_prompt(collection, ann)
    assert not left
    assert (await collection.message(tree_id)).emojis == {"100": 1}
    assert not (await collection.tree(tree_id)).dirty
    assert await collection.database["work"].count_documents({"tree_id": tree_id}) == 1


async def test_an_answer_whose_tree_changes_too_fast_is_left_to_the_sweeper(collection, person, monkeypatch) -> None:
    ann, bob = await person("ann"), await person("bob")
    tree_id = await write_prompt(collection, ann)
    task = await collection.request_task(bob, "label_initial_prompt", ["en"])
    with monkeypatch.context() as busy:
        busy.setattr(core.settle, "ATTEMPTS", 1)
        await overtaken(busy, lambda: collection.react(ann, tree_id, "100"), core.answers)
        assert (await collection.submit_review(bob, task.id, GOOD)).state == "done"
    assert (await collection.tree(tree_id)).dirty
    await sweep_once(collection.database, collection.config)
    assert (await collection.message(tree_id)).review_count == 1
    assert not (await collection.tree(tree_id)).dirty
