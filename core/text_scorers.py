"""How likely a text is spam or an attack, by a scorer that can be exchanged. Stores and refuses nothing.

The usual scorer adds up signs of unsolicited advertising (links, prices, numbers to call, words that push, shouting)
with weights set by hand and puts the sum through a logistic curve. It works offline, knows mostly English, and takes a
fraction of a millisecond. docs/abuse.md tells how good it is. `OA_TEXT_SCORER=module:name` names another: a callable
without arguments that gives a `TextScorer`.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import re
from collections.abc import Mapping
from typing import Protocol

from core.errors import BadInput
from core.toxicity import toxicity


class TextScorer(Protocol):
    """Scores a text."""

    def score(self, text: str, lang: str) -> Mapping[str, float]:
        """Name of what is wrong (such as `spam`, `toxicity`) -> how likely, from 0 to 1. Must be quick and not wait."""
        ...


SIGNS: tuple[tuple[re.Pattern[str], float], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), weight)
    for pattern, weight in (
        (r"https?://|www\.|\b[\w-]{2,40}\.(?:com|co\.uk|net|org|biz|info|ru|xyz)\b", 1.6),
        (r"[£$€]\s?\d|\b\d+\s?(?:p|pence|gbp|usd|euros?)\b(?:/|\s*(?:per|a)\b)?", 1.6),
        (r"(?<!\d)\+?\d[\d \-]{8,14}\d(?!\d)", 1.8),
        (r"\b(?:call|text|txt|send|reply|dial)\b.{0,30}\b\d{4,6}\b", 1.6),
        (r"\b(?:free|prize|winner|won|claim|awarded|guaranteed|bonus|voucher|reward)\b", 1.2),
        (r"\b(?:urgent|act now|limited time|offer|expires|hurry|last chance|don't miss)\b", 1.0),
        (r"\b(?:subscribe|unsubscribe|opt.?out|stop to|t&cs?|terms apply|customer service)\b", 1.2),
        (r"\b(?:buy|cheap|discount|sale|order now|loan|casino|viagra|crypto giveaway|ringtones?)\b", 1.0),
    )
)
BASE = -2.75
"""What the sum starts from: a text without any sign scores 0.06."""
SHOUTING = 0.8
"""Weight of a text that is mostly in capitals, or full of exclamation marks."""
LOOKED_AT = 4000
"""Characters that the usual scorer looks at."""


class SignScorer:
    """The usual scorer."""

    def score(self, text: str, lang: str) -> Mapping[str, float]:
        """`spam` and `toxicity`."""
        text = text[:LOOKED_AT]
        weight = BASE + sum(weight for pattern, weight in SIGNS if pattern.search(text))
        letters = [letter for letter in text if letter.isalpha()]
        capitals = sum(letter.isupper() for letter in letters)
        if (len(letters) > 20 and capitals > 0.5 * len(letters)) or text.count("!") >= 3:
            weight += SHOUTING
        return {"spam": 1 / (1 + math.exp(-weight)), "toxicity": toxicity(text)}


@functools.cache
def chosen_scorer() -> TextScorer:
    """The scorer that `OA_TEXT_SCORER` names, or the usual one; made once."""
    return load_scorer(os.environ.get("OA_TEXT_SCORER"))


def load_scorer(name: str | None) -> TextScorer:
    """The scorer that `name` (`module:attribute`) makes, or the usual one.

    Raises:
        BadInput: there is no such thing, or it makes nothing that scores.
    """
    if not name:
        return SignScorer()
    module, _, attribute = name.partition(":")
    try:
        made: TextScorer = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise BadInput(f"OA_TEXT_SCORER is {name!r}; it must be module:name of a scorer: {error}") from error
    if not callable(getattr(made, "score", None)):
        raise BadInput(f"OA_TEXT_SCORER is {name!r}; what it makes has no method score(text, lang)")
    return made
