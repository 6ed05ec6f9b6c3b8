"""Texts that are alike find each other in the store; suspicious ones get more reviews and a place in the queue."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from test_abuse_rules import LONG, SPAM

from core.collection import Collection
from core.errors import BadInput
from core.records import Message, now
from core.screening import look
from core.similar_texts import PER_KEY, among, remember
from core.sketches import BANDS
from core.surroundings import look_around
from core.text_groups import groups_page
from core.text_rows import bands_row


def message(number: int, user: str, text: str, lang: str = "en") -> Message:
    return Message(
        id=f"m{number}", tree_id=f"t{number}", parent_id=None, role="prompter", lang=lang, text=text, author_id=user
    )


async def alike(database, text: str, least: float, but: str | None = None):
    return among(text, (await look_around(database, text)).rows, least, but=but)


async def test_alike_texts_are_found_and_others_not(database) -> None:
    for number in range(30):
        await remember(database, message(number, f"u{number % 3}", f"{number} {random.Random(number).random()} apples"))
    for _ in range(2):
        await remember(database, message(40, "ann", LONG))
    await remember(database, message(41, "bob", LONG.replace("listener", "hearer")))
    found = await alike(database, LONG, 0.8, but="m40")
    assert [(each.message_id, each.user_id) for each in found] == [("m41", "bob")]
    assert [each.message_id for each in await alike(database, LONG, 0.8)] == ["m40", "m41"]
    assert await database["text_bands"].count_documents({"_id": "m40"}) == 1


async def test_a_text_that_was_edited_is_found_by_its_new_words_alone(database) -> None:
    await remember(database, message(1, "ann", LONG))
    await remember(database, replace(message(1, "ann", SPAM), revision=1))
    assert await alike(database, LONG, 0.5) == []
    assert [each.message_id for each in await alike(database, SPAM, 0.9)] == ["m1"]


async def test_a_flood_of_many_people_is_one_group(database) -> None:
    for number in range(6):
        await remember(database, message(number, f"u{number}", f"{LONG} {number}"))
        await remember(database, message(50 + number, "ann", f"{SPAM} {number}"))
    hour = timedelta(hours=1)
    ((_, group),) = (await groups_page(database, hour, 4)).items
    assert set(group.message_ids) == {f"m{number}" for number in range(6)}
    assert len(group.user_ids) == 6
    assert (await groups_page(database, hour, 4, ["de"])).items == ()
    assert (await groups_page(database, hour, 4, until=now() - hour)).items == ()
    assert [each for _, each in (await groups_page(database, hour, 4, ["de", group.lang], now())).items] == [group]


async def test_a_flood_is_told_by_few_of_its_texts_however_many_there_are(database, config) -> None:
    many = [message(number, f"u{number}", f"{LONG} {number}") for number in range(90)]
    await database["text_bands"].insert_many([bands_row(each) for each in many])
    rows = (await look_around(database, LONG)).rows
    assert PER_KEY <= len(rows) <= PER_KEY * BANDS
    found = await look(config, message(100, "ann", LONG), rows)
    assert found.others >= config.flood_people
    assert "flood" in found.suspicions(config)


async def test_a_suspicious_prompt_is_reviewed_more_and_put_into_the_queue(collection, person) -> None:
    ann = await person("ann")
    plain = await collection.request_task(ann, "initial_prompt", ["en"])
    await collection.submit_prompt(ann, plain.id, "Why does bread rise?", "en")
    spam = await collection.request_task(ann, "initial_prompt", ["en"])
    await collection.submit_prompt(ann, spam.id, SPAM, "en")
    assert (await collection.message(plain.id)).extra_reviews == 0
    assert (await collection.message(spam.id)).extra_reviews == 1
    places = {each["target_id"]: each["free"] async for each in collection.database["work"].find({"tree_id": spam.id})}
    others = {each["target_id"]: each["free"] async for each in collection.database["work"].find({"tree_id": plain.id})}
    assert places[spam.id] == others[plain.id] + 1
    (check,) = [each async for each in collection.database["text_checks"].find()]
    assert (check["_id"], check["pii"]) == (spam.id, ["phone"])
    assert "score:spam" in check["suspicions"]
    items = [each["_id"] async for each in collection.database["moderation_items"].find()]
    assert items == [f"message:{spam.id}|scorer"]


async def test_a_collection_may_refuse_above_a_limit_and_then_stores_nothing(database, config, person) -> None:
    strict = Collection(database, replace(config, refuse_score_above=0.9), random.Random(1))
    ann = await person("ann")
    task = await strict.request_task(ann, "initial_prompt", ["en"])
    with pytest.raises(BadInput, match="looks like spam"):
        await strict.submit_prompt(ann, task.id, SPAM, "en")
    assert (await strict.get_task(ann, task.id)).state == "open"
    assert await database["messages"].count_documents({}) == await database["text_bands"].count_documents({}) == 0
    await strict.submit_prompt(ann, task.id, "Why does bread rise?", "en")
