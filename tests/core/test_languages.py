"""The language that a text is in, against the one it claims; signs of an attack."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import CollectionConfig
from core.languages import _classified, _identifier, other_language
from core.screening import extra_reviews, screen
from core.toxicity import toxicity

GERMAN = (
    "Hefe lässt den Teig aufgehen, weil sie Zucker in Gas verwandelt; Salz bremst sie dabei, deshalb gibt man es "
    "am besten erst nach dem ersten Kneten dazu."
)
CODE = "```python\nfor each in things:\n    print(each, file=output)\n" + "    total += each.size\n" * 9 + "```"


@pytest.mark.parametrize(
    ("text", "claimed", "found"),
    [
        (GERMAN, "de", None),
        (GERMAN, "de-AT", None),
        (GERMAN, "en", "de"),
        (GERMAN, "lb", None),  # too like each other
        (GERMAN, "tlh", None),  # not known
        (GERMAN[:60], "en", None),  # short
        (CODE, "de", None),
        (f"{GERMAN}\n\n{CODE}", "de", None),
    ],
)
async def test_a_language_is_doubted_only_where_it_is_clear(text, claimed, found) -> None:
    assert await other_language(text, claimed, 0.99) == found


@given(st.text(min_size=1, max_size=300))
def test_the_most_probable_language_is_that_of_the_library(text) -> None:
    language, probability = _identifier().classify(text)
    found, how_probable = _classified(_identifier(), text)
    assert how_probable == pytest.approx(float(probability), abs=1e-3)
    assert found == language or how_probable < 0.5 + 1e-3, "as probable as another"


async def test_what_is_sure_depends_on_the_collection() -> None:
    assert await other_language(GERMAN, "en", 1.1) is None


def test_another_language_wants_one_more_review() -> None:
    config = CollectionConfig()
    found = screen("u", "t", {}, (), (), "de")
    assert found.suspicions(config) == ("lang:de",)
    assert extra_reviews(found, config) == config.suspicious_reviews > 0
    assert extra_reviews(screen("u", "t", {}, (), ()), config) == 0


@pytest.mark.parametrize("text", ["kill yourself", "You are such a pathetic idiot.", "I will kill you!", "FUCK YOU"])
def test_an_attack_is_suspicious(text) -> None:
    assert toxicity(text) >= 0.5


@pytest.mark.parametrize(
    "text",
    ["", "How do I kill a process on Linux?", "What the fuck is a monad?", "Who wrote The Idiot?", "You die once."],
)
def test_crude_or_grim_words_alone_are_not(text) -> None:
    assert toxicity(text) < 0.5
