"""A moderator mends somebody's text: what changes, what stays, and who may."""

from __future__ import annotations

from datetime import timedelta

import pytest
from core_people import SMALL, review_all, write_prompt

from core.corrections import correct
from core.errors import BadInput, Conflict, Forbidden
from core.own_messages import revisions
from core.rulings import delete_message
from core.text_groups import groups_page

TEXT = "Why is the sky blue in the morning and red in the evening, and never green?"


async def test_a_text_is_mended_and_all_else_stays(database, collection, person) -> None:
    author, mod, *reviewers = [await person(name) for name in ("a", "b", "c", "d")]
    mod = await person("mod", "moderator")
    message_id = await write_prompt(collection, author, f"Call me at 555 0100: {TEXT}")
    task = await collection.request_task(reviewers[0], "label_initial_prompt", ["en"])
    await review_all(collection, reviewers[1:], "label_initial_prompt")
    before = await collection.message(message_id)
    for _ in range(2):
        after = await correct(database, SMALL, mod, message_id, f" {TEXT} ", "a telephone number")
    assert (after.text, after.revision, after.review_count) == (TEXT, 1, before.review_count)
    assert [each.text for each in await revisions(database, message_id)] == [before.text, after.text]
    assert (await collection.get_task(reviewers[0], task.id)).state == "expired"
    assert await collection.request_task(reviewers[0], "label_initial_prompt", ["en"])
    acts = [each async for each in database["events"].find({"kind": "correct_message"})]
    assert [(each["by"], each["details"]) for each in acts] == [
        (mod.id, {"revision": 1, "reason": "a telephone number"})
    ]
    assert (await groups_page(database, timedelta(hours=1), 1)).items


async def test_not_everybody_mends_everything(database, collection, person) -> None:
    author, mod = await person("a", "contributor", "moderator"), await person("mod", "moderator")
    message_id = await write_prompt(collection, author)
    for who, text, reason, error in (
        (author, "another", "because", Forbidden), (await person("c"), "another", "because", Forbidden),
        (mod, "another", " ", BadInput), (mod, " ", "because", BadInput),
    ):  # fmt: skip
        with pytest.raises(error):
            await correct(database, SMALL, who, message_id, text, reason)
    await delete_message(database, SMALL, mod, message_id, "spam")
    with pytest.raises(Conflict, match="taken out"):
        await correct(database, SMALL, mod, message_id, "another", "because")
    assert await revisions(database, message_id) == []
