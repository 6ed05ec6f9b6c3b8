"""Purges: exactly what was previewed, with nothing of it left anywhere; what stays is right; a crash heals."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_people import review_all, until_growing, until_ranking, write_prompt
from faults import Crashed, crash_after
from hypothesis import given
from hypothesis import strategies as st

from core import purge
from core.errands import run_once
from core.errors import BadInput, Conflict, Forbidden, NotFound, NothingToDo, TaskGone
from core.journal import events_page
from core.moderators import Moderators
from core.opinions import Ranking
from core.propagation import marked_snapshots
from core.records import Message
from core.snapshots import freeze
from core.sweeper import sweep_once


@pytest.fixture
def moderators(collection, store) -> Moderators:
    return Moderators(collection.database, collection.config, store)


async def finished(collection, users) -> str:
    tree_id = await until_ranking(collection, users[:4])
    for user in users:
        for _ in range(20):
            try:
                task = await collection.request_task(user, "rank_assistant_replies", ["en"])
            except NothingToDo:
                break
            await collection.submit_ranking(user, task.id, sorted(task.served))
    assert (await collection.tree(tree_id)).state == "ready_for_export"
    return tree_id


async def left_of(database, identities: set[str]) -> dict[str, int]:
    """Collection -> documents in which one of the ids stands.

    But for the journal, the purges themselves, and the names of latest acts that a score has taken.
    """
    found = {}
    for name in set(await database.list_collection_names()) - {"events", "purges", "scores"}:
        documents = [each async for each in database[name].find()]
        if count := sum(any(identity in str(each) for identity in identities) for each in documents):
            found[name] = count
    return found


@given(st.permutations("abcd"), st.sets(st.sampled_from("abcd")))
def test_a_trimmed_ranking_keeps_the_order_of_what_stays(order, going) -> None:
    ranking = Ranking(id="k", tree_id="t", parent_id="p", ranking=tuple(order), served=tuple(sorted(order)))
    trimmed = purge.trimmed_ranking(ranking, going)
    kept = [each for each in order if each not in going]
    if len(kept) < 2:
        assert trimmed is None
    else:
        assert trimmed is not None
        assert list(trimmed.ranking) == kept
        assert set(trimmed.served) == set(kept)


async def test_a_reply_is_purged_and_the_others_keep_their_order(collection, moderators, person, store) -> None:
    users = [await person(name) for name in ("ann", "bob", "cid", "dan", "eve", "fay")]
    root, database = await person("root", "admin"), collection.database
    tree_id = await finished(collection, users)
    manifest = await freeze(database, store, kind="sft", name="threads")
    replies = [each for each in await collection.messages_of(tree_id) if each.depth == 1]
    target = replies[0]
    going = {each.id for each in await collection.messages_of(tree_id) if target.id in (each.id, *each.ancestors)}
    scores = {each["_id"]: each["total"]["counts"] async for each in database["scores"].find()}

    seen = await moderators.purge_preview(root, None, [target.id])
    assert (seen.trees, seen.messages) == (0, len(going))
    assert (seen.reviews_gone, seen.rankings_gone, seen.rankings_cut) == (2 * len(going), 0, 2)
    with pytest.raises(Conflict, match="changed since"):
        await moderators.purge(root, None, [target.id], "another token", "spam")
    with pytest.raises(BadInput):
        await moderators.purge(root, None, [target.id], seen.token, " ")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.purge.MOST", 0)
        with pytest.raises(BadInput, match="more than 0 messages would go at once"):
            await moderators.purge_preview(root, None, [target.id])
    await moderators.purge(root, None, [target.id], seen.token, "spam")

    assert await left_of(database, going) == {}
    tree = await collection.tree(tree_id)
    left = [each for each in await collection.messages_of(tree_id) if each.depth == 1]
    assert (tree.state, tree.dirty, len(left)) == ("ready_for_export", False, len(replies) - 1)
    assert [each.rank for each in left] in ([0], [None])
    assert f"threads@{manifest['version']}" in await marked_snapshots(database)
    after = {each["_id"]: each["total"]["counts"] async for each in database["scores"].find()}
    author = target.author_id
    assert after[author]["replies_assistant"] == scores[author]["replies_assistant"] - 1
    assert {name: counts.get("labels") for name, counts in after.items()} == {
        name: counts.get("labels") for name, counts in scores.items()
    }, "who reviewed it keeps the points"
    (act,), _ = await events_page(database, kind="purge")
    assert (act.by, act.details["reason"], act.details["messages"]) == (root.id, "spam", len(going))


async def test_a_user_is_purged_with_their_trees(collection, moderators, person) -> None:
    users = [await person(name) for name in ("ann", "bob", "cid", "dan", "eve", "fay")]
    root, database = await person("root", "admin"), collection.database
    tree_id = await finished(collection, users)
    await collection.report(users[1], tree_id, "spam")
    other = await write_prompt(collection, users[1], "Another prompt?")
    messages = await collection.messages_of(tree_id)
    seen = await moderators.purge_preview(root, users[0].id, [])
    assert (seen.trees, seen.messages) == (1, len(messages))
    assert seen.by_others == len([each for each in messages if each.author_id != users[0].id])
    await collection.react(users[2], other, "clap")
    assert (await moderators.purge_preview(root, users[0].id, [])).token == seen.token, "others' trees are no matter"
    await moderators.purge(root, users[0].id, [], seen.token, "a flood")
    assert await left_of(database, {each.id for each in messages}) == {}
    with pytest.raises(NotFound):
        await collection.tree(tree_id)
    assert (await collection.message(other)).emojis == {"clap": 1}
    with pytest.raises(BadInput, match="nothing that exists"):
        await moderators.purge_preview(root, users[0].id, [])
    for who in (users[1], await person("mod", "moderator")):
        with pytest.raises(Forbidden):
            await moderators.purge_preview(who, users[1].id, [])


async def test_a_purge_that_crashed_goes_on_in_the_background(collection, moderators, person) -> None:
    users = [await person(name) for name in ("ann", "bob", "cid", "dan", "eve", "fay")]
    root, database = await person("root", "admin"), collection.database
    tree_id = await finished(collection, users)
    messages = await collection.messages_of(tree_id)
    target = next(each for each in messages if each.depth == 1)
    going = {each.id for each in messages if target.id in (each.id, *each.ancestors)}
    seen = await moderators.purge_preview(root, None, [target.id])
    ordered = await purge.order(database, root, None, [target.id], seen.token, "spam")
    crashes = 0
    while True:
        await database["purges"].update_one({"_id": ordered.id, "state": "open"}, {"$set": {"open": 0}})
        try:
            with crash_after(7):
                await run_once(database, collection.config, None)
            break
        except Crashed:
            crashes += 1
            assert crashes < 100, "each run must get further"
    assert crashes > 0
    assert await left_of(database, going) == {}
    assert len(await collection.messages_of(tree_id)) == len(messages) - len(going)
    assert await run_once(database, collection.config, None) == 0


def test_what_goes_is_what_follows() -> None:
    base = Message(id="a", tree_id="a", parent_id=None, role="prompter", lang="en", text="x")
    messages = [base, replace(base, id="b", ancestors=("a",)), replace(base, id="c", ancestors=("a", "b"))]
    assert purge.going_with(messages, {"b"}) == {"b", "c"}
    assert purge.going_with(messages, {"a"}) == {"a", "b", "c"}
    assert purge.going_with(messages, {"z"}) == set()


async def test_a_reply_to_what_was_purged_is_told_so_and_not_tried_for_ever(collection, moderators, person) -> None:
    """A task that lost its place when its tree was halted is not found by the purge; its answer comes to nothing."""
    admin, mod = await person("root", "admin"), await person("mod", "moderator")
    people = [await person(name) for name in ("ann", "bob", "cid", "dan")]
    tree_id = await until_growing(collection, people)
    first = await collection.request_task(people[1], "assistant_reply", ["en"])
    await collection.submit_reply(people[1], first.id, "An answer to ask more about.")
    await review_all(collection, people, "label_assistant_reply")
    task = await collection.request_task(people[2], "prompter_reply", ["en"])
    await collection.halt_tree(mod, tree_id)
    await collection.halt_tree(mod, tree_id, False)
    seen = await moderators.purge_preview(admin, None, [first.result_id])
    await moderators.purge(admin, None, [first.result_id], seen.token, "asked for")
    with pytest.raises(TaskGone, match="has been removed"):
        await collection.submit_reply(people[2], task.id, "An answer to nothing.")
    swept = await sweep_once(collection.database, collection.config)
    assert (swept.applied, swept.failures) == (0, [])
