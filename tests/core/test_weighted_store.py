"""Weighted mode through the store: reviews as many as needed, people's voices, consensus with ties."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
from core_people import BAD, GOOD, SMALL, reply_all, review_all, until_ranking, write_prompt

from core import learning
from core.collection import Collection
from core.errors import BadInput, NothingToDo
from core.lessons import Lesson, lessons
from core.opinions import Ranking
from core.records import Message
from core.settle import settle
from core.voices import PARTS, Voice

WEIGHTED = replace(SMALL, mode="weighted")


@pytest.fixture
def config():
    return WEIGHTED


@pytest.fixture
async def people(person):
    return [await person(f"person {number}") for number in range(8)]


async def review(collection: Collection, user, labels, kind="label_initial_prompt") -> None:
    task = await collection.request_task(user, kind, ["en"])
    await collection.submit_review(user, task.id, labels)


async def test_two_who_agree_are_enough(collection, people) -> None:
    prompt = await write_prompt(collection, people[0])
    await review(collection, people[1], GOOD)
    assert (await collection.message(prompt)).state == "pending"
    await review(collection, people[2], GOOD)
    message = await collection.message(prompt)
    assert (message.state, message.review_count) == ("accepted", 2)
    assert message.judgement["acceptable"] > WEIGHTED.accept_from
    with pytest.raises(NothingToDo):
        await collection.request_task(people[3], "label_initial_prompt", ["en"])


async def test_more_are_asked_while_they_differ_and_never_more_than_the_limit(collection, people) -> None:
    prompt = await write_prompt(collection, people[0])
    for number, labels in enumerate([GOOD, BAD, GOOD, BAD, GOOD], start=1):
        assert (await collection.message(prompt)).state == "pending", number
        await review(collection, people[number], labels)
    message = await collection.message(prompt)
    assert message.state != "pending"
    assert message.review_count == WEIGHTED.reviews_most
    with pytest.raises(NothingToDo):
        await collection.request_task(people[6], "label_initial_prompt", ["en"])


async def test_hate_refuses_a_message_whatever_its_spam_label(collection, people) -> None:
    prompt = await write_prompt(collection, people[0])
    hateful = {"spam": 0.0, "hate_speech": 1.0}
    done = await review_all(collection, people[1:], "label_initial_prompt", hateful)
    message = await collection.message(prompt)
    assert message.state == "refused"
    assert message.judgement["reasons"] == ["hate_speech"]
    assert done <= WEIGHTED.reviews_most


async def sums(collection: Collection) -> dict[str, list[float]]:
    """What is kept of each person."""
    found = [each async for each in collection.database["raters"].find()]
    return {each["_id"]: pytest.approx([each.get(part, 0.0) for part in PARTS]) for each in found}


async def taught(collection: Collection) -> dict[str, list[float]]:
    """What all lessons together say of each person."""
    total: dict[str, Voice] = defaultdict(Voice)
    async for document in collection.database["lessons"].find():
        for person, parts in Lesson.from_document(document).said.items():
            total[person] += Voice.of(parts)
    return {person: list(voice.parts) for person, voice in total.items()}


async def test_voices_are_the_sum_of_the_lessons_and_settling_again_adds_nothing(collection, people) -> None:
    tree_id = await until_ranking(collection, people)
    order = None
    for user in people:
        try:
            task = await collection.request_task(user, "rank_assistant_replies", ["en"])
        except NothingToDo:
            continue
        order = order or list(task.served)
        await collection.submit_ranking(user, task.id, order)
    assert (await collection.tree(tree_id)).state == "ready_for_export"
    before = await taught(collection)
    assert before
    assert before == await sums(collection)
    assert any(parts[4] > 0 for parts in before.values())  # rankers who agree gain agreement
    await settle(collection.database, collection.config, tree_id, marking=True)
    assert await taught(collection) == before
    assert before == await sums(collection)


async def test_a_lesson_that_was_begun_and_left_is_finished_once(collection, people, database) -> None:
    """A crash after the lesson was written down, and one after the sums were added: both end with it added once."""
    facts, said = ("r1",), {people[0].id: [1.0, 0.0, 2.0, 0.0, 0.5, 0.5]}
    for place in range(2):
        fresh = {f"review:m{place}": (facts, said)}
        assert await learning._begin(
            database, [(Lesson(id=f"review:m{place}", tree_id="t"), {"lesson_facts": list(facts), "said": said})]
        )
        begun = {each["_id"]: Lesson.from_document(each) async for each in database["lessons"].find({"tree_id": "t"})}
        if place == 1:  # the sums were added, and what followed was not
            lesson = begun["review:m1"]
            await learning._take_place(database, lesson)
            undo = {"$set": {"following": lesson.following, "said": {}, "lesson_facts": []}, "$inc": {"rev": -1}}
            await database["lessons"].update_one({"_id": lesson.id}, undo)
        assert not await learning.learn(database, "t", fresh, begun)  # finished; asks to be called again
        now = {each["_id"]: Lesson.from_document(each) async for each in database["lessons"].find({"tree_id": "t"})}
        assert all(lesson.following is None for lesson in now.values())
        assert not lessons([], [], [], WEIGHTED.review_policy, {}, now)
        known = await learning.voices(database, [people[0].id])
        assert known[people[0].id].parts == pytest.approx([(place + 1) * part for part in said[people[0].id]])


async def test_a_lesson_changes_by_the_difference_when_a_late_review_comes(database, people) -> None:
    known: dict[str, Lesson] = {}
    for facts, value in (("r1",), 1.0), (("r1", "r2"), 3.0):
        said = {people[0].id: [value, 0.0, 0.0, 0.0, 0.0, 0.0]}
        assert await learning.learn(database, "t", {"review:m": (facts, said)}, known)
        known = {each["_id"]: Lesson.from_document(each) async for each in database["lessons"].find()}
    assert (await learning.voices(database, [people[0].id]))[people[0].id].tally.caught == pytest.approx(3.0)


async def test_ties_are_taken_and_shown_in_the_consensus(collection, people) -> None:
    tree_id = await until_ranking(collection, people)
    for user in people:
        try:
            task = await collection.request_task(user, "rank_assistant_replies", ["en"])
        except NothingToDo:
            continue
        order = sorted(task.served)
        with pytest.raises(BadInput, match="none may be empty"):
            await collection.submit_ranking(user, task.id, order, tiers=[3])
        await collection.submit_ranking(user, task.id, order, tiers=[2])
    root = await collection.message(tree_id)
    assert root.consensus["rankings"] == WEIGHTED.num_required_rankings
    assert root.consensus["margins"] == []  # level: the hash of the ids decides
    ranked = [message for message in await collection.messages_of(tree_id) if message.parent_id == tree_id]
    assert sorted(message.rank for message in ranked) == [0, 1]


async def test_parity_takes_no_ties(database, people) -> None:
    collection = Collection(database, SMALL)
    await until_ranking(collection, people)
    task = next(
        filter(None, [await _rank_task(collection, user) for user in people]),
    )
    user = next(user for user in people if user.id == task.user_id)
    with pytest.raises(BadInput, match="takes no ties"):
        await collection.submit_ranking(user, task.id, list(task.served), tiers=[len(task.served)])


async def _rank_task(collection: Collection, user):
    try:
        return await collection.request_task(user, "rank_assistant_replies", ["en"])
    except NothingToDo:
        return None


async def test_replies_that_came_late_do_not_open_decided_messages_again(collection, people) -> None:
    """A review in hand when a message is decided is stored, teaches, and changes no verdict."""
    prompt = await write_prompt(collection, people[0])
    held = [await collection.request_task(user, "label_initial_prompt", ["en"]) for user in people[1:3]]
    await collection.submit_review(people[1], held[0].id, GOOD)
    await collection.submit_review(people[2], held[1].id, GOOD)
    decided = await collection.message(prompt)
    assert decided.state == "accepted"
    await settle(collection.database, collection.config, prompt, marking=True)
    assert await collection.message(prompt) == decided
    assert await reply_all(collection, people[:1]) == 0  # the lottery has not drawn it


def test_a_ranking_without_ties_is_groups_of_one() -> None:
    plain = Ranking(id="r", tree_id="t", parent_id="p", ranking=("a", "b", "c"))
    assert plain.groups == (("a",), ("b",), ("c",))
    assert replace(plain, tiers=(2, 1)).groups == (("a", "b"), ("c",))


def test_a_message_without_a_judgement_teaches_nothing() -> None:
    message = Message(id="m", tree_id="t", parent_id=None, role="prompter", lang="en", text="?")
    assert lessons([message], [], [], WEIGHTED.review_policy, {}, {}) == {}
