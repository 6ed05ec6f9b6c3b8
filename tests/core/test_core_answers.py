"""Submissions: what is refused and why, and that the same one twice counts once."""

from __future__ import annotations

import asyncio

import pytest
from core_people import BAD, GOOD, review_all, until_growing, until_ranking, write_prompt

from core.errors import BadInput, Conflict, NothingToDo, TaskGone
from core.surroundings import look_around
from core.sweeper import sweep_once


async def test_a_prompt_is_checked_at_the_door(collection, person) -> None:
    ann = await person("ann")
    task = await collection.request_task(ann, "initial_prompt", ["en"])
    for text, code in (("", "TEXT_EMPTY"), (" \u200b ", "TEXT_EMPTY"), ("x" * 2001, "TEXT_TOO_LONG")):
        with pytest.raises(BadInput) as error:
            await collection.submit_prompt(ann, task.id, text, "en")
        assert error.value.code == code
    with pytest.raises(BadInput, match="'de'"):
        await collection.submit_prompt(ann, task.id, "Hallo", "de")
    with pytest.raises(BadInput, match="initial_prompt"):
        await collection.submit_review(ann, task.id, GOOD)
    assert await collection.database["messages"].count_documents({}) == 0
    done = await collection.submit_prompt(ann, task.id, "  Hello?\n", "en")
    assert (done.state, (await collection.message(done.result_id)).text) == ("done", "Hello?")


async def test_the_same_submission_twice_counts_once(collection, person) -> None:
    ann, bob = await person("ann"), await person("bob")
    task = await collection.request_task(ann, "initial_prompt", ["en"])
    first = await collection.submit_prompt(ann, task.id, "Hello?", "en")
    again = await collection.submit_prompt(ann, task.id, " Hello? ", "en")
    assert first == again
    assert await collection.database["messages"].count_documents({}) == 1
    with pytest.raises(Conflict):
        await collection.submit_prompt(ann, task.id, "Something else?", "en")
    review = await collection.request_task(bob, "label_initial_prompt", ["en"])
    answers = await asyncio.gather(*(collection.submit_review(bob, review.id, GOOD) for _ in range(8)))
    assert {answer.state for answer in answers} <= {"done", "answered"}
    await sweep_once(collection.database, collection.config)
    assert (await collection.message(task.id)).review_count == 1
    assert await collection.database["scores"].find_one({"_id": bob.id}) is None, "not decided yet"
    await review_all(collection, [await person("cid")], "label_initial_prompt")
    score = await collection.database["scores"].find_one({"_id": bob.id})
    assert score["total"]["counts"] == {"labels": 1}
    with pytest.raises(Conflict):
        await collection.submit_review(bob, review.id, BAD)


async def test_two_different_submissions_at_once_leave_one(collection, person) -> None:
    ann = await person("ann")
    task = await collection.request_task(ann, "initial_prompt", ["en"])
    texts = [f"Question {number}?" for number in range(6)]
    results = await asyncio.gather(
        *(collection.submit_prompt(ann, task.id, text, "en") for text in texts), return_exceptions=True
    )
    assert sum(isinstance(result, Conflict) for result in results) == 5
    (winner,) = [text for text, result in zip(texts, results, strict=True) if not isinstance(result, Exception)]
    assert (await collection.message(task.id)).text == winner


async def test_tasks_belong_to_one_person(collection, person) -> None:
    ann, bob = await person("ann"), await person("bob")
    task = await collection.request_task(ann, "initial_prompt", ["en"])
    for attempt in (
        collection.get_task(bob, task.id),
        collection.submit_prompt(bob, task.id, "Mine!", "en"),
        collection.skip_task(bob, task.id),
        collection.save_draft(bob, task.id, "Mine!"),
        collection.get_task(bob, "no-such-task"),
    ):
        with pytest.raises(TaskGone):
            await attempt
    assert [each.id for each in await collection.open_tasks(ann)] == [task.id]
    assert await collection.open_tasks(bob) == []


async def test_a_draft_waits_on_every_device(collection, person) -> None:
    ann = await person("ann")
    task = await collection.request_task(ann, "initial_prompt", ["en"])
    assert (await collection.save_draft(ann, task.id, "Why is")).draft == "Why is"
    assert (await collection.open_tasks(ann))[0].draft == "Why is"
    await collection.submit_prompt(ann, task.id, "Why is it so?", "en")
    with pytest.raises(TaskGone):
        await collection.save_draft(ann, task.id, "too late")


async def test_a_skipped_task_is_gone_and_not_offered_again(collection, person) -> None:
    ann, bob = await person("ann"), await person("bob")
    tree_id = await write_prompt(collection, ann)
    task = await collection.request_task(bob, "label_initial_prompt", ["en"])
    skipped = await collection.skip_task(bob, task.id, "r" * 600)
    assert (skipped.state, len(skipped.skip_reason)) == ("skipped", 512)
    assert (await collection.skip_task(bob, task.id)).state == "skipped"
    with pytest.raises(TaskGone, match="skipped"):
        await collection.submit_review(bob, task.id, GOOD)
    with pytest.raises(NothingToDo):
        await collection.request_task(bob, "label_initial_prompt", ["en"])
    assert (await collection.message(tree_id)).emojis == {"_skip_labeling": 1}
    work = await collection.database["work"].find_one({"tree_id": tree_id})
    assert (work["free"], work["holds"]) == (2, {})
    done = await collection.request_task(await person("cid"), "label_initial_prompt", ["en"])
    await collection.submit_review(await person("cid"), done.id, GOOD)
    with pytest.raises(TaskGone):
        await collection.skip_task(await person("cid"), done.id)


async def test_of_a_text_that_many_send_only_ones_own_is_looked_at(collection, person) -> None:
    ann, bob = await person("ann"), await person("bob")
    mine, theirs = await write_prompt(collection, ann, "Many ask?"), await write_prompt(collection, bob, "Many ask?")
    found = [await look_around(collection.database, "Many ask?", author_id=each.id) for each in (ann, bob)]
    assert [[each.id for each in around.same] for around in found] == [[mine], [theirs]]


async def test_the_same_text_is_refused_for_a_while(collection, person) -> None:
    ann, bob = await person("ann"), await person("bob")
    await write_prompt(collection, ann, "Twice?")
    task = await collection.request_task(ann, "initial_prompt", ["en"])
    with pytest.raises(Conflict) as error:
        await collection.submit_prompt(ann, task.id, "Twice? ", "en")
    assert error.value.code == "DUPLICATE_TEXT"
    await write_prompt(collection, bob, "Twice?")


async def test_a_prompt_refused_by_its_peers_ends_the_tree(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid")]
    tree_id = await write_prompt(collection, people[0])
    await review_all(collection, people, "label_initial_prompt", BAD)
    message = await collection.message(tree_id)
    assert (message.state, message.labels) == ("refused", {"spam": {"value": 1.0, "count": 2}})
    assert (await collection.tree(tree_id)).state == "aborted_low_grade"


async def test_a_reply_refused_by_its_peers_leaves_its_place_to_others(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid", "dan")]
    tree_id = await until_growing(collection, people)
    task = await collection.request_task(people[1], "assistant_reply", ["en"])
    reply = await collection.submit_reply(people[1], task.id, "Buy cheap pills!")
    message = await collection.message(reply.result_id)
    assert (message.parent_id, message.depth, message.role, message.ancestors) == (tree_id, 1, "assistant", (tree_id,))
    await review_all(collection, [people[0], *people[2:]], "label_assistant_reply", BAD)
    assert (await collection.message(reply.result_id)).state == "refused"
    work = await collection.database["work"].find_one({"_id": f"assistant_reply:{tree_id}"})
    assert (work["free"], work["excluded"]) == (2, [people[1].id])


@pytest.mark.parametrize("wrong", ["missing", "extra", "twice", "other", "empty"])
async def test_a_ranking_must_be_a_permutation_of_what_was_served(collection, person, wrong) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid", "dan", "eve", "fay")]
    await until_ranking(collection, people)
    task = user = None
    for user in people:
        try:
            task = await collection.request_task(user, "rank_assistant_replies", ["en"])
            break
        except NothingToDo:
            continue
    one, other = task.served
    ranking = {"missing": [one], "extra": [one, other, "x"], "twice": [one, one], "other": [one, "x"], "empty": []}[
        wrong
    ]
    with pytest.raises(BadInput) as error:
        await collection.submit_ranking(user, task.id, ranking)
    assert (error.value.code, error.value.path) == ("BAD_RANKING", ("ranking",))
    assert await collection.database["rankings"].count_documents({"task_id": task.id}) == 0
    assert (await collection.message(one)).ranking_count == 0
    if wrong == "empty":
        done = await collection.submit_ranking(user, task.id, [], not_rankable=True)
        assert done.state == "done"
        assert (await collection.message(one)).ranking_count == 1


async def test_a_reply_to_a_closed_conversation_is_refused(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid")]
    moderator = await person("mod", "moderator")
    tree_id = await until_growing(collection, people)
    task = await collection.request_task(people[1], "assistant_reply", ["en"])
    await collection.halt_tree(moderator, tree_id)
    with pytest.raises(TaskGone, match="closed"):
        await collection.submit_reply(people[1], task.id, "An answer")
    assert await collection.database["work"].count_documents({"tree_id": tree_id}) == 0
    assert (await collection.halt_tree(moderator, tree_id, False)).state == "growing"
    assert (await collection.submit_reply(people[1], task.id, "An answer")).state == "done"
