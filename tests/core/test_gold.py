"""Questions with a known answer: like any other to who gets them, and what they teach."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from core_people import GOOD, SMALL, credits_in, until_ranking, write_prompt

from core import gold, learning
from core.collection import Collection
from core.errors import BadInput, Forbidden, NotFound, NothingToDo
from core.pages import blinded
from core.sweeper import sweep_once
from core.tree_reading import tree_ids

ALWAYS = replace(SMALL, mode="weighted", gold_rate=1.0, gold_rate_new=1.0, duplicate_window_seconds=0)


@pytest.fixture
def config():
    return ALWAYS


@pytest.fixture
async def moderator(person):
    return await person("the moderator", "moderator")


@pytest.fixture
async def people(person):
    return [await person(f"person {number}") for number in range(6)]


async def test_a_known_spam_is_handed_out_once_a_person_and_teaches(collection, moderator, people, database) -> None:
    prompt = await write_prompt(collection, people[0], "Buy cheap watches!")
    item = await collection.make_gold_review(moderator, prompt, {"spam": True}, "An advertisement.")
    task = await collection.request_task(people[1], "label_initial_prompt", ["en"])
    assert task.target_id == item.target_id != prompt
    (shown,), _ = await collection.shown(task)
    assert shown == blinded(shown)
    assert shown.text == "Buy cheap watches!"
    await collection.submit_review(people[1], task.id, {"spam": 1.0})
    assert (await collection.request_task(people[1], "label_initial_prompt", ["en"])).target_id == prompt

    wrong = await collection.request_task(people[2], "label_initial_prompt", ["en"])
    assert wrong.target_id == item.target_id
    await collection.submit_review(people[2], wrong.id, {"spam": 0.0})
    voices = await learning.voices(database, [people[1].id, people[2].id])
    assert voices[people[1].id].tally.caught == pytest.approx(1.0)
    assert voices[people[2].id].tally.missed == pytest.approx(1.0)
    assert voices[people[1].id].skill.weight > voices[people[2].id].skill.weight
    # Who agrees with what is known earns as for any review.
    assert await credits_in(database, item.id) == [(people[1].id, "labels")]

    swept = await sweep_once(database, ALWAYS)
    assert swept.failures == []
    assert (await collection.message(item.target_id)).state == "pending"
    assert (await collection.tree(item.id)).state == "initial_prompt_review"
    assert item.id not in [each async for each in tree_ids(database, None, None)]
    assert [each.id for each in (await collection.trees_page()).items] == [prompt]
    assert [each.id for each in (await collection.messages_page(lang="en")).items] == [prompt]


async def test_a_known_order_teaches_who_ranks(database, moderator, people) -> None:
    collection = Collection(database, ALWAYS, random.Random(1))
    tree_id = await until_ranking(collection, people)
    replies = [each for each in await collection.messages_of(tree_id) if each.parent_id == tree_id]
    item = await collection.make_gold_ranking(moderator, [[each.id] for each in replies], "Checked by hand.")
    ranker = people[5]
    task = await collection.request_task(ranker, "rank_assistant_replies", ["en"])
    assert task.tree_id == item.id
    await collection.submit_ranking(ranker, task.id, [each for tier in item.order for each in tier])
    voice = (await learning.voices(database, [ranker.id]))[ranker.id]
    assert voice.agreement.concordance == pytest.approx(1.0)
    assert await credits_in(database, item.id) == [(ranker.id, "rankings"), (ranker.id, "rankings_good")]
    for copy, original in zip(*[await collection.messages_of(each) for each in (item.id, tree_id)], strict=False):
        assert (copy.created_at, copy.review_count) == (original.created_at, original.review_count), "alike to see"


async def test_a_skipped_item_is_not_offered_again_and_a_retired_one_to_nobody(collection, moderator, people) -> None:
    prompt = await write_prompt(collection, people[0])
    item = await collection.make_gold_review(moderator, prompt, {"spam": False}, "A good question.")
    task = await collection.request_task(people[1], "label_initial_prompt", ["en"])
    assert task.tree_id == item.id
    await collection.skip_task(people[1], task.id)
    assert (await collection.request_task(people[1], "label_initial_prompt", ["en"])).tree_id == prompt
    await collection.retire_gold(moderator, item.id)
    await collection.retire_gold(moderator, item.id)
    assert await collection.gold_items(moderator, None, 5) == ([], False)
    assert (await collection.request_task(people[2], "label_initial_prompt", ["en"])).tree_id == prompt
    with pytest.raises(NotFound):
        await collection.retire_gold(moderator, "no item")


async def test_an_item_goes_with_the_message_it_was_copied_from(collection, moderator, people, database) -> None:
    prompt = await write_prompt(collection, people[0])
    item = await collection.make_gold_review(moderator, prompt, {"spam": False}, "A good question.")
    assert await gold.forget(database, [prompt]) == 1
    for name in ("gold", "trees", "work", "messages"):
        query = {"_id": item.id} if name in ("gold", "trees") else {"tree_id": item.id}
        assert await database[name].find_one(query) is None


async def test_without_a_draw_gold_is_never_handed_out(database, moderator, people) -> None:
    collection = Collection(database, replace(ALWAYS, gold_rate_new=0.0), random.Random(2))
    prompt = await write_prompt(collection, people[0])
    await collection.make_gold_review(moderator, prompt, {"spam": False}, "A good question.")
    taken = [await collection.request_task(user, "label_initial_prompt", ["en"]) for user in people[1:3]]
    assert {task.tree_id for task in taken} == {prompt}
    assert (await collection.available(people[4], ["en"]))["label_initial_prompt"] == 0
    with pytest.raises(NothingToDo):
        await collection.request_task(people[4], "label_initial_prompt", ["en"])


async def test_who_may_and_what_is_wrong(collection, moderator, people) -> None:
    prompt = await write_prompt(collection, people[0])
    with pytest.raises(Forbidden):
        await collection.make_gold_review(people[1], prompt, {"spam": True}, "Because.")
    for answers, reason, says in (
        ({}, "Because.", "none is given"),
        ({"quality": True}, "Because.", "'quality' is none"),
        ({"spam": True}, " ", "no text"),
    ):
        with pytest.raises(BadInput, match=says):
            await collection.make_gold_review(moderator, prompt, answers, reason)
    with pytest.raises(BadInput, match="two or more groups"):
        await collection.make_gold_ranking(moderator, [[prompt]], "Because.")


async def test_parity_has_gold_too_and_good_reviews_still_decide(database, moderator, people) -> None:
    """The tree of people goes its way beside an item."""
    collection = Collection(database, replace(ALWAYS, mode="parity"), random.Random(4))
    prompt = await write_prompt(collection, people[0])
    await collection.make_gold_review(moderator, prompt, {"spam": False}, "A good question.")
    for user in people[1:4]:
        for _ in range(2):
            try:
                task = await collection.request_task(user, "label_initial_prompt", ["en"])
            except NothingToDo:
                break
            await collection.submit_review(user, task.id, GOOD)
    assert (await collection.message(prompt)).state == "accepted"


async def test_who_knows_the_answer_earns_whatever_label_it_is(collection, moderator, people, database) -> None:
    prompt = await write_prompt(collection, people[0], "Something hateful.")
    item = await collection.make_gold_review(moderator, prompt, {"hate_speech": True}, "Known.")
    for user, labels in ((people[1], {"spam": 0.0, "hate_speech": 1.0}), (people[2], {"spam": 1.0})):
        task = await collection.request_task(user, "label_initial_prompt", ["en"])
        await collection.submit_review(user, task.id, labels)
    assert await credits_in(database, item.id) == [(people[1].id, "labels")]


async def test_gold_is_listed_page_by_page_in_the_languages_of_who_asks(database, moderator, people) -> None:
    collection = Collection(database, ALWAYS, random.Random(4))
    made = []
    for lang, text in (("en", "What is rain?"), ("es", "What is snow?"), ("en", "What is ice?")):
        task = await collection.request_task(people[0], "initial_prompt", [lang])
        prompt = str((await collection.submit_prompt(people[0], task.id, text, lang)).result_id)
        made.append(await collection.make_gold_review(moderator, prompt, {"spam": False}, "Known."))
    (newest,), more = await collection.gold_items(moderator, None, 1)
    rest, end = await collection.gold_items(moderator, newest.by_time, 5)
    assert ([newest.id, *(each.id for each in rest)], more, end) == ([each.id for each in reversed(made)], True, False)
    spanish = replace(moderator, moderates=("es",))
    assert [each.id for each in (await collection.gold_items(spanish, None, 1))[0]] == [made[1].id]
