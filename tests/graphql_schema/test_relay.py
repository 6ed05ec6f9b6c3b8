"""Global ids, cursors and pages: what goes out comes back, what is not ours is refused by name."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadInput
from graphql_schema import relay

NAMES = st.from_regex(r"[A-Z][A-Za-z]{0,20}", fullmatch=True)
RAW = st.text(min_size=1, max_size=60).filter(lambda text: not any(0xD800 <= ord(c) <= 0xDFFF for c in text))


@given(NAMES, RAW)
def test_a_global_id_comes_back(name, raw):
    assert relay.parse_id(relay.global_id(name, raw)) == (name, raw)
    assert relay.raw_id(relay.global_id(name, raw), "Other", name) == raw


@given(RAW)
def test_a_cursor_comes_back(key):
    assert relay.decode_cursor(relay.encode_cursor(key)) == key


@given(st.text(max_size=200))
def test_anything_else_is_bad_input_or_an_id(text):
    for read in (relay.parse_id, relay.decode_cursor):
        with contextlib.suppress(BadInput):
            read(text)


def test_what_was_sent_is_quoted_but_not_all_of_it():
    with pytest.raises(BadInput) as caught:
        relay.parse_id("x" * 60_000)
    assert len(caught.value.message) < 200


def test_ids_in_the_plain_alphabet_are_taken_too():
    plain = base64.b64encode("Message:\u00ff\u00ff?>".encode()).decode()
    assert "+" in plain or "/" in plain
    assert relay.parse_id(plain) == ("Message", "\u00ff\u00ff?>")


@pytest.mark.parametrize("text", ["", "abc", "Message:1", "TWVzc2FnZQ==", "Og==", "OjE=", "é"])
def test_a_malformed_id_is_named(text):
    with pytest.raises(BadInput, match="must be an id that this API gave") as caught:
        relay.parse_id(text, path=("input", "taskId"))
    assert caught.value.path == ("input", "taskId")


def test_an_id_of_another_type_says_what_it_is_and_what_it_must_be():
    with pytest.raises(BadInput, match="the id of a Tree; it must be of Message"):
        relay.raw_id(relay.global_id("Tree", "1"), "Message")


@pytest.mark.parametrize("cursor", ["", "x", relay.global_id("Message", "1")])
def test_a_cursor_that_is_none_of_ours_is_refused(cursor):
    with pytest.raises(BadInput, match="must be an endCursor"):
        relay.decode_cursor(cursor)


@pytest.mark.parametrize("first", [0, -1, relay.MAX_FIRST + 1, 2**31 - 1])
def test_page_sizes_out_of_range_are_refused(first):
    with pytest.raises(BadInput, match=r"it must be 1 to 100"):
        relay.page_size(first)


@given(st.lists(st.text(alphabet="abc", min_size=1), unique=True, max_size=30), st.integers(1, 10))
def test_pages_put_together_are_the_list(items, first):
    seen, after = [], None
    while True:
        page = relay.slice_connection(items, first, after, key=str, node=str)
        assert len(page.edges) <= first
        seen += [edge.node for edge in page.edges]
        after = page.page_info.end_cursor
        if not page.page_info.has_next_page:
            break
    assert seen == items


def test_a_page_behind_something_that_is_gone_is_refused():
    with pytest.raises(BadInput, match="no cursor of this list"):
        relay.slice_connection(["a"], 1, relay.encode_cursor("b"), key=str, node=str)
