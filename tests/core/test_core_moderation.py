"""Reactions, reports, deletion, halting."""

from __future__ import annotations

import asyncio

import pytest
from core_people import until_growing, write_prompt

from core.errors import BadInput, Conflict, Forbidden, NotFound
from core.opinions import Report
from core.sweeper import sweep_once


async def test_reactions_count_people(collection, person) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    tree_id = await write_prompt(collection, ann)
    for _ in range(2):
        await collection.react(bob, tree_id, "+1")
    assert (await collection.react(cid, tree_id, "+1")).emojis == {"+1": 2}
    assert (await collection.react(cid, tree_id, "-1")).emojis == {"+1": 1, "-1": 1}
    assert (await collection.react(ann, tree_id, "+1")).emojis == {"+1": 1, "-1": 1}
    assert (await collection.react(ann, tree_id, "clap")).emojis == {"+1": 1, "-1": 1, "clap": 1}
    for _ in range(2):
        assert (await collection.react(cid, tree_id, "-1", on=False)).emojis == {"+1": 1, "clap": 1}


async def test_many_reactions_at_once_are_all_counted(collection, person) -> None:
    tree_id = await write_prompt(collection, await person("ann"))
    people = [await person(f"p{number}") for number in range(12)]
    await asyncio.gather(*(collection.react(user, tree_id, "100") for user in people))
    await sweep_once(collection.database, collection.config)
    assert (await collection.message(tree_id)).emojis == {"100": 12}


@pytest.mark.parametrize("emoji", ["_skip_reply", "thumbs", "", "👍"])
async def test_unknown_and_system_emojis_are_refused(collection, person, emoji) -> None:
    ann = await person("ann")
    with pytest.raises(BadInput) as error:
        await collection.react(ann, "any", emoji)
    assert error.value.path == ("emoji",)


async def test_a_report_flags_once_a_person(collection, person) -> None:
    ann, bob = await person("ann"), await person("bob")
    tree_id = await write_prompt(collection, ann)
    await collection.report(bob, tree_id, "rude")
    report = await collection.report(bob, tree_id, " very rude ")
    assert report.reason == "very rude"
    (stored,) = [Report.from_document(each) async for each in collection.database["reports"].find()]
    assert (stored.reason, stored.processed) == ("very rude", False)
    assert (await collection.message(tree_id)).emojis == {"red_flag": 1}
    for reason in (" ", "x" * 4097):
        with pytest.raises(BadInput):
            await collection.report(bob, tree_id, reason)
    with pytest.raises(NotFound):
        await collection.report(bob, "nowhere", "rude")


async def test_four_flags_end_a_tree(collection, person) -> None:
    tree_id = await write_prompt(collection, await person("ann"))
    for number in range(4):
        assert (await collection.tree(tree_id)).state == "initial_prompt_review"
        await collection.report(await person(f"p{number}"), tree_id, "spam")
    assert (await collection.tree(tree_id)).state == "aborted_low_grade"
    assert await collection.database["work"].count_documents({"tree_id": tree_id}) == 0


async def test_only_moderators_delete(collection, person) -> None:
    ann, mod = await person("ann"), await person("mod", "moderator")
    tree_id = await write_prompt(collection, ann)
    for attempt in (collection.delete_message(ann, tree_id), collection.halt_tree(ann, tree_id)):
        with pytest.raises(Forbidden):
            await attempt
    assert not (await collection.message(tree_id)).deleted
    for _ in range(2):
        assert (await collection.delete_message(mod, tree_id)).deleted
    assert (await collection.tree(tree_id)).state == "halted_by_moderator"
    with pytest.raises(NotFound):
        await collection.delete_message(mod, "nowhere")


async def test_deleting_a_reply_takes_what_follows_and_opens_its_place(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid")]
    mod = await person("mod", "admin")
    tree_id = await until_growing(collection, people)
    task = await collection.request_task(people[1], "assistant_reply", ["en"])
    reply = await collection.submit_reply(people[1], task.id, "An answer")
    await collection.delete_message(mod, reply.result_id)
    kinds = [each["kind"] async for each in collection.database["work"].find({"tree_id": tree_id})]
    assert kinds == ["assistant_reply"]
    acts = [
        (each["kind"], each["by"]) async for each in collection.database["events"].find({"subject": reply.result_id})
    ]
    assert ("delete_message", mod.id) in acts


async def test_only_a_halted_tree_goes_on(collection, person) -> None:
    ann, mod = await person("ann"), await person("mod", "moderator")
    tree_id = await write_prompt(collection, ann)
    assert (await collection.halt_tree(mod, tree_id, False)).state == "initial_prompt_review"
    await collection.halt_tree(mod, tree_id)
    assert (await collection.halt_tree(mod, tree_id)).state == "halted_by_moderator"
    assert (await collection.halt_tree(mod, tree_id, False)).state == "initial_prompt_review"
    assert await collection.database["work"].count_documents({"tree_id": tree_id}) == 1


async def test_a_refused_prompt_cannot_be_made_to_go_on_by_halting(collection, person) -> None:
    tree_id = await write_prompt(collection, await person("ann"))
    mod = await person("mod", "moderator")
    for number in range(4):
        await collection.report(await person(f"p{number}"), tree_id, "spam")
    with pytest.raises(Conflict):
        await collection.halt_tree(mod, tree_id)
