"""The chat relay between a real store and real HTTP servers, some of which die in mid-sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from counting_node import MODEL, Node, counted

from api.relay import Relay, RelayLimits
from core.chat_records import COMPLETE, FAILED, STOPPED, STREAMING, ChatMessage, ChatSettings, Sampling
from core.chat_stream import Token, take
from core.chats import Chats
from core.ids import new_id
from core.models import Models
from core.objects import ObjectStore
from core.records import milliseconds, now
from oa import embedded

QUICK = RelayLimits(poll=0.1, patience=2.0, grace=0.2)

Start = Callable[..., Node]


@pytest.fixture
def start() -> Iterator[Start]:
    nodes: list[Node] = []

    def start_node(*options: str, **about: Any) -> Node:
        nodes.append(Node(*options, **about))
        return nodes[-1]

    yield start_node
    for node in nodes:
        node.kill()


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A quick node that outlives a test."""
    node = Node()
    yield node
    node.kill()


@pytest.fixture(scope="module")
def slow_node() -> Iterator[Node]:
    node = Node("--delay", "0.02")
    yield node
    node.kill()


@pytest.fixture
async def chats(database: Any) -> Chats:
    return Chats(database)


async def ask(chats: Chats, text: str, **settings: Any) -> ChatMessage:
    chat = await chats.create("ada", ChatSettings(**settings))
    return (await chats.send("ada", chat.id, text)).reply


async def ended(chats: Chats, message_id: str) -> ChatMessage:
    """The reply when it has ended, within 20 s."""
    async with asyncio.timeout(20):
        async for event in chats.tokens("ada", message_id):
            if isinstance(event, ChatMessage):
                return event
    raise AssertionError("the stream ended without its message")


async def until_said(chats: Chats, message_id: str, count: int) -> None:
    """Returns when token number `count` is in the store."""
    async with asyncio.timeout(20):
        async for event in chats.tokens("ada", message_id):
            assert isinstance(event, Token), f"the reply ended early: {event}"
            if event.seq >= count:
                return


async def test_a_reply_is_said_and_kept(chats: Chats, node: Node) -> None:
    async with Relay(chats, [node.url], limits=QUICK):
        reply = await ask(chats, "count to 12", system_prompt="Be brief.", sampling=Sampling(0.3, 0.8, 50))
        assert reply.state == STREAMING
        message = await ended(chats, reply.id)
    assert (message.text, message.state, message.seq) == (counted(12), COMPLETE, 12)
    assert (message.model_version, message.node) == (MODEL, node.url)
    body = node.seen()[-1]
    assert [turn["role"] for turn in body["messages"]] == ["system", "user"]
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.3, 0.8, 50)


async def test_the_next_turn_brings_the_thread(chats: Chats, node: Node) -> None:
    async with Relay(chats, [node.url], limits=QUICK):
        first = await ended(chats, (await ask(chats, "count to 3")).id)
        second = await chats.send("ada", first.chat_id, "count to 4")
        assert (await ended(chats, second.reply.id)).text == counted(4)
    turns = [(turn["role"], turn["content"]) for turn in node.seen()[-1]["messages"]]
    assert turns == [("user", "count to 3"), ("assistant", counted(3)), ("user", "count to 4")]


async def test_line_separators_inside_tokens_survive(chats: Chats, node: Node) -> None:
    async with Relay(chats, [node.url], limits=QUICK):
        message = await ended(chats, (await ask(chats, "sing")).id)
    assert message.text.startswith("I only count, ")
    assert message.text.endswith("\u2028")


async def test_a_reader_resumes_while_tokens_come(chats: Chats, slow_node: Node) -> None:
    async with Relay(chats, [slow_node.url], limits=QUICK):
        reply = await ask(chats, "count to 60")
        first: list[Token] = []
        async for event in chats.tokens("ada", reply.id):
            assert isinstance(event, Token)
            first.append(event)
            if event.seq == 10:
                break
        rest: list[Token] = []
        async for event in chats.tokens("ada", reply.id, after=first[-1].seq):
            if isinstance(event, Token):
                rest.append(event)
    assert [token.seq for token in first + rest] == list(range(1, 61))
    assert "".join(token.text for token in first + rest) == counted(60)


async def test_a_node_killed_in_mid_sentence_is_replaced(chats: Chats, start: Start, node: Node) -> None:
    dying = start("--delay", "0.02")
    async with Relay(chats, [dying.url, node.url], limits=QUICK) as relay:
        with relay.nodes.using(node.url):  # so the other is the less busy one
            reply = await ask(chats, "count to 80")
            await until_said(chats, reply.id, 5)
        dying.kill()
        message = await ended(chats, reply.id)
    assert (message.text, message.state, message.seq) == (counted(80), COMPLETE, 80)
    assert message.node == node.url
    body = node.seen()[-1]
    assert body["continue_final_message"] is True
    assert body["model"] == MODEL
    assert body["messages"][-1]["role"] == "assistant"
    assert counted(80).startswith(body["messages"][-1]["content"])


async def test_a_stream_that_ends_too_early_is_continued(chats: Chats, start: Start, node: Node) -> None:
    forgetful = start("--forget")
    async with Relay(chats, [forgetful.url, node.url], limits=QUICK):
        chat = await chats.create("ada", ChatSettings())
        reply = (await chats.send("ada", chat.id, "count to 9")).reply
        assert (await ended(chats, reply.id)).text == counted(9)


async def test_a_relay_that_died_is_succeeded_when_its_lease_is_over(chats: Chats, node: Node) -> None:
    reply = await ask(chats, "count to 20")
    dead = await take(chats.database, chats.notices, reply.id, new_id())
    assert dead is not None
    for number in range(1, 8):
        dead.say(f"{number} ")
    await dead.flush()
    past = {"$set": {"lease_until": milliseconds(now()) - 1000}}
    await chats.database.chat_messages.update_one({"_id": reply.id}, past)
    async with Relay(chats, [node.url], limits=QUICK):
        assert (await ended(chats, reply.id)).text == counted(20)
    assert node.seen()[-1]["messages"][-1]["content"] == counted(7)


async def test_a_relay_that_goes_hands_its_reply_over(chats: Chats, slow_node: Node) -> None:
    async with Relay(chats, [slow_node.url], limits=QUICK):
        reply = await ask(chats, "count to 70")
        await until_said(chats, reply.id, 3)
    broken_off = await chats.message("ada", reply.id)
    assert broken_off.state == STREAMING
    elsewhere = Chats(chats.database)
    async with Relay(elsewhere, [slow_node.url], limits=QUICK):
        message = await ended(chats, reply.id)
    assert (message.text, message.seq) == (counted(70), 70)


async def test_a_relay_lets_short_replies_end_before_it_goes(chats: Chats, slow_node: Node) -> None:
    async with Relay(chats, [slow_node.url], limits=RelayLimits(poll=0.1, grace=20)):
        reply = await ask(chats, "count to 40")
        await until_said(chats, reply.id, 1)
    assert (await chats.message("ada", reply.id)).text == counted(40)


async def test_stop_keeps_what_was_said(chats: Chats, start: Start) -> None:
    endless = start("--delay", "0.05")
    async with Relay(chats, [endless.url], limits=QUICK) as relay:
        reply = await ask(chats, "count to 500")
        await until_said(chats, reply.id, 3)
        stopped = await chats.stop("ada", reply.id)
        assert stopped.state == STOPPED
        assert counted(500).startswith(stopped.text)
        assert stopped.seq >= 3
        assert await ended(chats, reply.id) == stopped
        assert relay.nodes.load[endless.url] == 0
        following = await chats.send("ada", reply.chat_id, "count to 2")
        assert (await ended(chats, following.reply.id)).text == counted(2)


async def test_stop_reaches_a_relay_in_another_process(chats: Chats, slow_node: Node) -> None:
    async with Relay(chats, [slow_node.url], limits=QUICK):
        reply = await ask(chats, "count to 2000", sampling=Sampling(max_tokens=4000))
        await until_said(chats, reply.id, 3)
        stopped = await Chats(chats.database).stop("ada", reply.id, patience=20)
    assert stopped.state == STOPPED


async def test_regenerating_says_it_again_beside(chats: Chats, node: Node) -> None:
    async with Relay(chats, [node.url], limits=QUICK):
        first = await ended(chats, (await ask(chats, "sing")).id)
        second = await ended(chats, (await chats.regenerate("ada", first.id)).id)
    assert second.parent_id == first.parent_id
    assert second.text != first.text  # another seed


async def test_many_replies_at_once(chats: Chats, node: Node) -> None:
    async with Relay(chats, [node.url], limits=RelayLimits(streams=3, poll=0.1)):
        replies = [await ask(chats, f"count to {number}") for number in range(1, 11)]
        messages = await asyncio.gather(*(ended(chats, reply.id) for reply in replies))
    assert [message.text for message in messages] == [counted(number) for number in range(1, 11)]


async def test_max_tokens_bound_a_reply_over_all_nodes(chats: Chats, node: Node) -> None:
    async with Relay(chats, [node.url], limits=QUICK):
        message = await ended(chats, (await ask(chats, "count to 50", sampling=Sampling(max_tokens=5))).id)
    assert message.text == counted(5)


@pytest.mark.parametrize(
    ("refusal", "code"), [("QUEUE_FULL", "QUEUE_FULL"), ("NO_MODEL", "NO_MODEL"), ("CONTEXT_TOO_LONG",) * 2]
)
async def test_a_refused_reply_fails_with_the_nodes_code(chats: Chats, start: Start, refusal: str, code: str) -> None:
    full = start("--refuse", refusal)
    async with Relay(chats, [full.url], limits=RelayLimits(poll=0.1, patience=0.5)):
        message = await ended(chats, (await ask(chats, "count to 3")).id)
    assert message.state == FAILED
    assert message.error is not None
    assert message.error["code"] == code
    assert "refused" in message.error["message"]


async def test_a_model_that_nobody_published_is_not_waited_for(chats: Chats, start: Start, store: ObjectStore) -> None:
    """With an hour's patience: the reply ends because the name is wrong, not because time ran out."""
    without = start("--refuse", "NO_MODEL")
    patient = RelayLimits(poll=0.1, patience=3600)
    published = Models(chats.database, store).published
    async with Relay(chats, [without.url], limits=patient, published=published):
        message = await ended(chats, (await ask(chats, "count to 3", model="asistant")).id)
    assert message.error is not None
    assert message.error["code"] == "NO_MODEL"
    assert "'asistant'" in message.error["message"]


async def test_a_published_model_is_waited_for(chats: Chats, start: Start, store: ObjectStore) -> None:
    store.put_json("models/assistant/v1/manifest.json", {"name": "assistant", "version": "v1", "created_at": ""})
    models = Models(chats.database, store)
    assert await models.published("assistant")
    assert await models.published("assistant@v1")
    assert not await models.published("assistant@v2")
    loading = start("--refuse", "NO_MODEL")
    async with Relay(chats, [loading.url], limits=RelayLimits(poll=0.1, patience=0.5), published=models.published):
        message = await ended(chats, (await ask(chats, "count to 3")).id)
    assert message.error is not None
    assert "refused" in message.error["message"]  # the node's own words, when patience has run out


async def test_a_full_node_is_left_for_another(chats: Chats, start: Start, node: Node) -> None:
    full = start("--refuse", "QUEUE_FULL")
    async with Relay(chats, [full.url, node.url], limits=QUICK):
        replies = [await ask(chats, "count to 3") for _ in range(4)]
        messages = await asyncio.gather(*(ended(chats, reply.id) for reply in replies))
    assert {message.text for message in messages} == {counted(3)}


async def test_without_any_node_a_reply_fails_and_can_be_asked_again(chats: Chats, node: Node) -> None:
    nowhere = f"http://127.0.0.1:{embedded.free_port()}"
    async with Relay(chats, [nowhere], limits=RelayLimits(poll=0.1, patience=0.3)):
        failed = await ended(chats, (await ask(chats, "count to 3")).id)
    assert failed.state == FAILED
    assert failed.error == {"code": "UNAVAILABLE", "message": "no serving node answers; try again in a while"}
    async with Relay(chats, [node.url], limits=QUICK):
        again = await chats.regenerate("ada", failed.id)
        assert (await ended(chats, again.id)).text == counted(3)


async def test_a_reply_that_breaks_every_relay_ends(chats: Chats, node: Node) -> None:
    reply = await ask(chats, "count to 3")
    await chats.database.chat_messages.update_one({"_id": reply.id}, {"$set": {"takes": 5}})
    async with Relay(chats, [node.url], limits=QUICK):
        message = await ended(chats, reply.id)
    assert message.state == FAILED
