"""People who review and rank, of known skill, and things of known truth. Knows no rule that joins their answers.

Real trees give the shapes: their messages are reviewed, their ranked siblings ranked, and the ranks that they have are
taken for the truth. Junk is strewn in by chance. What people see of a message or a reply is blurred for each of them,
and some messages are harder for all, so that errors are not independent.
"""

from __future__ import annotations

import gzip
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.adaptive_reviews import CRITICAL

PEOPLE = 200
JUNK = 0.15
"""Part of the messages that are junk."""
JUNK_SORTS = {
    "spam": 40, "fails_task": 15, "lang_mismatch": 10, "pii": 10, "not_appropriate": 10, "hate_speech": 8,
    "sexual_content": 7,
}  # fmt: skip
"""Label -> how often among the junk."""
ASKED = ("spam", "fails_task")
"""Labels asked as questions; the others are boxes, which some leave alone."""
MOST = 5
RANKINGS = 3

Labels = dict[str, float]


@dataclass(frozen=True)
class Person:
    """How one contributor behaves; rates are probabilities, `blur` is in the units of a reply's quality."""

    kind: str
    zeal: float
    catches: float
    objects: float
    ticks: float
    boxes: float
    blur: float


@dataclass(frozen=True)
class Gold:
    """What somebody said of a message of which the verdict is known."""

    junk: str | None
    said: Labels


@dataclass(frozen=True)
class Message:
    """A message under review: what is wrong with it, if anything; what people would say of it, in order of asking.

    `gold` holds, by person, what they would be shown after it.
    """

    id: str
    junk: str | None
    reviews: tuple[tuple[int, Labels], ...]
    gold: dict[int, Gold]


@dataclass(frozen=True)
class Siblings:
    """Replies with their true order, best first, and the rankings of them."""

    tree_id: str
    truth: tuple[str, ...]
    rankings: dict[int, tuple[str, ...]]


@dataclass(frozen=True)
class World:
    """Everything that one run is about."""

    people: list[Person]
    messages: list[Message]
    siblings: list[Siblings]


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The trees of a file in export form."""
    data = path.read_bytes()
    yield from map(json.loads, (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines())


def nodes(tree: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The messages of a tree."""
    waiting = [tree["prompt"]]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.get("replies") or [])


def world(
    trees: Sequence[Mapping[str, Any]], seed: int, spammers: int = 20, backwards: int = 10, gold: float = 0.0
) -> World:
    """People, and what they say of the messages and siblings in `trees`."""
    chance, apart = random.Random(seed), random.Random(f"gold {seed}")
    kinds = ["spammer"] * spammers + ["backwards"] * backwards
    kinds += ["honest"] * (PEOPLE - len(kinds))
    people = [_person(number, kind, chance) for number, kind in enumerate(kinds)]
    messages, siblings = [], []
    for tree in trees:
        for node in nodes(tree):
            message = _message(node, people, chance)
            shown = {who: _gold(people[who], apart) for who, _ in message.reviews if apart.random() < gold}
            messages.append(replace(message, gold=shown))
            ranked = [reply for reply in node.get("replies") or [] if reply.get("rank") is not None]
            if len(ranked) > 1:
                order = tuple(reply["message_id"] for reply in sorted(ranked, key=lambda reply: reply["rank"]))
                siblings.append(_siblings(tree["message_tree_id"], order, people, chance))
    chance.shuffle(messages)
    return World(people, messages, siblings)


def _person(number: int, kind: str, chance: random.Random) -> Person:
    zeal, blur = chance.lognormvariate(0, 1), 0.6 * chance.lognormvariate(0, 0.5)
    if kind == "spammer":
        random_clicks = number % 2 * 0.5
        return Person(kind, zeal, random_clicks, random_clicks, random_clicks / 3, 1.0, blur)
    catches, objects = chance.betavariate(8.5, 1.5), chance.betavariate(1, 19)
    return Person(kind, zeal, catches, objects, objects / 5, chance.betavariate(7, 3), blur)


def _pick(people: Sequence[Person], count: int, chance: random.Random) -> list[int]:
    """Different people, the zealous more often: the `count` first to finish (Efraimidis and Spirakis, 2006)."""
    hurry = [chance.expovariate(person.zeal) for person in people]
    return sorted(range(len(people)), key=hurry.__getitem__)[:count]


def _message(node: Mapping[str, Any], people: Sequence[Person], chance: random.Random) -> Message:
    assistant = node["role"] == "assistant"
    sorts = {label: share for label, share in JUNK_SORTS.items() if assistant or label != "fails_task"}
    junk = chance.choices(list(sorts), list(sorts.values()))[0] if chance.random() < JUNK else None
    hardness = chance.gauss(0, 1)
    asked = [label for label in CRITICAL if assistant or label != "fails_task"]
    reviews = [(who, _review(people[who], junk, hardness, asked, chance)) for who in _pick(people, MOST, chance)]
    return Message(node["message_id"], junk, tuple(reviews), {})


def _gold(person: Person, chance: random.Random) -> Gold:
    junk = chance.choices(list(JUNK_SORTS), list(JUNK_SORTS.values()))[0] if chance.random() < 0.5 else None
    return Gold(junk, _review(person, junk, chance.gauss(0, 1), list(CRITICAL), chance))


def _review(person: Person, junk: str | None, hardness: float, asked: Sequence[str], chance: random.Random) -> Labels:
    boxes = chance.random() < person.boxes
    said: Labels = {}
    for label in asked:
        rate = person.catches if label == junk else person.objects if label in ASKED else person.ticks
        if person.kind != "spammer":
            rate = _shifted(rate, -hardness if label == junk else hardness)
        yes = chance.random() < rate
        if yes or boxes or label in ASKED:
            said[label] = float(yes)
    return said


def _shifted(rate: float, logits: float) -> float:
    odds = max(1e-9, min(1 - 1e-9, rate))
    return 1 / (1 + math.exp(-math.log(odds / (1 - odds)) - logits))


def _siblings(tree_id: str, order: tuple[str, ...], people: Sequence[Person], chance: random.Random) -> Siblings:
    quality = dict(zip(order, sorted((chance.gauss(0, 1) for _ in order), reverse=True), strict=True))
    rankings = {who: _ranking(people[who], quality, chance) for who in _pick(people, RANKINGS, chance)}
    return Siblings(tree_id, order, rankings)


def _ranking(person: Person, quality: Mapping[str, float], chance: random.Random) -> tuple[str, ...]:
    if person.kind == "spammer":
        return tuple(chance.sample(sorted(quality), len(quality)))
    seen = {each: value + chance.gauss(0, person.blur) for each, value in quality.items()}
    return tuple(sorted(seen, key=seen.__getitem__, reverse=person.kind == "honest"))
