"""What somebody else does between two commands of one act."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from core_people import GOOD, review_all, until_growing, write_prompt

from core import answers, credits, departures, message_words, own_messages, purge, tasks, writes
from core.errors import Conflict, NotFound, NothingToDo, TaskGone
from core.moderators import Moderators
from core.sweeper import sweep_once

Step = Callable[[], Awaitable[Any]]


async def nothing() -> None:
    pass


@contextmanager
def once(module: Any, fits: Callable[[Any], bool], before: Step = nothing, after: Step = nothing) -> Iterator[None]:
    """Do steps before and after the first command of `module` that has a write that `fits`."""
    commands = iter([True])

    async def together(database: Any, made: Any) -> tuple[bool, ...]:
        first = any(map(fits, made)) and next(commands, False)
        if first:
            await before()
        done = await writes.together(database, made)
        if first:
            await after()
        return done

    with patch.object(module, "together", together):
        yield
    assert next(commands, False) is False, "there was no such command"


def ends_a_task(write: Any) -> bool:
    return write.collection == "tasks" and getattr(write, "update", {}).get("$set", {}).get("state") == "done"


def takes_a_place(write: Any) -> bool:
    return write.collection == "work"


def stores_a_message(write: Any) -> bool:
    return write.collection == "messages" and isinstance(write, writes.New)


async def test_what_is_answered_without_a_place_is_not_lost(collection, person) -> None:
    """Who is outrun in taking a place answers the task, seen in their list, before it is taken back."""
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    prompt = await write_prompt(collection, ann)

    async def outrun() -> None:
        await collection.database["work"].update_one({"kind": "label_initial_prompt"}, {"$inc": {"rev": 1}})

    async def answer() -> None:
        (seen,) = await collection.open_tasks(bob)
        await collection.submit_review(bob, seen.id, GOOD)

    with once(tasks, takes_a_place, before=outrun, after=answer):
        try:
            again = await collection.request_task(bob, "label_initial_prompt", ["en"])
        except NothingToDo:
            again = None
    stored = [each async for each in collection.database["tasks"].find({"user_id": bob.id})]
    assert sorted(each["state"] for each in stored) == ["done"]
    assert again is None
    assert (await collection.message(prompt)).review_count == 1
    await collection.request_task(cid, "label_initial_prompt", ["en"])


async def test_points_follow_a_deletion_before_they_are_noted(collection, person) -> None:
    """A moderator takes a message out after its author's points were added, and before the tree knows of them."""
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    mod = await person("mod", "moderator")
    prompt = await write_prompt(collection, ann)
    assert await review_all(collection, [bob], "label_initial_prompt") == 1
    task = await collection.request_task(cid, "label_initial_prompt", ["en"])
    with once(answers, ends_a_task, before=lambda: collection.delete_message(mod, prompt, "no")):
        await collection.submit_review(cid, task.id, GOOD)
    await sweep_once(collection.database, collection.config)
    scores = await collection.database["scores"].find_one({"_id": ann.id})
    assert scores["total"]["counts"].get("prompts", 0) == 0
    assert scores["total"]["counts"]["removed"] == 1


async def purged(collection: Any, admin: Any, message_id: str) -> None:
    moderators = Moderators(collection.database, collection.config)
    seen = await moderators.purge_preview(admin, None, [message_id])
    await moderators.purge(admin, None, [message_id], seen.token, "gone")


TEXT = "Because it turns, and so the wind does, and the sea below it too."


async def left_of(database: Any, tree_id: str, identity: str) -> dict[str, Any]:
    names = ("messages", "message_words", "text_bands", "work", "reviews", "tasks", "trees")
    found = {name: [each async for each in database[name].find()] for name in names}
    about = {name: [each for each in of if identity in str(each)] for name, of in found.items()}
    return {name: of for name, of in about.items() if of}


async def test_nothing_is_left_of_an_answer_to_a_tree_that_is_purged_meanwhile(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid")]
    admin = await person("adm", "admin")
    tree_id = await until_growing(collection, people)
    task = await collection.request_task(people[1], "assistant_reply", ["en"])
    meanwhile = once(credits, stores_a_message, before=lambda: purged(collection, admin, tree_id))
    with pytest.raises(TaskGone, match="removed"), meanwhile:
        await collection.submit_reply(people[1], task.id, TEXT)
    assert await left_of(collection.database, tree_id, tree_id) == {}
    assert await left_of(collection.database, tree_id, task.id) == {}


async def test_nothing_is_left_of_an_answer_to_a_message_that_is_purged_meanwhile(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid", "dan")]
    admin = await person("adm", "admin")
    tree_id = await until_growing(collection, people)
    reply = await collection.request_task(people[1], "assistant_reply", ["en"])
    await collection.submit_reply(people[1], reply.id, "It is so.")
    await review_all(collection, people, "label_assistant_reply")
    task = await collection.request_task(people[0], "prompter_reply", ["en"])
    assert task.target_id == reply.id
    meanwhile = once(credits, stores_a_message, before=lambda: purged(collection, admin, reply.id))
    with pytest.raises(TaskGone, match="removed"), meanwhile:
        await collection.submit_reply(people[0], task.id, TEXT)
    swept = await sweep_once(collection.database, collection.config)
    assert swept.failures == []
    assert await left_of(collection.database, tree_id, task.id) == {}


async def test_nothing_is_left_of_an_answer_that_comes_amid_a_purge(collection, person, monkeypatch) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid")]
    admin = await person("adm", "admin")
    tree_id = await until_growing(collection, people)
    task = await collection.request_task(people[1], "assistant_reply", ["en"])
    begun, answered, purges, erase = asyncio.Event(), asyncio.Event(), [], purge.erase

    async def late(*arguments: Any) -> None:
        begun.set()
        await answered.wait()
        await erase(*arguments)

    async def begin() -> None:
        purges.append(asyncio.ensure_future(purged(collection, admin, tree_id)))
        await begun.wait()

    monkeypatch.setattr(purge, "erase", late)
    with once(credits, stores_a_message, before=begin):
        await collection.submit_reply(people[1], task.id, TEXT)
    answered.set()
    await purges[0]
    assert await left_of(collection.database, tree_id, tree_id) == {}
    assert await left_of(collection.database, tree_id, task.id) == {}


async def test_a_draft_saved_as_its_task_is_answered_goes_with_it(collection, person, monkeypatch) -> None:
    """As from another device, or by what saves drafts every few seconds."""
    ann, answered = await person("ann"), tasks.answered
    task = await collection.request_task(ann, "initial_prompt", ["en"])

    async def late(*arguments: Any) -> Any:
        await collection.save_draft(ann, task.id, "Half of a")
        return await answered(*arguments)

    monkeypatch.setattr(tasks, "answered", late)
    await collection.submit_prompt(ann, task.id, TEXT, "en")
    stored = await collection.get_task(ann, task.id)
    assert (stored.state, stored.draft) == ("done", None)


async def test_work_on_a_tree_that_is_gone_is_closed_by_who_comes_upon_it(collection, person) -> None:
    ann, bob = await person("ann"), await person("bob")
    prompt = await write_prompt(collection, ann)
    for name in ("trees", "messages"):
        await collection.database[name].delete_one({"_id": prompt})
    with pytest.raises(NothingToDo):
        await collection.request_task(bob, "label_initial_prompt", ["en"])
    assert await collection.database["work"].count_documents({"tree_id": prompt}) == 0


@pytest.mark.parametrize("leaving", [False, True])
async def test_nothing_is_left_of_an_edit_of_what_goes_meanwhile(collection, person, leaving: bool) -> None:
    """It is purged, or its author leaves from another device and takes it along."""
    ann, admin = await person("ann"), await person("adm", "admin")
    database = collection.database
    prompt = await write_prompt(collection, ann, TEXT)

    async def goes() -> None:
        if leaving:
            departure = await departures.depart(database, ann, True)
            await departures.carry_out(database, collection.config, None, departure)
        else:
            await purged(collection, admin, prompt)

    meanwhile = once(message_words, lambda write: write.collection == "message_words", before=goes)
    with pytest.raises((Conflict, NotFound)), meanwhile:
        await own_messages.edit(database, collection.config, ann, prompt, f"{TEXT} Or not?")
    await database["text_changes"].update_many({}, {"$set": {"due": 1}})
    assert (await sweep_once(database, collection.config)).failures == []
    for name in ("message_words", "text_bands", "text_checks", "revisions", "text_changes"):
        assert [each async for each in database[name].find()] == [], name


async def test_points_noted_amid_a_purge_name_nobody_after_it(collection, person, monkeypatch) -> None:
    """Who settles the tree at that moment has read that the message is out, and not yet that it is gone."""
    people = [await person(name) for name in ("ann", "bob", "cid")]
    admin, erase = await person("adm", "admin"), purge.erase
    tree_id = await until_growing(collection, people)
    task = await collection.request_task(people[1], "assistant_reply", ["en"])
    await collection.submit_reply(people[1], task.id, TEXT)

    async def noted(database: Any, *arguments: Any) -> None:
        before = await database["tree_credits"].find_one({"_id": tree_id})
        assert f"removed|{task.id}" in str(before)
        await erase(database, *arguments)
        await database["tree_credits"].update_one({"_id": tree_id}, {"$set": {"taken": before["taken"]}})

    monkeypatch.setattr(purge, "erase", noted)
    await purged(collection, admin, task.id)
    assert task.id not in str(await collection.database["tree_credits"].find_one({"_id": tree_id}))
