"""Chats over a real store: turns, durable token streams, takeover, ratings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.chat_records import COMPLETE, FAILED, STOPPED, STREAMING, ChatMessage, ChatSettings, Sampling
from core.chat_stream import MAX_CHUNK, ReplyWriter, Token, WriterLost, orphans, read_log, take
from core.chats import MAX_STREAMS, Chats
from core.errors import BadInput, Conflict, NotFound, TooMany
from core.ids import new_id
from core.records import milliseconds, now


@pytest.fixture
def chats(database: Any) -> Chats:
    return Chats(database)


async def begun(chats: Chats, text: str = "What is a kiln?", owner: str = "ada", **settings: Any) -> ChatMessage:
    """The streaming reply of a new chat."""
    chat = await chats.create(owner, ChatSettings(**settings))
    return (await chats.send(owner, chat.id, text)).reply


async def hold(chats: Chats, message_id: str) -> ReplyWriter:
    taken = await take(chats.database, chats.notices, message_id, new_id())
    assert taken is not None
    return taken


async def said(chats: Chats, *tokens: str, owner: str = "ada") -> ChatMessage:
    """A complete reply of a new chat."""
    writer = await hold(chats, (await begun(chats, owner=owner)).id)
    for token in tokens:
        writer.say(token)
    return await writer.finish(COMPLETE)


async def gather(stream: AsyncIterator[Token | ChatMessage]) -> tuple[list[Token], ChatMessage]:
    events = [event async for event in stream]
    assert isinstance(events[-1], ChatMessage)
    return [event for event in events if isinstance(event, Token)], events[-1]


async def expire(chats: Chats, message_id: str) -> None:
    """What time does to a writer that is silent for longer than its lease."""
    past = {"$set": {"lease_until": milliseconds(now()) - 1000}}
    await chats.database.chat_messages.update_one({"_id": message_id}, past)


async def test_a_chat_is_its_owners_alone(chats: Chats) -> None:
    reply = await begun(chats)
    for attempt in (
        chats.chat("eve", reply.chat_id),
        chats.messages("eve", reply.chat_id),
        chats.send("eve", reply.chat_id, "hello"),
        chats.message("eve", reply.id),
        chats.thread("eve", reply.id),
        chats.regenerate("eve", reply.id),
        chats.edit("eve", reply.prompt_id, "hello"),
        chats.stop("eve", reply.id),
        chats.rate("eve", reply.id, 1),
        chats.update("eve", reply.chat_id, ChatSettings()),
        gather(chats.tokens("eve", reply.id)),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert (await chats.message("ada", reply.id)).state == STREAMING


async def test_pages_run_from_new_to_old_without_gaps(chats: Chats) -> None:
    made = [(await chats.create("ada", ChatSettings(title=str(index)))).id for index in range(7)]
    await chats.create("bob", ChatSettings())
    seen: list[str] = []
    while page := await chats.page("ada", first=3, after=seen[-1] if seen else None):
        seen += [chat.id for chat in page]
    assert sorted(seen) == sorted(made)
    assert seen == sorted(made, reverse=True)


async def test_settings_come_back_as_set(chats: Chats) -> None:
    settings = ChatSettings("T", "pt-BR", "assistant@v1", "Be brief.", Sampling(0.1, 0.5, 9), True)
    chat = await chats.create("ada", settings)
    assert await chats.chat("ada", chat.id) == chat
    changed = await chats.update("ada", chat.id, ChatSettings(title="other"))
    assert await chats.chat("ada", chat.id) == changed
    assert (changed.title, changed.model, changed.created_at) == ("other", "assistant", chat.created_at)


async def test_a_first_prompt_titles_the_chat(chats: Chats) -> None:
    reply = await begun(chats, "Tell me about kilns\nand glazes")
    assert (await chats.chat("ada", reply.chat_id)).title == "Tell me about kilns"


async def test_repeats_with_one_key_answer_the_same(chats: Chats) -> None:
    chat = await chats.create("ada", ChatSettings(), idempotency_key="c")
    assert (await chats.create("ada", ChatSettings(title="again"), idempotency_key="c")).id == chat.id
    assert (await chats.create("bob", ChatSettings(), idempotency_key="c")).id != chat.id
    first = await chats.send("ada", chat.id, "hello", idempotency_key="m")
    again = await asyncio.gather(*(chats.send("ada", chat.id, "hello", idempotency_key="m") for _ in range(5)))
    assert {exchange.reply.id for exchange in again} == {first.reply.id}
    assert len(await chats.messages("ada", chat.id)) == 2
    with pytest.raises(Conflict):
        await chats.send("ada", chat.id, "other", idempotency_key="m")


async def test_a_repeat_completes_what_broke_off(chats: Chats) -> None:
    chat = await chats.create("ada", ChatSettings())
    first = await chats.send("ada", chat.id, "hello", idempotency_key="m")
    await chats.database.chat_messages.delete_one({"_id": first.reply.id})
    again = await chats.send("ada", chat.id, "hello", idempotency_key="m")
    assert again.reply.id == first.reply.id
    assert (await chats.message("ada", again.reply.id)).state == STREAMING


async def test_turns_follow_each_other(chats: Chats) -> None:
    first = await said(chats, "A kiln ", "burns clay.")
    second = await chats.send("ada", first.chat_id, "How hot?")
    assert second.prompt.parent_id == first.id
    texts = [message.text for message in await chats.thread("ada", second.reply.id)]
    assert texts == ["What is a kiln?", "A kiln burns clay.", "How hot?", ""]
    with pytest.raises(Conflict, match="still streaming"):
        await chats.send("ada", first.chat_id, "And?")


async def test_editing_and_regenerating_make_siblings(chats: Chats) -> None:
    first = await said(chats, "A kiln.")
    edited = await chats.edit("ada", first.prompt_id, "What is a kilt?")
    assert edited.prompt.parent_id is None
    other = await chats.regenerate("ada", first.id)
    assert other.parent_id == first.prompt_id
    assert other.id not in (first.id, edited.reply.id)
    with pytest.raises(BadInput, match="only your own messages"):
        await chats.edit("ada", first.id, "x")


async def test_regenerating_with_a_key_begins_one_reply(chats: Chats) -> None:
    first = await said(chats, "A kiln.")
    begun_ids = {(await chats.regenerate("ada", first.id, idempotency_key="k")).id for _ in range(3)}
    assert len(begun_ids) == 1


async def test_replies_that_stream_at_once_are_bounded(chats: Chats) -> None:
    first = await said(chats, "A kiln.")
    for _ in range(MAX_STREAMS):
        await chats.regenerate("ada", first.id)
    with pytest.raises(TooMany):
        await chats.regenerate("ada", first.id)


@pytest.mark.parametrize(
    ("text", "code"), [("", "TEXT_EMPTY"), (" \n\u200b", "TEXT_EMPTY"), ("x" * 8001, "TEXT_TOO_LONG")]
)
async def test_bad_texts_are_refused(chats: Chats, text: str, code: str) -> None:
    chat = await chats.create("ada", ChatSettings())
    with pytest.raises(BadInput) as refusal:
        await chats.send("ada", chat.id, text)
    assert refusal.value.code == code
    assert await chats.messages("ada", chat.id) == []


async def test_a_prompt_follows_an_ended_reply_only(chats: Chats) -> None:
    reply = await begun(chats)
    for parent in (reply.id, reply.prompt_id):
        with pytest.raises(BadInput, match="no ended reply"):
            await chats.send("ada", reply.chat_id, "And?", parent_id=parent)
    with pytest.raises(NotFound):
        await chats.send("ada", reply.chat_id, "And?", parent_id="nowhere")


async def test_a_reader_that_comes_back_misses_nothing(chats: Chats) -> None:
    tokens = [f"t{number} " for number in range(1, 3 * MAX_CHUNK + 7)]
    ended = await said(chats, *tokens)
    assert ended.seq == len(tokens)
    assert ended.text == "".join(tokens)
    for after in (0, 1, MAX_CHUNK - 1, MAX_CHUNK, MAX_CHUNK + 1, len(tokens) - 1, len(tokens)):
        rest, message = await gather(chats.tokens("ada", ended.id, after))
        assert [token.text for token in rest] == tokens[after:]
        assert [token.seq for token in rest] == list(range(after + 1, len(tokens) + 1))
        assert message == ended


async def test_two_live_readers_see_the_same(chats: Chats) -> None:
    reply = await begun(chats)
    writer = await hold(chats, reply.id)
    elsewhere = Chats(chats.database)  # another process: not woken, it polls
    readers = [asyncio.create_task(gather(each.tokens("ada", reply.id))) for each in (chats, elsewhere)]
    for number in range(40):
        writer.say(f"{number} ")
        await writer.flush()
    await writer.finish(COMPLETE)
    one, two = await asyncio.gather(*readers)
    assert one == two
    assert [token.text for token in one[0]] == [f"{number} " for number in range(40)]


async def test_a_reader_whose_log_is_gone_still_gets_the_text(chats: Chats) -> None:
    ended = await said(chats, "A ", "kiln.")
    await chats.database.chat_chunks.delete_many({})
    tokens, message = await gather(chats.tokens("ada", ended.id))
    assert tokens == []
    assert message.text == "A kiln."


async def test_a_silent_writers_reply_goes_to_another_with_all_that_was_said(chats: Chats) -> None:
    reply = await begun(chats)
    silent = await hold(chats, reply.id)
    silent.say("A kiln ")
    await silent.flush()
    silent.say("never flushed")
    assert await take(chats.database, chats.notices, reply.id, new_id()) is None
    await expire(chats, reply.id)
    assert [orphan.message_id for orphan in await orphans(chats.database)] == [reply.id]
    other = await hold(chats, reply.id)
    assert other.text == "A kiln "
    other.say("burns clay.")
    await other.flush()
    with pytest.raises(WriterLost):
        await silent.flush()
    with pytest.raises(WriterLost):
        await silent.beat()
    with pytest.raises(WriterLost):
        await silent.finish(FAILED)
    ended = await other.finish(COMPLETE)
    tokens, message = await gather(chats.tokens("ada", reply.id))
    assert "".join(token.text for token in tokens) == ended.text == message.text == "A kiln burns clay."


async def test_of_many_takers_one_gets_the_reply(chats: Chats) -> None:
    reply = await begun(chats)
    taken = await asyncio.gather(*(take(chats.database, chats.notices, reply.id, new_id()) for _ in range(16)))
    assert sum(each is not None for each in taken) == 1


async def test_a_released_reply_is_free_at_once(chats: Chats) -> None:
    reply = await begun(chats)
    writer = await hold(chats, reply.id)
    writer.say("A ")
    writer.say("kiln")
    await writer.release()
    assert (await hold(chats, reply.id)).text == "A kiln"


async def test_stop_ends_what_nobody_writes(chats: Chats) -> None:
    reply = await begun(chats)
    stopped = await chats.stop("ada", reply.id)
    assert stopped.state == STOPPED
    assert await orphans(chats.database) == []
    assert (await chats.stop("ada", reply.id)) == stopped


async def test_a_writer_learns_of_a_stop(chats: Chats) -> None:
    reply = await begun(chats)
    writer = await hold(chats, reply.id)
    asked = asyncio.create_task(chats.stop("ada", reply.id))
    while not writer.stopping:
        await writer.beat()
    writer.say("A ki")
    await writer.finish(STOPPED)
    assert ((await asked).state, (await asked).text) == (STOPPED, "A ki")


async def test_folding_never_runs_ahead_of_the_log(chats: Chats) -> None:
    reply = await begun(chats)
    writer = await hold(chats, reply.id)
    writer.say("A ")
    await writer.flush()
    writer.say("kiln")
    await writer.beat()
    folded = await chats.message("ada", reply.id)
    assert (folded.text, folded.seq) == ("A ", 1)
    assert await read_log(chats.database, reply.id) == [Token(1, "A ")]


@pytest.mark.parametrize("score", [2, -2, 7])
async def test_scores_out_of_range_are_refused(chats: Chats, score: int) -> None:
    ended = await said(chats, "A kiln.")
    with pytest.raises(BadInput, match="score"):
        await chats.rate("ada", ended.id, score)


async def test_only_ended_replies_are_rated(chats: Chats) -> None:
    reply = await begun(chats)
    for message_id in (reply.id, reply.prompt_id):
        with pytest.raises(BadInput, match="no ended reply"):
            await chats.rate("ada", message_id, 1)


async def test_a_rating_is_kept_with_its_reason(chats: Chats) -> None:
    ended = await said(chats, "A kiln.")
    rated = await chats.rate("ada", ended.id, -1, "too short")
    assert (rated.score, rated.score_reason) == (-1, "too short")
    assert (await chats.rate("ada", ended.id, 0)).score == 0
