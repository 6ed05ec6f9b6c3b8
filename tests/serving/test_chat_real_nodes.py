"""The API's chat relay on a real serving node: whole replies, replies begun elsewhere, refusals."""

from __future__ import annotations

import asyncio

import pytest

from api.relay import Relay, RelayLimits
from core.chat_records import COMPLETE, FAILED, ChatMessage, ChatSettings, Sampling
from core.chat_stream import take
from core.chats import Chats
from core.ids import new_id

QUICK = RelayLimits(poll=0.1, patience=3.0)
BRIEF = Sampling(temperature=0.0, max_tokens=40)


@pytest.fixture
def chats(database):
    return Chats(database)


async def asked(chats, text, **settings):
    chat = await chats.create("ada", ChatSettings(sampling=BRIEF, **settings))
    return (await chats.send("ada", chat.id, text)).reply


async def ended(chats, message_id):
    async with asyncio.timeout(30):
        async for event in chats.tokens("ada", message_id):
            if isinstance(event, ChatMessage):
                return event


async def test_a_real_node_says_a_reply(chats, node):
    async with Relay(chats, [node.url], limits=QUICK):
        message = await ended(chats, (await asked(chats, "Hello", system_prompt="Be brief.")).id)
    assert (message.state, message.model_version, message.node) == (COMPLETE, "assistant@v1", node.url)
    assert message.text.strip()
    assert 0 < message.seq <= 40


async def test_a_real_node_goes_on_where_another_broke_off(chats, node):
    reply = await asked(chats, "Hello")
    dead = await take(chats.database, chats.notices, reply.id, new_id())
    dead.note(model_version="assistant@v1")
    for piece in ("The quick ", "brown", " fox"):
        dead.say(piece)
    await dead.beat()
    await dead.release()
    async with Relay(chats, [node.url], limits=QUICK):
        message = await ended(chats, reply.id)
    assert message.state == COMPLETE
    assert message.text.startswith("The quick brown fox")
    assert len(message.text) > len("The quick brown fox")


async def test_what_does_not_fit_the_model_fails_with_its_code(chats, node):
    async with Relay(chats, [node.url], limits=QUICK):
        message = await ended(chats, (await asked(chats, "鑿" * 8000)).id)
    assert message.state == FAILED
    assert message.error["code"] == "CONTEXT_TOO_LONG"


async def test_a_version_that_no_node_serves_fails_with_no_model(chats, node):
    async with Relay(chats, [node.url], limits=RelayLimits(poll=0.1, patience=0.5)):
        message = await ended(chats, (await asked(chats, "Hello", model="assistant@v9")).id)
    assert message.state == FAILED
    assert message.error["code"] == "NO_MODEL"
