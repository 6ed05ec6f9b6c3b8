"""What goes by itself: words of tasks that have ended, such tasks after a while, and notes that services acted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from core_people import review_all, until_growing, write_prompt

from core import retention
from core.errors import Conflict, NothingToDo, TaskGone
from core.journal import record
from core.records import Task, now
from core.retention import Retention, sweep
from core.sweeper import sweep_once

LATER = timedelta(days=31)


async def stored(collection: Any, task: Task) -> Any:
    return await collection.database["tasks"].find_one({"_id": task.id})


async def test_a_task_that_is_done_keeps_no_words_and_answers_the_same_again(collection, person) -> None:
    ann = await person("ann")
    task = await collection.request_task(ann, "initial_prompt", ["en"])
    await collection.save_draft(ann, task.id, "Why is the")
    done = await collection.submit_prompt(ann, task.id, "Why is the sky blue?")
    kept = await stored(collection, task)
    assert (kept["state"], kept["draft"]) == ("done", None)
    assert "blue" not in str(kept)
    assert (await collection.message(task.id)).text == "Why is the sky blue?"
    assert await collection.submit_prompt(ann, task.id, " Why is the sky blue? ") == done
    with pytest.raises(Conflict):
        await collection.submit_prompt(ann, task.id, "Why is the sea blue?")


async def test_who_skips_leaves_no_draft_and_who_comes_late_finds_it(collection, person) -> None:
    ann = await person("ann")
    skipped, expired = [await collection.request_task(ann, "initial_prompt", ["en"]) for _ in range(2)]
    for task in (skipped, expired):
        await collection.save_draft(ann, task.id, "not yet")
    await collection.skip_task(ann, skipped.id, "no idea")
    await collection.database["tasks"].update_one({"_id": expired.id}, {"$set": {"deadline": "open|000000000000000"}})
    await sweep_once(collection.database, collection.config)
    assert [(await collection.get_task(ann, each.id)).draft for each in (skipped, expired)] == [None, "not yet"]
    assert (await collection.get_task(ann, expired.id)).state == "expired"


async def test_tasks_that_have_ended_go_and_what_they_did_stays(collection, person) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    await until_growing(collection, [ann, bob, cid])
    skipped = await collection.request_task(cid, "assistant_reply", ["en"])
    await collection.skip_task(cid, skipped.id)
    held = await collection.request_task(bob, "assistant_reply", ["en"])
    before = {
        name: await collection.database[name].count_documents({}) for name in ("messages", "reviews", "reactions")
    }
    tasks = collection.database["tasks"]
    assert await sweep(collection.database, Retention(), now()) == 0
    assert await sweep(collection.database, Retention(task_days=0), now() + LATER) == 0
    ended = await tasks.count_documents({"state": {"$in": list(retention.ENDED)}})
    assert await sweep(collection.database, Retention(), now() + LATER) == ended >= 4
    assert [each["_id"] async for each in tasks.find()] == [held.id]
    with pytest.raises(NothingToDo):
        await collection.request_task(cid, "assistant_reply", ["en"])
    with pytest.raises(TaskGone):
        await collection.skip_task(cid, skipped.id)
    await collection.submit_reply(bob, held.id, "Because of how light is scattered.")
    assert await review_all(collection, [ann, cid], "label_assistant_reply") == 2
    await sweep_once(collection.database, collection.config)
    after = {name: await collection.database[name].count_documents({}) for name in before}
    assert after == {**before, "messages": before["messages"] + 1, "reviews": before["reviews"] + 2}


async def test_what_services_did_in_somebodys_name_goes_and_decisions_stay(database) -> None:
    for kind in ("acted_for", "acted_for", "set_roles", "delete_message", "acted_forever"):
        await record(database, kind, "ada", {}, by="bot")
    assert await sweep(database, Retention(), now() + timedelta(days=179)) == 0
    assert await sweep(database, Retention(acting_days=0), now() + timedelta(days=999)) == 0
    assert await sweep(database, Retention(), now() + timedelta(days=181)) == 2
    left = sorted([each["kind"] async for each in database["events"].find()])
    assert left == ["acted_forever", "delete_message", "set_roles"]


async def test_a_sweep_deletes_a_batch_the_oldest_first(collection, person, monkeypatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    ann = await person("ann")
    ids = [await write_prompt(collection, ann, f"Question {number}?") for number in range(3)]
    later = now() + LATER
    assert await sweep(collection.database, Retention(), later) == 2
    assert [each["_id"] async for each in collection.database["tasks"].find()] == ids[2:]
    assert [await sweep(collection.database, Retention(), later) for _ in range(2)] == [1, 0]
