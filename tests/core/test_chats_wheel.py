"""A reply rated down becomes ranking work: the step that closes the wheel, over a real store and the real rules."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core import chat_wheel
from core.accounts import Accounts
from core.chat_records import COMPLETE, STOPPED, STREAMING, ChatMessage, ChatSettings
from core.chat_stream import take
from core.chat_wheel import MAX_DRAFTS
from core.chats import Chats
from core.collection import Collection
from core.config import CollectionConfig
from core.errors import Unavailable
from core.ids import new_id
from core.records import milliseconds, now


@pytest.fixture
def collection(database: Any) -> Collection:
    return Collection(database, CollectionConfig())


@pytest.fixture
def chats(database: Any, collection: Collection) -> Chats:
    return Chats(database, collection)


async def answer(chats: Chats, message_id: str, text: str, state: Any = COMPLETE) -> ChatMessage:
    """What a relay does with a reply."""
    writer = await take(chats.database, chats.notices, message_id, new_id())
    assert writer is not None
    writer.note(model_version="assistant@v1")
    writer.say(text)
    return await writer.finish(state)


async def replied(chats: Chats, text: str = "A kiln is hot.", *, consent: bool = True) -> ChatMessage:
    chat = await chats.create("ada", ChatSettings(allow_training=consent))
    return await answer(chats, (await chats.send("ada", chat.id, "What is a kiln?")).reply.id, text)


async def trees(chats: Chats) -> list[dict[str, Any]]:
    return await chats.database.trees.find({}).to_list()


async def drafts(chats: Chats, reply: ChatMessage) -> list[ChatMessage]:
    return [each for each in await chats.messages("ada", reply.chat_id) if each.draft]


async def test_two_replies_become_ranking_work(chats: Chats, collection: Collection) -> None:
    first = await replied(chats)
    second = await answer(chats, (await chats.regenerate("ada", first.id)).id, "An oven for clay.")
    rated = await chats.rate("ada", first.id, -1, "wrong")
    [tree] = await trees(chats)
    assert (tree["state"], tree["lang"]) == ("backlog_ranking", "en")
    assert rated.tree_id == tree["_id"]
    assert (await chats.message("ada", second.id)).tree_id == tree["_id"]
    messages = await collection.messages_of(tree["_id"])
    replies = {each.text: (each.synthetic, each.model_version) for each in messages if each.role == "assistant"}
    assert replies == dict.fromkeys(("A kiln is hot.", "An oven for clay."), (True, "assistant@v1"))
    assert [each.text for each in messages if each.role == "prompter"] == ["What is a kiln?"]


async def test_what_was_rated_down_can_be_ranked_by_others(chats: Chats, collection: Collection) -> None:
    first = await replied(chats)
    await answer(chats, (await chats.regenerate("ada", first.id)).id, "An oven for clay.")
    await chats.rate("ada", first.id, -1)
    await collection.activate_backlog("en")
    bob = await Accounts(chats.database).ensure_user("local", "bob", "Bob", ("contributor",))
    task = await collection.request_task(bob, "rank_assistant_replies", ["en"])
    assert len(task.served) == 2


async def test_a_single_reply_gets_a_draft_beside_it_first(chats: Chats) -> None:
    reply = await replied(chats)
    assert (await chats.rate("ada", reply.id, -1)).tree_id is None
    [draft] = await drafts(chats, reply)
    assert (draft.state, draft.parent_id) == (STREAMING, reply.parent_id)
    ended = await answer(chats, draft.id, "An oven for clay.")
    assert await chat_wheel.due(chats.database) == []
    assert await chat_wheel.hasten(chats.database, ended) == 1
    assert await chat_wheel.due(chats.database) == [reply.id]
    await chats.turn_wheel(reply.id)
    assert len(await trees(chats)) == 1
    assert await chat_wheel.hasten(chats.database, ended) == 0


async def test_without_consent_a_rating_stays_a_rating(chats: Chats) -> None:
    reply = await replied(chats, consent=False)
    assert (await chats.rate("ada", reply.id, -1)).score == -1
    assert await drafts(chats, reply) == []
    assert await trees(chats) == []


async def test_consent_taken_back_before_the_tree_holds(chats: Chats) -> None:
    reply = await replied(chats)
    await chats.rate("ada", reply.id, -1)
    [draft] = await drafts(chats, reply)
    await chats.update("ada", reply.chat_id, ChatSettings(allow_training=False))
    await answer(chats, draft.id, "An oven for clay.")
    await chats.turn_wheel(reply.id)
    assert await trees(chats) == []
    assert await chat_wheel.due(chats.database) == []


async def test_a_rating_taken_back_before_the_tree_holds(chats: Chats) -> None:
    reply = await replied(chats)
    await chats.rate("ada", reply.id, -1)
    [draft] = await drafts(chats, reply)
    await chats.rate("ada", reply.id, 1)
    await answer(chats, draft.id, "An oven for clay.")
    await chats.turn_wheel(reply.id)
    assert await trees(chats) == []


async def test_rating_twice_and_at_once_makes_one_tree(chats: Chats) -> None:
    first = await replied(chats)
    await answer(chats, (await chats.regenerate("ada", first.id)).id, "An oven for clay.")
    await asyncio.gather(*(chats.rate("ada", first.id, -1) for _ in range(4)))
    await chats.rate("ada", first.id, -1)
    assert len(await trees(chats)) == 1
    assert len(await chats.database.messages.find({}).to_list()) == 3


async def test_equal_drafts_are_asked_for_a_few_times_only(chats: Chats) -> None:
    reply = await replied(chats)
    await chats.rate("ada", reply.id, -1)
    for _ in range(MAX_DRAFTS + 1):
        for draft in await drafts(chats, reply):
            if draft.state == STREAMING:
                await answer(chats, draft.id, reply.text)
        await chats.turn_wheel(reply.id)
    assert len(await drafts(chats, reply)) == MAX_DRAFTS
    assert await trees(chats) == []
    assert await chat_wheel.hasten(chats.database, reply) == 0


async def test_a_crash_between_rating_and_draft_is_healed_by_looking(chats: Chats) -> None:
    reply = await replied(chats)
    await chats.rate("ada", reply.id, -1)
    await chats.database.chat_messages.delete_one({"draft": True})  # as if it had never been written
    past = {"$set": {"wheel_due": milliseconds(now()) - 1000, "wheel_drafts": 0}}
    await chats.database.chat_messages.update_one({"_id": reply.id}, past)
    for message_id in await chat_wheel.due(chats.database):
        await chats.turn_wheel(message_id)
    assert len(await drafts(chats, reply)) == 1


class Broken:
    """A collection whose store is away."""

    async def add_synthetic_tree(self, *_: Any, **__: Any) -> Any:
        raise Unavailable("away")


async def test_where_no_tree_can_be_made_the_rating_stands_and_the_step_is_repeated(
    database: Any, collection: Collection
) -> None:
    chats = Chats(database, Broken())
    first = await replied(chats)
    await answer(chats, (await chats.regenerate("ada", first.id)).id, "An oven for clay.")
    assert (await chats.rate("ada", first.id, -1)).score == -1
    assert await chat_wheel.due(database) == []  # not at once again: others come first
    await chat_wheel.hasten(database, first)
    whole = Chats(database, collection)
    for message_id in await chat_wheel.due(database):
        await whole.turn_wheel(message_id)
    assert len(await trees(whole)) == 1


async def test_stopped_replies_are_not_ranked(chats: Chats) -> None:
    first = await replied(chats)
    await answer(chats, (await chats.regenerate("ada", first.id)).id, "An ov", STOPPED)
    await chats.rate("ada", first.id, -1)
    assert await trees(chats) == []
    assert len(await drafts(chats, first)) == 1


async def test_a_thumb_up_makes_no_work(chats: Chats) -> None:
    first = await replied(chats)
    await answer(chats, (await chats.regenerate("ada", first.id)).id, "An oven for clay.")
    await chats.rate("ada", first.id, 1)
    assert await trees(chats) == []
