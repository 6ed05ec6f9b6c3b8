"""From tokens to text that may be shown: whole characters only, and nothing that may yet become a stop string.

Knows that one character may span several tokens and one token several characters. Pure, but for what it remembers of
one reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

BROKEN = "�"
"""What decoders put for bytes that are no whole character."""

LONGEST_WAIT = 16
"""Tokens held for a character that does not come (one has at most 4 bytes), before they are shown as they are."""


class Decoder(Protocol):
    """The part of a tokenizer that is needed here."""

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Text of token ids."""


class Detokenizer:
    """The text of one reply, piece by piece.

    A piece is what the decoder says of a window of tokens with the new one, beyond what it says without: decoders
    treat the first token of a text apart (some drop its space), so the window starts before the new token.

    Args:
        decoder: the model's tokenizer.
        before: last tokens of the prompt, which the reply continues.
    """

    def __init__(self, decoder: Decoder, before: Sequence[int] = ()) -> None:
        self._decoder = decoder
        self._window = list(before[-LONGEST_WAIT:])
        self._shown = len(self._window)
        self._text = decoder.decode(self._window) if self._window else ""

    def push(self, token: int) -> str:
        """The text that `token` completes; empty while a character is incomplete."""
        self._window.append(token)
        text = self._decoder.decode(self._window)
        if text.endswith(BROKEN) and len(self._window) - self._shown < LONGEST_WAIT:
            return ""
        piece = text[len(self._text) :]
        self._window = self._window[self._shown :]
        self._shown = len(self._window)
        self._text = self._decoder.decode(self._window)
        return piece

    def rest(self) -> str:
        """What is still held at the end of the reply, without an incomplete last character."""
        return self._decoder.decode(self._window)[len(self._text) :].rstrip(BROKEN)


class StopStrings:
    """Lets text through until a stop string appears, and holds back an end that may be the start of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """The text that may be shown now, and whether a stop string was met (nothing more is to be shown then)."""
        if not self._stops:
            return text, False
        self._held += text
        # The one that is complete first ends the reply, so that it does not matter how the text is cut into pieces.
        met = [(place + len(stop), place) for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if met:
            return self._held[: min(met)[1]], True
        keep = max(overlap(self._held, stop) for stop in self._stops)
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown, False

    def rest(self) -> str:
        """What was held back, at the end of the reply."""
        held, self._held = self._held, ""
        return held


def overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a proper start of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
