"""Settling while something else settles: the later fact wins, whoever writes last."""

from __future__ import annotations

from core_people import GOOD, until_growing, write_prompt

import core.settle


async def overtaken(monkeypatch, meanwhile) -> None:
    """Let `meanwhile` happen once, right after the next settling has read its facts."""
    real, left = core.settle.load, [meanwhile]

    async def load(database, tree_id, **options):
        facts = await real(database, tree_id, **options)
        if left:
            await left.pop()()
        return facts

    monkeypatch.setattr(core.settle, "load", load)


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
    await overtaken(monkeypatch, lambda: collection.submit_review(cid, second.id, GOOD))
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
    await overtaken(monkeypatch, lambda: collection.delete_message(mod, tree_id))
    await collection.submit_reply(people[1], task.id, "An answer")
    tree = await collection.tree(tree_id)
    assert (tree.state, tree.dirty) == ("halted_by_moderator", False)
    assert all(each.deleted for each in await collection.messages_of(tree_id))
    assert await collection.database["work"].count_documents({"tree_id": tree_id}) == 0
