"""The language that a text is in, against the one it claims; signs of an attack."""

from __future__ import annotations

import pytest

from core.config import CollectionConfig
from core.languages import other_language
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
