"""The pure rules of chats: threads, siblings, settings, texts, cursors of events."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.chat_records import (
    ASSISTANT,
    COMPLETE,
    FAILED,
    PROMPTER,
    STOPPED,
    STREAMING,
    Chat,
    ChatMessage,
    ChatSettings,
    Sampling,
    check_model,
    check_text,
    derived_id,
    drafts_of,
    next_parent,
    ordered,
    thread_to,
    title_of,
)
from core.errors import BadInput, Conflict, NotFound

START = datetime(2026, 1, 1, tzinfo=UTC)


def message(name: str, parent: str | None, role: Any, at: int, text: str = "t", **about: Any) -> ChatMessage:
    when = START + timedelta(seconds=at)
    state = about.pop("state", COMPLETE)
    return ChatMessage(name, "chat", parent, "ada", role, text, state, when, **about)


@st.composite
def chats(draw: st.DrawFn) -> list[ChatMessage]:
    """A tree of turns, prompts and replies alternating, in any order."""
    made: list[ChatMessage] = []
    for index in range(draw(st.integers(1, 25))):
        parent = draw(st.sampled_from([None, *made]))
        role = PROMPTER if parent is None or parent.role == ASSISTANT else ASSISTANT
        states = [COMPLETE] if role == PROMPTER else [COMPLETE, STOPPED, FAILED]
        text = draw(st.sampled_from(["", " ", "a", "b", "a "])) if role == ASSISTANT else "ask"
        state = draw(st.sampled_from(states))
        made.append(message(f"m{index}", parent and parent.id, role, index, text, state=state))
    random.Random(draw(st.integers())).shuffle(made)
    return made


@settings(deadline=None)
@given(chats())
def test_a_thread_alternates_from_a_first_prompt_to_its_end(messages: list[ChatMessage]) -> None:
    for each in messages:
        thread = thread_to(messages, each.id)
        assert thread[0].parent_id is None
        assert thread[-1] == each
        assert [turn.role for turn in thread] == [(PROMPTER, ASSISTANT)[place % 2] for place in range(len(thread))]
        assert all(after.parent_id == before.id for before, after in pairwise(thread))


@settings(deadline=None)
@given(chats())
def test_a_prompt_follows_the_newest_reply_that_has_a_text(messages: list[ChatMessage]) -> None:
    parent = next_parent(messages)
    usable = [each for each in messages if each.role == ASSISTANT and each.usable]
    assert (parent is None) == (not usable)
    assert parent is None or max(usable, key=lambda each: each.created_at).id == parent


@settings(deadline=None)
@given(chats())
def test_drafts_are_complete_siblings_that_differ(messages: list[ChatMessage]) -> None:
    for prompt in (each for each in messages if each.role == PROMPTER):
        drafts = drafts_of(messages, prompt.id)
        assert len({draft.text.strip() for draft in drafts}) == len(drafts)
        assert all(draft.parent_id == prompt.id and draft.state == COMPLETE and draft.text.strip() for draft in drafts)
        texts = {each.text.strip() for each in messages if each.parent_id == prompt.id and each.state == COMPLETE}
        assert {draft.text.strip() for draft in drafts} == texts - {""}


@settings(deadline=None)
@given(chats())
def test_order_does_not_depend_on_arrival(messages: list[ChatMessage]) -> None:
    assert ordered(messages) == ordered(reversed(messages))


def test_a_streaming_reply_is_waited_for() -> None:
    turns = [message("p", None, PROMPTER, 0), message("r", "p", ASSISTANT, 1, state=STREAMING)]
    with pytest.raises(Conflict, match="still streaming"):
        next_parent(turns)


def test_a_draft_that_nobody_asked_for_is_not_gone_on_from() -> None:
    turns = [
        message("p", None, PROMPTER, 0),
        message("r", "p", ASSISTANT, 1),
        message("d", "p", ASSISTANT, 2, draft=True, state=STREAMING),
    ]
    assert next_parent(turns) == "r"


def test_a_thread_with_a_missing_turn_is_refused() -> None:
    with pytest.raises(NotFound, match="'gone'"):
        thread_to([message("r", "gone", ASSISTANT, 1)], "r")


@settings(deadline=None)
@given(st.builds(Sampling, st.floats(0, 2), st.floats(0, 1, exclude_min=True), st.integers(1, 4096)))
def test_records_come_back_from_their_documents(sampling: Sampling) -> None:
    chat = Chat("c", "ada", "T", "en", "assistant", "", sampling, True, START, START)
    assert Chat.from_document(chat.to_document()) == chat
    reply = message("r", "p", ASSISTANT, 1, error={"code": "X", "message": "y"}, finished_at=START)
    assert ChatMessage.from_document({**reply.to_document(), "writer": "w", "lease_until": 7}) == reply


@pytest.mark.parametrize(
    "wrong", [{"temperature": -0.1}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_p": 1.1}, {"max_tokens": 0}]
)
def test_sampling_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="must be") as refusal:
        Sampling(**wrong)
    assert refusal.value.path == ("sampling", *wrong)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"title": "x" * 101}, "title"),
        ({"system_prompt": "x" * 4001}, "system_prompt"),
        ({"model": "../x"}, "model"),
        ({"lang": "english"}, "lang"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as refusal:
        ChatSettings(**wrong)
    assert refusal.value.path == (field,)


@pytest.mark.parametrize("model", ["assistant", "a@b", "my.model-1_x@2f00aa", "0@0"])
def test_good_model_names(model: str) -> None:
    assert check_model(model) == model


@pytest.mark.parametrize("model", ["", "@", "a@", "@b", "A", "a b", "a@b@c", "a/b", "a\n"])
def test_bad_model_names(model: str) -> None:
    with pytest.raises(BadInput, match="name@version"):
        check_model(model)


SEEN = st.characters(categories=["L", "N", "P", "S"], exclude_characters="\u115f\u1160\u2800\u3164\uffa0")
UNSEEN = st.text(st.characters(categories=["Cc", "Cf", "Z", "Mn", "Me"]), max_size=100)


@settings(deadline=None)
@given(UNSEEN, SEEN, st.text(max_size=100))
def test_texts_in_which_something_is_seen_are_trimmed(before: str, seen: str, after: str) -> None:
    assert check_text(before + seen + after) == (before + seen + after).strip()


@settings(deadline=None)
@given(UNSEEN)
def test_texts_in_which_nothing_is_seen_are_refused(text: str) -> None:
    with pytest.raises(BadInput) as refusal:
        check_text(text)
    assert refusal.value.code == "TEXT_EMPTY"


@settings(deadline=None)
@given(st.text(max_size=200))
def test_titles_are_one_short_line(text: str) -> None:
    title = title_of(text)
    assert len(title) <= 60
    assert len(title.splitlines()) <= 1


@settings(deadline=None)
@given(st.lists(st.text(max_size=5), min_size=1, max_size=4), st.lists(st.text(max_size=5), min_size=1, max_size=4))
def test_ids_follow_from_their_parts_and_differ_with_them(one: list[str], other: list[str]) -> None:
    assert derived_id(*one) == derived_id(*one)
    if "\x1f".join(one) != "\x1f".join(other):
        assert derived_id(*one) != derived_id(*other)
