"""Text comes out whole whatever the tokens, and stop strings never show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.detokenize import BROKEN, LONGEST_WAIT, Detokenizer, StopStrings, overlap


class Bytes:
    """A tokenizer of one token a byte: the hardest case, where every character spans tokens."""

    def decode(self, ids, skip_special_tokens=True):
        return bytes(ids).decode("utf-8", errors="replace")


texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters=BROKEN), max_size=40)


@given(texts, texts)
def test_pieces_join_to_the_text_and_are_whole_characters(before, text):
    detokenizer = Detokenizer(Bytes(), list(before.encode()))
    pieces = [detokenizer.push(byte) for byte in text.encode()]
    assert not any(BROKEN in piece for piece in pieces)
    assert "".join(pieces) + detokenizer.rest() == text


@given(text=texts)
def test_pieces_join_to_the_text_with_a_real_tokenizer(files, text):
    ids = files.tokenizer.encode(text, add_special_tokens=False).ids
    detokenizer = Detokenizer(files.tokenizer)
    assert "".join(detokenizer.push(token) for token in ids) + detokenizer.rest() == text


def test_an_incomplete_last_character_is_not_shown():
    detokenizer = Detokenizer(Bytes())
    shown = "".join(detokenizer.push(byte) for byte in "no €".encode()[:-1])
    assert shown + detokenizer.rest() == "no "


def test_bytes_that_are_no_text_do_not_hold_the_reply_for_ever():
    detokenizer = Detokenizer(Bytes())
    pieces = [detokenizer.push(0xFF) for _ in range(LONGEST_WAIT)]
    assert pieces[-1] == BROKEN * LONGEST_WAIT


def test_a_leading_space_that_a_decoder_drops_is_kept_in_mid_text():
    class Dropping:
        def decode(self, ids, skip_special_tokens=True):
            return "".join(" word" for _ in ids).lstrip(" ")

    assert Detokenizer(Dropping(), [1]).push(1) == " word"
    assert Detokenizer(Dropping()).push(1) == "word"


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.data())
def test_text_ends_before_the_first_stop_string_however_it_is_cut(text, stops, data):
    places = [text.find(stop) for stop in stops if stop in text]
    buffer, shown, position, hit = StopStrings(stops), "", 0, False
    while position < len(text) and not hit:
        size = data.draw(st.integers(1, 5))
        piece, hit = buffer.push(text[position : position + size])
        position += size
        shown += piece
        assert not any(stop in shown for stop in stops)
    if not hit:
        shown += buffer.rest()
    assert hit == bool(places)
    assert shown == (text[: first_stop(text, stops)] if hit else text)


def first_stop(text, stops):
    """Where the text is cut: the first stop string to be complete; of several at once, the one that starts first."""
    return min((text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text)[1]


@pytest.mark.parametrize(
    ("text", "stop", "length"), [("abc", "cd", 1), ("abc", "abc", 0), ("aa", "aab", 2), ("", "x", 0)]
)
def test_overlap(text, stop, length):
    assert overlap(text, stop) == length
