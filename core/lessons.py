"""What decided messages and ranked siblings teach about those who judged them. Pure.

Each item (a message with its reviews, a set of siblings with its rankings) says a little of each of its people: a
`Lesson`. It is found once for the facts that it was found from; when a late review or ranking comes, it is found
again, and people's voices change by the difference (Neal and Hinton, see `core.reliability`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.adaptive_reviews import ReviewPolicy, label_votes
from core.opinions import Ranking, Review
from core.ranking_reliability import leave_one_out
from core.records import Message, Record
from core.reliability import tallies
from core.verdicts import ballot
from core.voices import NEWCOMER, Voice, Voices

Said = dict[str, list[float]]
"""Person -> the six sums of a voice."""


@dataclass(frozen=True, kw_only=True)
class Lesson(Record):
    """What one item says of its people. The id is `review:message` or `rank:parent`.

    Attributes:
        lesson_facts: ids of the reviews or rankings that it was found from, sorted.
        said: what has been added to people's voices.
        following: {"lesson_facts", "said"} that is about to take its place; None when all is done.
        rev: grows with every change.
    """

    tree_id: str
    lesson_facts: tuple[str, ...] = ()
    said: Said = field(default_factory=dict)
    following: dict[str, Any] | None = None
    rev: int = 0


def lessons(
    messages: Sequence[Message],
    reviews: Sequence[Review],
    rankings: Sequence[Ranking],
    policy: ReviewPolicy,
    voices: Voices,
    known: Mapping[str, Lesson],
) -> dict[str, tuple[tuple[str, ...], Said]]:
    """Lesson id -> (facts, what it says), of those items whose facts are others than those of the lesson `known`."""
    fresh: dict[str, tuple[tuple[str, ...], Said]] = {}
    by_message, by_parent = _of(reviews, "message_id"), _of(rankings, "parent_id")
    for message in messages:
        judges = by_message.get(message.id, [])
        if message.judgement is not None and (facts := _new(f"review:{message.id}", judges, known)):
            fresh[f"review:{message.id}"] = (facts, _of_reviews(judges, message.judgement["applies"], policy))
        rankers = by_parent.get(message.id, [])
        if message.consensus is not None and (facts := _new(f"rank:{message.id}", rankers, known)):
            fresh[f"rank:{message.id}"] = (facts, _of_rankings(rankers, voices))
    return fresh


def difference(before: Said, after: Said) -> dict[str, Voice]:
    """What to add to each person's voice when an item says `after` instead of `before`."""
    change: dict[str, Voice] = {}
    for person in sorted(before.keys() | after.keys()):
        old, new = before.get(person, [0.0] * 6), after.get(person, [0.0] * 6)
        change[person] = Voice.of([now - was for was, now in zip(old, new, strict=True)])
    return change


def _new(identity: str, facts: Collection[Record], known: Mapping[str, Lesson]) -> tuple[str, ...]:
    """The sorted ids of `facts`; empty where the known lesson was found from just these."""
    ids = tuple(sorted(fact.id for fact in facts))
    lesson = known.get(identity)
    return () if lesson is not None and lesson.following is None and lesson.lesson_facts == ids else ids


def _of_reviews(reviews: Sequence[Review], applies: Mapping[str, float], policy: ReviewPolicy) -> Said:
    labels = {review.user_id: review.labels for review in reviews if review.user_id is not None}
    said: dict[str, Voice] = defaultdict(Voice)
    for label, votes in label_votes(labels, policy).items():
        if label in applies:
            for person, tally in tallies(votes, applies[label]).items():
                said[person] += Voice(tally)
    return {person: list(voice.parts) for person, voice in said.items()}


def _of_rankings(rankings: Sequence[Ranking], voices: Voices) -> Said:
    votes = [each for each in rankings if each.user_id is not None and not each.not_rankable]
    ballots = {str(ranking.user_id): ballot(ranking) for ranking in votes}
    taus = {person: voices.get(person, NEWCOMER).tau for person in ballots}
    found = leave_one_out(ballots, taus)
    return {person: list(Voice(agreement=agreement).parts) for person, agreement in found.items()}


def _of(facts: Sequence[Any], key: str) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for fact in facts:
        groups[getattr(fact, key)].append(fact)
    return groups
