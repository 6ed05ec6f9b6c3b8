"""Leaving: what stays, what goes, what was learned from it, and that a crash anywhere heals; and all of one's data."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import urllib.request
from datetime import timedelta

import pytest
from core_people import review_all, until_growing, until_ranking, write_prompt
from faults import Crashed, crash_after

from core import own_data
from core.chat_records import ChatSettings
from core.chats import Chats
from core.departures import depart
from core.errands import run_once
from core.errors import Forbidden, NothingToDo
from core.model_records import ModelVersion, marked_models
from core.people import People
from core.propagation import mark_snapshots, marked_snapshots
from core.records import now
from core.snapshots import freeze
from core.sweeper import sweep_once


@pytest.fixture
def people(collection, store) -> People:
    return People(collection.database, collection.config, store)


async def rank_all(collection, users) -> None:
    for user in users:
        for _ in range(20):
            try:
                task = await collection.request_task(user, "rank_assistant_replies", ["en"])
            except NothingToDo:
                break
            await collection.submit_ranking(user, task.id, sorted(task.served))


async def finished(collection, users) -> str:
    tree_id = await until_ranking(collection, users[:4])
    await rank_all(collection, users)
    assert (await collection.tree(tree_id)).state == "ready_for_export"
    return tree_id


async def picture(collection, tree_id: str) -> dict[str, tuple[object, ...]]:
    messages = await collection.messages_of(tree_id)
    return {each.id: (each.text, each.state, each.rank, each.emojis) for each in messages}


async def traces(database, *words: str) -> dict[str, int]:
    """Collection -> documents in which one of the words stands."""
    found = {}
    for name in await database.list_collection_names():
        count = len([1 async for each in database[name].find() if any(word in str(each) for word in words)])
        if count:
            found[name] = count
    return found


async def test_who_leaves_leaves_no_trace_and_what_they_gave_stays(collection, people, accounts, person, store) -> None:
    users = [await person(name) for name in ("annabel", "bob", "cid", "dan", "eve", "fay")]
    database, ann = collection.database, users[0]
    tree_id = await finished(collection, users)
    await collection.react(ann, tree_id, "clap")
    await collection.report(ann, (await collection.messages_of(tree_id))[-1].id, "rude")
    await Chats(database).create(ann.id, ChatSettings(title="private"))
    second = await write_prompt(collection, users[1], "Another prompt?")
    skipped = await collection.request_task(ann, "label_initial_prompt", ["en"])
    await collection.skip_task(ann, skipped.id, "not for me")
    third = await write_prompt(collection, users[2], "A third prompt?")
    task = await collection.request_task(ann, "label_initial_prompt", ["en"])
    await collection.save_draft(ann, task.id, "a private draft")
    before = await picture(collection, tree_id)
    mine = [each.id for each in await collection.messages_of(tree_id) if each.author_id == ann.id]
    assert mine

    await people.depart(ann, withdraw=False)
    with pytest.raises(Forbidden):
        await accounts.ensure_user("deleted", ann.id, "Somebody")
    await people.depart(ann, withdraw=True)  # the first word counts
    assert await run_once(database, collection.config, store) == 1
    assert await run_once(database, collection.config, store) == 0

    assert set(await traces(database, ann.id, "a private draft", "title': 'private")) == {
        "users", "departures", "events"
    }  # fmt: skip
    (reported,) = [
        each async for each in database["moderation_items"].find({"_id": {"$gte": "m"}}) if "|report" in each["_id"]
    ]
    assert [each["reason"] for each in reported["evidence"]] == ["rude"], "what was said stays, nobody's"
    kept = [each["kind"] async for each in database["events"].find() if ann.id in str(each)]
    assert kept == ["account_deleted"]
    assert await picture(collection, tree_id) == before
    assert {(await collection.message(each)).author_id for each in mine} == {None}
    (waiting,) = [each async for each in database["work"].find({"tree_id": second})]
    assert len(waiting["excluded"]) == 2, "its author, and somebody who skipped it"
    (work,) = [each async for each in database["work"].find({"tree_id": third})]
    assert (work["free"], work["holds"]) == (2, {}), "the place of the open task is free again"
    assert (await accounts.ensure_user("test", "annabel", "annabel")).id != ann.id


async def test_who_takes_everything_along_leaves_no_text(collection, people, person, store) -> None:
    users = [await person(name) for name in ("ann", "bob", "cid", "dan", "eve", "fay")]
    tree_id = await finished(collection, users)
    replies = [each for each in await collection.messages_of(tree_id) if each.depth == 1]
    author = next(user for user in users if user.id == replies[0].author_id)
    texts = [each.text for each in await collection.messages_of(tree_id) if each.author_id == author.id]
    other = next(each for each in await collection.messages_of(tree_id) if each.author_id != author.id)
    await collection.report(author, other.id, "words of one's own")
    texts.append("words of one's own")
    await people.depart(author, withdraw=True)
    await run_once(collection.database, collection.config, store)
    gone = await collection.message(replies[0].id)
    assert (gone.text, gone.deleted, gone.removed, gone.author_id) == ("", True, "account", None)
    assert await traces(collection.database, *texts) == {}
    left = [each for each in await collection.messages_of(tree_id) if each.parent_id == tree_id and each.usable]
    assert sorted(each.rank for each in left) == list(range(len(left)))
    boards = [each["_id"] async for each in collection.database["scores"].find()]
    assert author.id not in boards


@pytest.mark.parametrize("withdraw", [False, True])
async def test_crashes_again_and_again_end_where_none_would(collection, people, person, store, withdraw) -> None:
    users = [await person(name) for name in ("ann", "bob", "cid", "dan")]
    tree_id = await until_growing(collection, users[:3])
    task = await collection.request_task(users[0], "assistant_reply", ["en"])
    await collection.submit_reply(users[0], task.id, "An answer of my own")
    await review_all(collection, users[1:], "label_assistant_reply")
    await collection.react(users[0], tree_id, "100")
    departure = await depart(collection.database, users[0], withdraw)
    crashes = 0
    while True:
        try:
            with crash_after(9):
                await run_once(collection.database, collection.config, store)
            break
        except Crashed:
            crashes += 1
            assert crashes < 100, "each run must get further"
            await collection.database["departures"].update_one({"_id": departure.id}, {"$set": {"open": 0}})
    assert crashes > 0
    await sweep_once(collection.database, collection.config)  # a tree whose settling a crash prevented is dirty
    assert set(await traces(collection.database, users[0].id)) == {"users", "departures", "events"}
    tree = await collection.settle(tree_id)
    expected = "halted_by_moderator" if withdraw else "growing"
    assert tree.state == expected, "its prompt went along" if withdraw else "it stays"
    assert (await collection.message(tree_id)).emojis == {"100": 1}


# What was learned from it.


async def test_snapshots_and_models_that_learned_from_it_are_marked(collection, people, person, store) -> None:
    users = [await person(name) for name in ("ann", "bob", "cid", "dan", "eve", "fay")]
    await finished(collection, users)
    manifest = await freeze(collection.database, store, kind="sft", name="threads")
    label = f"threads@{manifest['version']}"
    assert await marked_snapshots(collection.database) == {}
    await people.depart(users[0], withdraw=False)
    await run_once(collection.database, collection.config, store)
    first = await marked_snapshots(collection.database)
    assert first[label] > 0
    await people.depart(users[1], withdraw=False)
    await run_once(collection.database, collection.config, store)
    assert (await marked_snapshots(collection.database))[label] > first[label]
    assert await people.gone_from([label, "other@1"]) == await marked_snapshots(collection.database)
    assert await mark_snapshots(collection.database, store, {"no tree": ["nothing"]}, "key") == []


def model(label: str, base: str = "", *datasets: str) -> ModelVersion:
    name, version = label.split("@")
    used = [dict(zip(("name", "version"), each.split("@"), strict=True)) for each in datasets]
    return ModelVersion({"name": name, "version": version, "base": base, "datasets": used}, False)


def test_a_model_holds_what_its_snapshots_and_its_base_hold() -> None:
    models = [
        model("c@1", "b@1"), model("b@1", "a@1", "fine@1"), model("a@1", "hub/model", "bad@1"), model("d@1", "x@1"),
        model("e@1", "hub/model", "bad@2"),
    ]  # fmt: skip
    assert marked_models(models, {"bad@1": 2, "fine@2": 3}) == {"a@1": 2, "b@1": 2, "c@1": 2}
    assert marked_models(models, {"bad@1": 2, "fine@1": 3}) == {"a@1": 2, "b@1": 5, "c@1": 5}
    assert marked_models(models, {}) == {}
    assert marked_models([model("a@1", "b@1"), model("b@1", "a@1", "bad@1")], {"bad@1": 1}) == {"a@1": 1, "b@1": 1}


# All of one's data.


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        return answer.read()


async def test_all_of_ones_data_is_in_the_export(collection, people, person, store) -> None:
    ann, bob = await person("ann"), await person("bob")
    tree_id = await write_prompt(collection, ann, "Why is the sky bleu?")
    await people.edit(ann, tree_id, "Why is the sky blue?")
    other = await write_prompt(collection, bob, "Not ann's prompt")
    await collection.report(ann, other, "rude")
    await Chats(collection.database).create(ann.id, ChatSettings(title="My chat"))
    assert await people.export_of(ann) is None
    asked = await people.request_export(ann)
    assert (asked.state, await people.request_export(ann)) == ("waiting", asked)
    assert await run_once(collection.database, collection.config, store) == 1
    ready, url = await people.export_of(ann)
    data = json.loads(gzip.decompress(await asyncio.to_thread(fetched, url)))
    assert data["account"][0]["display_name"] == "ann"
    (message,) = data["messages"]
    assert (message["text"], [each["text"] for each in message["revisions"]]) == (
        "Why is the sky blue?", ["Why is the sky bleu?", "Why is the sky blue?"],
    )  # fmt: skip
    times = re.findall(r'"(\d{4}-\d\d-\d\d[T ]\d\d:[^"]*)"', json.dumps(data))
    assert len(times) > 10
    assert [each for each in times if not re.fullmatch(r"[\d-]+T[\d:.]+\+00:00", each)] == [], "all with their zone"
    assert [each["reason"] for each in data["reports"]] == ["rude"]
    assert [each["title"] for each in data["chats"]] == ["My chat"]
    assert {"edit_message"} <= {each["kind"] for each in data["acts"]}
    assert "Not ann's prompt" not in json.dumps(data)
    assert set(data) == {"format", "made_at", *own_data.mine(ann.id)}
    assert (await people.request_export(ann)).number == 1, "one an hour"

    overdue = {"due": 0, "expires_at": now() - timedelta(days=1)}
    await collection.database["data_exports"].update_one({"_id": ann.id}, {"$set": overdue})
    assert await run_once(collection.database, collection.config, store) == 1
    assert await people.export_of(ann) is None
    assert list(store.list("people/")) == []
    assert ready.size > 0
