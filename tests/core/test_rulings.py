"""What moderators decide: deletion and restoration, verdicts, halting, bulk acts, and what follows for the tree."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest
from core_people import BAD, review_all, until_growing, until_ranking, write_prompt
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_histories import History, small

from core.advance import advance
from core.database import migrate
from core.errors import BadInput, Conflict, Forbidden, NotFound
from core.journal import events_page
from core.moderation_queue import claim, enqueue, queue_page
from core.moderators import Moderators
from core.people import People
from core.pools import DEFAULT
from core.records import Message, Tree
from core.rulings import judge_message
from core.scoring import FRAMES
from core.sweeper import sweep_once


@pytest.fixture
def moderators(collection) -> Moderators:
    return Moderators(collection.database, collection.config)


async def state_of(collection, tree_id: str):
    """Everything that follows from a tree's facts: state, messages, open work, scores."""
    tree = await collection.tree(tree_id)
    messages = {
        each.id: (each.state, each.deleted, each.removed, each.rank) for each in await collection.messages_of(tree_id)
    }
    work = {each["_id"]: each["free"] async for each in collection.database["work"].find({"tree_id": tree_id})}
    found = collection.database["scores"].find()
    scores = {
        (each["_id"], frame): {act: count for act, count in each[frame]["counts"].items() if count}
        async for each in found
        for frame in FRAMES
    }
    return tree.state, messages, work, scores


async def test_restoring_gives_back_what_deleting_took(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid", "dan")]
    mod = await person("mod", "moderator")
    tree_id = await until_ranking(collection, people)
    before = await state_of(collection, tree_id)
    replies = [each.id for each in await collection.messages_of(tree_id) if each.depth == 1]
    for target in (replies[0], tree_id):
        await collection.delete_message(mod, target, "a mistake")
        gone = await state_of(collection, tree_id)
        assert gone != before
        assert gone[3] != before[3], "its points are taken back"
        message = await collection.message(target)
        assert (message.removed, message.ruling["reason"]) == ("moderator", "a mistake")
        await collection.restore_message(mod, target, "put right")
        assert await state_of(collection, tree_id) == before
    below = [each for each in await collection.messages_of(tree_id) if each.depth == 2]
    await collection.delete_message(mod, replies[0])
    child = next(each for each in below if each.parent_id == replies[0])
    assert (await collection.message(child.id)).removed == "parent"
    await collection.restore_message(mod, child.id)
    assert await state_of(collection, tree_id) == before, "restoring a message restores those above it"


async def test_what_was_taken_out_by_itself_stays_out(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid", "dan")]
    mod = await person("mod", "moderator")
    tree_id = await until_ranking(collection, people)
    reply = next(each for each in await collection.messages_of(tree_id) if each.depth == 1)
    await collection.delete_message(mod, reply.id)
    await collection.delete_message(mod, tree_id)
    await collection.restore_message(mod, tree_id)
    assert (await collection.message(reply.id)).removed == "moderator"
    assert not (await collection.message(tree_id)).deleted


async def test_flags_that_a_moderator_dealt_with_count_no_more(collection, person) -> None:
    people = [await person(f"p{number}") for number in range(8)]
    mod = await person("mod", "moderator")
    tree_id = await until_growing(collection, people[:3])
    task = await collection.request_task(people[1], "assistant_reply", ["en"])
    reply = (await collection.submit_reply(people[1], task.id, "An answer")).result_id
    for user in people[2:6]:
        await collection.react(user, reply, "red_flag")
    assert (await collection.message(reply)).removed == "flags"
    reasons = {each.reason for each in (await queue_page(collection.database, mod, None, None, None, 10))[0]}
    assert {"red_flag", "auto_deleted"} <= reasons
    events, _ = await events_page(collection.database, subject=reply)
    assert "auto_deleted" in {each.kind for each in events}
    await collection.restore_message(mod, reply, "the flags are wrong")
    assert not (await collection.message(reply)).deleted
    await collection.react(people[6], reply, "red_flag")
    assert not (await collection.message(reply)).deleted, "one more flag is one flag"
    assert (await collection.tree(tree_id)).state == "growing"


async def test_a_moderator_accepts_what_reviewers_refused(collection, person) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    mod = await person("mod", "moderator")
    tree_id = await write_prompt(collection, ann)
    await review_all(collection, [bob, cid], "label_initial_prompt", BAD)
    assert (await collection.tree(tree_id)).state == "aborted_low_grade"
    with pytest.raises(Conflict):
        await collection.halt_tree(mod, tree_id)
    await judge_message(collection.database, collection.config, mod, tree_id, "accepted", "a good prompt")
    assert (await collection.message(tree_id)).state == "accepted"
    assert (await collection.tree(tree_id)).state == "prompt_lottery_waiting"
    assert await collection.database["scores"].find_one({"_id": ann.id}), "accepted work counts"
    await judge_message(collection.database, collection.config, mod, tree_id, "refused", "on second thought")
    assert (await collection.message(tree_id)).state == "refused"


async def test_a_halted_tree_goes_on_from_where_it_was(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid", "dan")]
    mod = await person("mod", "moderator")
    tree_id = await until_ranking(collection, people)
    before = await state_of(collection, tree_id)
    await collection.halt_tree(mod, tree_id, reason="wait")
    assert (await state_of(collection, tree_id))[2] == {}
    await collection.delete_message(mod, tree_id)
    with pytest.raises(Conflict, match="restore it"):
        await collection.halt_tree(mod, tree_id, False)
    await collection.restore_message(mod, tree_id)
    assert (await collection.tree(tree_id)).state == "halted_by_moderator", "who halted it lets it go on"
    await collection.halt_tree(mod, tree_id, False)
    assert await state_of(collection, tree_id) == before


# The queue.


async def test_the_queue_holds_each_thing_once_a_reason(collection, person) -> None:
    database, tree_id = collection.database, await write_prompt(collection, await person("ann"))
    mod = await person("mod", "moderator")
    made = await asyncio.gather(
        *(enqueue(database, f"message:{tree_id}", "scorer", 6, {"toxicity": number % 4}) for number in range(8))
    )
    assert len({each.id for each in made}) == 1
    (item,), more = await queue_page(database, mod, None, "scorer", None, 10)
    assert (item.count, len(item.evidence), item.lang, more) == (4, 4, "en", False)
    await database["trees"].insert_one(Tree(id="poem", lang="en", state="growing", collection="poems").to_document())
    poem = await enqueue(database, "tree:poem", "auto_halted", 6, {})
    await database["moderation_items"].update_one({"_id": poem.id}, {"$unset": {"collection": ""}})
    await database["migrations"].delete_many({})
    await migrate(database)
    for name, there in (("poems", poem.id), (DEFAULT, item.id)):
        found, _ = await queue_page(database, mod, None, None, None, 10, name)
        assert [each.id for each in found] == [there]
    urgent = await enqueue(database, f"message:{tree_id}", "scorer", 2, {"toxicity": 0.99})
    assert (urgent.priority, urgent.count) == (2, 5)
    for wrong in (("thing:x", "scorer", 1), (f"message:{tree_id}", "whim", 1), (f"message:{tree_id}", "scorer", 10)):
        with pytest.raises(BadInput):
            await enqueue(database, *wrong, {})
    with pytest.raises(NotFound):
        await enqueue(database, "message:nowhere", "scorer", 5, {})


async def test_the_queue_is_read_by_priority_language_and_reason(collection, person) -> None:
    database = collection.database
    for number in range(6):
        lang = ("en", "de", "pt-BR")[number % 3]
        message = Message(id=f"m{number}", tree_id=f"m{number}", parent_id=None, role="prompter", lang=lang, text="x")
        await database["messages"].insert_one(message.to_document())
        await enqueue(database, f"message:m{number}", ("report", "scorer")[number % 2], 5 - number % 3, {})
    await enqueue(database, "user:u", "flood", 1, {})
    everything, german = await person("all", "moderator"), await person("german", "moderator")
    await database["users"].update_one({"_id": german.id}, {"$set": {"moderates": ["de", "pt-BR"]}})
    german = await person("german")

    async def read(user, lang=None, reason=None) -> list[str]:
        seen, after = [], None
        while True:
            items, more = await queue_page(database, user, lang, reason, after, 2)
            seen += [item.subject_id for item in items]
            if not more:
                return seen
            after = items[-1].place

    assert await read(everything) == ["u", "m2", "m5", "m1", "m4", "m0", "m3"]
    assert await read(german) == ["m2", "m5", "m1", "m4"]
    assert await read(german, "de") == ["m1", "m4"]
    assert await read(everything, reason="report") == ["m2", "m4", "m0"]
    assert await read(german, "de", "report") == ["m4"]
    for lang in ("en", "pt"):
        with pytest.raises(Forbidden):
            await read(german, lang)
    with pytest.raises(Forbidden):
        await read(await person("ann"))
    for refused in (collection.delete_message(german, "m0"), claim(database, german, "message:m0|report", True)):
        with pytest.raises(Forbidden, match="you moderate de, pt-BR"):
            await refused


async def test_two_moderators_do_not_do_the_same(collection, moderators, person) -> None:
    one, two = await person("one", "moderator"), await person("two", "moderator")
    tree_id = await write_prompt(collection, await person("ann"))
    await collection.report(await person("bob"), tree_id, "rude")
    identity = f"message:{tree_id}|report"
    held = await moderators.claim_all(one, [identity, "nothing"], True)
    assert held[identity][0].claimed_by == one.id
    assert held["nothing"][1].code == "NOT_FOUND"
    (_, refused) = (await moderators.claim_all(two, [identity], True))[identity]
    assert refused.code == "CONFLICT"
    (outcome,) = await moderators.moderate(two, [f"item:{identity}"], "delete", "rude")
    assert outcome.error.code == "CONFLICT"
    assert not (await collection.message(tree_id)).deleted
    await moderators.claim_all(one, [identity], False)
    (outcome,) = await moderators.moderate(two, [f"item:{identity}"], "delete", "rude")
    assert outcome.error is None
    item = await moderators.item(identity)
    assert (item.state, item.decision["act"], item.decision["by"]) == ("done", "delete", two.id)
    assert [each["processed"] async for each in collection.database["reports"].find()] == [True]
    assert [each.reason for each in (await queue_page(collection.database, one, None, None, None, 5))[0]] == []
    await collection.report(await person("cid"), tree_id, "rude again")
    assert (await moderators.item(identity)).state == "open", "new evidence opens it again"


async def test_a_bulk_act_tells_of_each(collection, moderators, person) -> None:
    mod, ann = await person("mod", "moderator"), await person("ann")
    trees = [await write_prompt(collection, ann, f"Prompt {number}?") for number in range(3)]
    targets = [f"message:{tree_id}" for tree_id in trees]
    outcomes = await moderators.moderate(mod, [*targets, "message:nowhere", "user:u"], "delete", "spam")
    assert [outcome.error and outcome.error.code for outcome in outcomes] == [
        None,
        None,
        None,
        "NOT_FOUND",
        "NOT_FOUND",
    ]
    assert all([(await collection.message(tree_id)).deleted for tree_id in trees])
    again = await moderators.moderate(mod, targets, "restore", "no spam")
    assert [outcome.error for outcome in again] == [None, None, None]
    assert not any([(await collection.message(tree_id)).deleted for tree_id in trees])
    await collection.report(await person("bob"), trees[0], "rude")
    (dismissed,) = await moderators.moderate(mod, [targets[0]], "dismiss", "it is not")
    assert dismissed.error is None
    events, _ = await events_page(collection.database, subject=trees[0])
    assert {"delete_message", "restore_message", "dismiss"} <= {each.kind for each in events}
    for act, many in (("erase", targets), ("delete", []), ("delete", [f"tree:{n}" for n in range(101)])):
        with pytest.raises(BadInput):
            await moderators.moderate(mod, many, act, "")
    with pytest.raises(Forbidden):
        await moderators.moderate(ann, targets, "delete", "")


async def test_the_journal_is_read_by_subject_actor_and_kind(collection, person) -> None:
    mod, ann = await person("mod", "moderator"), await person("ann")
    trees = [await write_prompt(collection, ann, f"Prompt {number}?") for number in range(3)]
    for tree_id in trees:
        await collection.delete_message(mod, tree_id, "spam")
        await collection.delete_message(mod, tree_id, "spam")

    async def read(**filters) -> list[tuple[str, str]]:
        seen, before = [], None
        while True:
            found, more = await events_page(collection.database, before=before, first=2, **filters)
            seen += [(each.kind, each.subject) for each in found]
            if not more:
                return seen
            before = found[-1].by_time

    acts = [("delete_message", tree_id) for tree_id in reversed(trees)]
    assert await read(actor=mod.id) == acts, "twice is as once"
    assert await read(kind="delete_message") == acts
    assert await read(subject=trees[0], kind="delete_message") == acts[-1:]
    assert set(acts) < set(await read())
    await sweep_once(collection.database, collection.config)
    assert await read(kind="delete_message") == acts


async def test_all_of_a_person_is_taken_out_and_put_back(collection, moderators, person) -> None:
    ann, bob, mod = await person("ann"), await person("bob"), await person("mod", "moderator")
    mine = [await write_prompt(collection, ann, f"Prompt {number}?") for number in range(3)]
    other = await write_prompt(collection, bob, "Another?")
    await collection.delete_message(mod, mine[0], "by itself")
    await People(collection.database, collection.config).withdraw(ann, mine[1])
    (outcome,) = await moderators.moderate(mod, [f"user:{ann.id}"], "delete", "a flood")
    assert outcome.error is None
    assert [(await collection.message(each)).removed for each in (*mine, other)] == [
        "moderator", "author", "moderator", None
    ]  # fmt: skip
    (outcome,) = await moderators.moderate(mod, [f"user:{ann.id}"], "restore", "no flood")
    assert outcome.error is None
    assert [(await collection.message(each)).removed for each in mine] == [None, "author", None]
    (outcome,) = await moderators.moderate(mod, [f"user:{ann.id}"], "halt", "")
    assert outcome.error.code == "BAD_INPUT"


# Rules.


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sets(st.integers(0, 30), max_size=4))
def test_what_is_put_back_is_as_if_it_had_never_been_out(seed, places) -> None:
    chance = random.Random(seed)
    history = History(small(chance), chance)
    for _ in range(25):
        history.step()
    before, state = history.messages, history.tree.state
    out = {before[place % len(before)].id for place in places} - {history.tree.id}

    def given_back(messages, tree):
        advanced = advance(
            tree, messages, history.reviews, history.rankings, history.config, history.reactions, history.voices
        )
        return advanced.messages

    away = [replace(each, deleted=True, removed="moderator") if each.id in out else each for each in before]
    gone = given_back(away, history.tree)
    for each in gone:
        assert each.deleted or not {*each.ancestors, each.id} & out, "what follows goes along"
    own = {each.id: each for each in before}
    back = [
        replace(each, deleted=own[each.id].deleted, removed=own[each.id].removed) if each.id in out else each
        for each in gone
    ]
    again = given_back(back, replace(history.tree, state=state))
    assert [(each.id, each.deleted, each.removed, each.state) for each in again] == [
        (each.id, each.deleted, each.removed, each.state) for each in before
    ]
