"""A text is changed, or taken back, and the process ends anywhere on the way: all that follows comes all the same."""

from __future__ import annotations

import pytest
from core_people import SMALL, write_prompt
from faults import Crashed, copy, crash_after

from core import text_changes
from core.collection import Collection
from core.corrections import correct
from core.departures import carry_out, depart
from core.errors import Conflict
from core.own_messages import edit, withdraw
from core.sweeper import sweep_once

BEFORE = "Call me at 555 0100: why is the sky blue in the morning?"
AFTER = "Why is the sky blue in the morning, and red in the evening?"
ACTS = ("edit_message", "correct_message", "withdraw_message")


async def stored(collection: Collection, message_id: str) -> dict:
    """All that hangs on the text of a message, but for times."""
    database = collection.database
    message = await collection.message(message_id)
    words = await database["message_words"].find_one({"_id": message_id})
    bands = await database["text_bands"].find_one({"_id": message_id})
    check = await database["text_checks"].find_one({"_id": message_id})
    texts = [(each["number"], each["text"]) async for each in database["revisions"].find()]
    return {
        "text": (message.text, message.removed, message.revision),
        "words": (words["text"], bool(words.get("unsure"))),
        "sketch": bands["sketch"],
        "pii": check and check["pii"],
        "revisions": sorted(texts),
        "acts": await acts(database),
        "open": await database["tasks"].count_documents({"state": "open"}),
        "dirty": (await collection.tree(message.tree_id)).dirty,
    }


async def acts(database) -> list[tuple]:
    found = [each async for each in database["events"].find() if each["kind"] in ACTS]
    return sorted((each["kind"], each["by"], tuple(sorted(each["details"].items()))) for each in found)


def steps(ann, mod):
    return {
        "edited": lambda at, message_id: edit(at.database, SMALL, ann, message_id, AFTER),
        "corrected": lambda at, message_id: correct(at.database, SMALL, mod, message_id, AFTER, "a telephone number"),
        "taken back": lambda at, message_id: withdraw(at.database, SMALL, ann, message_id),
    }


@pytest.fixture
def overdue(monkeypatch) -> None:
    """What has begun is taken for dead at once."""
    monkeypatch.setattr(text_changes, "TAKEN", -1)


@pytest.mark.parametrize("what", ["edited", "corrected", "taken back"])
@pytest.mark.usefixtures("overdue")
async def test_a_crash_at_any_write_leaves_all_or_nothing(collection, person, what) -> None:
    ann, bob, mod = await person("ann"), await person("bob"), await person("mod", "moderator")
    message_id = await write_prompt(collection, ann, BEFORE)
    await collection.request_task(bob, "label_initial_prompt", ["en"])
    step = steps(ann, mod)[what]
    before = await stored(collection, message_id)
    whole = await copy(collection, "whole")
    with crash_after(None) as writes:
        await step(whole, message_id)
        total = writes.asked
    after = await stored(whole, message_id)
    assert len(after["acts"]) == 1
    assert await whole.database["text_changes"].count_documents({}) == 0
    for limit in range(total):
        branch = await copy(collection, f"crash{limit}")
        with crash_after(limit), pytest.raises(Crashed):
            await step(branch, message_id)
        done = (await stored(branch, message_id))["text"] == after["text"]
        await sweep_once(branch.database, collection.config)
        found = await stored(branch, message_id)
        if done:
            assert found == after, f"after {limit} of {total} writes"
        else:
            # That the text before is among the revisions, and that tasks on it have ended already, does no harm.
            spared = {"revisions", "open"}
            assert {name: found[name] for name in found.keys() - spared} == {
                name: before[name] for name in before.keys() - spared
            }, f"after {limit} of {total} writes"
        assert await branch.database["text_changes"].count_documents({}) == 0
        await step(branch, message_id)  # whoever was cut off asks again
        assert await stored(branch, message_id) == after, f"again after {limit} of {total} writes"
        await branch.database.client.drop_database(branch.database.name)


async def crashed_after_the_change(collection, change, message_id: str) -> None:
    """Run `change` until the write by which the message has its new text, and end there."""
    revision = (await collection.message(message_id)).revision
    for limit in range(100):
        with crash_after(limit), pytest.raises(Crashed):
            await change()
        if (await collection.message(message_id)).revision > revision:
            return


async def test_who_comes_next_finishes_what_another_left(collection, person) -> None:
    database = collection.database
    ann, mod = await person("ann"), await person("mod", "moderator")
    message_id = await write_prompt(collection, ann, BEFORE)
    await crashed_after_the_change(
        collection, lambda: correct(database, SMALL, mod, message_id, AFTER, "a number"), message_id
    )
    assert await acts(database) == []
    assert (await sweep_once(database, SMALL)).texts == 0, "whoever has just begun is left alone"
    await edit(database, SMALL, ann, message_id, "Why is bread brown outside, and white within?")
    assert await acts(database) == [
        ("correct_message", mod.id, (("reason", "a number"), ("revision", 1))),
        ("edit_message", ann.id, (("revision", 2),)),
    ]
    texts = [each["text"] async for each in database["revisions"].find().sort("number")]
    assert texts == [BEFORE, AFTER, "Why is bread brown outside, and white within?"]


async def test_the_same_again_finishes_what_was_cut_off(collection, person) -> None:
    database = collection.database
    ann, mod = await person("ann"), await person("mod", "moderator")
    message_id = await write_prompt(collection, ann, BEFORE)

    def again():
        return correct(database, SMALL, mod, message_id, AFTER, "a number")

    await crashed_after_the_change(collection, again, message_id)
    await again()
    assert [kind for kind, *_ in await acts(database)] == ["correct_message"]
    assert await database["text_changes"].count_documents({}) == 0


@pytest.mark.usefixtures("overdue")
async def test_who_lost_against_another_leaves_no_act(collection, person, monkeypatch) -> None:
    database = collection.database
    ann, mod = await person("ann"), await person("mod", "moderator")
    message_id = await write_prompt(collection, ann, BEFORE)
    begin = text_changes.begin

    async def outrun(*args):
        monkeypatch.setattr(text_changes, "begin", begin)
        key = await begin(*args)
        await edit(database, SMALL, ann, message_id, AFTER)
        return key

    monkeypatch.setattr(text_changes, "begin", outrun)
    with pytest.raises(Conflict, match="edited elsewhere"):
        await correct(database, SMALL, mod, message_id, "Why is the sky blue?", "shorter")
    await sweep_once(database, SMALL)
    assert [(kind, by) for kind, by, _ in await acts(database)] == [("edit_message", ann.id)]
    assert (await collection.message(message_id)).text == AFTER


async def test_who_leaves_is_not_named_by_an_edit_that_a_crash_left(collection, person) -> None:
    database = collection.database
    ann = await person("ann")
    message_id = await write_prompt(collection, ann, BEFORE)
    await crashed_after_the_change(collection, lambda: edit(database, SMALL, ann, message_id, AFTER), message_id)
    await carry_out(database, SMALL, None, await depart(database, ann, withdraw=False))
    assert await acts(database) == [("edit_message", None, (("revision", 1),))]
    assert (await collection.message(message_id)).edit is None
    assert await database["text_changes"].count_documents({}) == 0
