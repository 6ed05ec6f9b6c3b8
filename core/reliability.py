"""How far a reviewer's yes or no can be trusted: Dawid and Skene's model, batch and incremental. Pure.

A. P. Dawid and A. M. Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm" (1979), for
yes/no questions ("is this spam?"), with Beta priors, so that a newcomer is the average person and nobody is infallible.
A person's two error rates are shared by all questions; how often the answer is yes is each question's own. The
incremental form follows R. M. Neal and G. E. Hinton, "A view of the EM algorithm that justifies incremental, sparse,
and other variants" (1998): a store keeps one `Tally` a person and adds `change(...)` when the votes on a thing change;
it rests where the batch does.

Knows votes and people by id; does not know messages, labels or when to stop asking (`core.adaptive_reviews` does).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from core.errors import BadInput

WEIGHT_FLOOR = 0.01
"""Least weight of anybody: nobody's vote is thrown away by a computation alone."""
ROUNDS = 200
"""Most rounds of the batch."""
CLOSE_ENOUGH = 1e-6
"""The batch ends when no answer's probability moves further in a round."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Expected counts of one person's answers: what is true is known only with a probability.

    Attributes:
        caught, missed: yes and no where yes was right.
        passed, blamed: no and yes where no was right.
    """

    caught: float = 0.0
    missed: float = 0.0
    passed: float = 0.0
    blamed: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.caught + other.caught, self.missed + other.missed,
            self.passed + other.passed, self.blamed + other.blamed,
        )  # fmt: skip

    def __neg__(self) -> Tally:
        return Tally(-self.caught, -self.missed, -self.passed, -self.blamed)


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of a newcomer, as counts of right and wrong answers; the sums say how firmly.

    Attributes:
        caught, missed: where yes is right.
        passed, blamed: where no is right.
        base_strength: answers that a question's configured base rate is worth.
    """

    caught: float = 3.0
    missed: float = 1.0
    passed: float = 19.0
    blamed: float = 1.0
    base_strength: float = 40.0

    def __post_init__(self) -> None:
        for name in ("caught", "missed", "passed", "blamed", "base_strength"):
            if not 0 < getattr(self, name) < math.inf:
                raise BadInput(f"{name} is {getattr(self, name)}; it must be a finite number above 0", path=(name,))


@dataclass(frozen=True, slots=True)
class Skill:
    """One person's rates of right answers.

    Attributes:
        sensitivity: P(says yes | yes is right), inside (0, 1).
        specificity: P(says no | no is right), inside (0, 1).
    """

    sensitivity: float
    specificity: float

    def evidence(self, yes: bool) -> float:
        """Natural logarithm of the odds that this answer gives to yes.

        Never the opposite of what the person said: who is wrong more often than chance is not heard, rather than
        believed in reverse, for that could be played.
        """
        if yes:
            return max(0.0, math.log(self.sensitivity / (1 - self.specificity)))
        return min(0.0, math.log((1 - self.sensitivity) / self.specificity))

    @property
    def weight(self) -> float:
        """In (0, 1]: Youden's J, sensitivity + specificity - 1 (W. J. Youden, 1950): 0 is chance, 1 never wrong."""
        return max(WEIGHT_FLOOR, self.sensitivity + self.specificity - 1)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One yes/no question about one thing.

    Attributes:
        question: its sort; sorts differ in how often the answer is yes.
        votes: person -> said yes. Who did not answer is not in it.
        known: the right answer of a gold item; None where it must be found.
    """

    question: str
    votes: Mapping[str, bool]
    known: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What the batch found.

    Attributes:
        tallies: by person.
        base_rates: P(yes) by question, gold items not counted.
        answers: P(yes is right) for each item, in the order given; 0 or 1 for gold items.
    """

    tallies: dict[str, Tally] = field(default_factory=dict)
    base_rates: dict[str, float] = field(default_factory=dict)
    answers: list[float] = field(default_factory=list)


def skill(tally: Tally, prior: Prior) -> Skill:
    """Mean of the Beta posteriors of a person's two rates."""
    caught, missed = prior.caught + tally.caught, prior.missed + tally.missed
    passed, blamed = prior.passed + tally.passed, prior.blamed + tally.blamed
    return Skill(caught / (caught + missed), passed / (passed + blamed))


def base_rate(configured: float, yes: float, items: float, prior: Prior) -> float:
    """P(yes) of a question: the configured rate, and `yes` expected among `items` seen."""
    return (configured * prior.base_strength + yes) / (prior.base_strength + items)


def answer(votes: Mapping[str, bool], skills: Mapping[str, Skill], rate: float) -> float:
    """P(yes is right) after `votes`, errors being independent; `skills` holds every voter. Order does not matter."""
    terms = sorted(skills[person].evidence(yes) for person, yes in votes.items())
    return 0.5 * (1 + math.tanh((math.log(rate / (1 - rate)) + math.fsum(terms)) / 2))


def tallies(votes: Mapping[str, bool], probability: float) -> dict[str, Tally]:
    """What one item says of each of its voters, yes being right with `probability`."""
    return {
        person: Tally(caught=probability, blamed=1 - probability)
        if yes
        else Tally(missed=probability, passed=1 - probability)
        for person, yes in votes.items()
    }


def change(
    before: Mapping[str, bool], was: float, after: Mapping[str, bool], now: float
) -> dict[str, Tally]:  # fmt: skip
    """What to add to each person's tally when an item's votes and probability of yes become others."""
    result = tallies(after, now)
    for person, old in tallies(before, was).items():
        result[person] = result.get(person, Tally()) + -old
    return result


def estimate(items: Sequence[Item], base_rates: Mapping[str, float], prior: Prior) -> Estimate:
    """Everybody's tally, by EM from the priors.

    Args:
        items: their order does not matter.
        base_rates: configured P(yes) of every question, inside (0, 1).

    Raises:
        BadInput: a question has no base rate, or one out of range.
    """
    check_rates({item.question for item in items}, base_rates)
    found = Estimate(base_rates=dict(base_rates), answers=[-1.0] * len(items))
    for _ in range(ROUNDS):
        after = _round(items, base_rates, prior, found)
        moved = max((abs(new - old) for new, old in zip(after.answers, found.answers, strict=True)), default=0.0)
        found = after
        if moved < CLOSE_ENOUGH:
            break
    return found


def check_rates(questions: Iterable[str], base_rates: Mapping[str, float]) -> None:
    """Every question has a base rate inside (0, 1); raises `BadInput` otherwise."""
    for question in sorted(questions):
        rate = base_rates.get(question)
        if rate is None or not 0 < rate < 1:
            message = f"base rate of {question!r} is {rate}; it must be between 0 and 1, both excluded"
            raise BadInput(message, path=("base_rates", question))


def _round(items: Sequence[Item], base_rates: Mapping[str, float], prior: Prior, known: Estimate) -> Estimate:
    """E step: the answers, given the people. M step: the people, given the answers."""
    people = {person for item in items for person in item.votes}
    skills = {person: skill(known.tallies.get(person, Tally()), prior) for person in people}
    answers = [
        float(item.known) if item.known is not None else answer(item.votes, skills, known.base_rates[item.question])
        for item in items
    ]
    terms: dict[str, list[Tally]] = {person: [] for person in sorted(people)}
    for item, probability in zip(items, answers, strict=True):
        for person, tally in tallies(item.votes, probability).items():
            terms[person].append(tally)
    return Estimate(
        tallies={person: _sum(each) for person, each in terms.items()},
        base_rates=_base_rates(items, answers, base_rates, prior),
        answers=answers,
    )


def _base_rates(
    items: Sequence[Item], answers: Sequence[float], configured: Mapping[str, float], prior: Prior
) -> dict[str, float]:
    seen: dict[str, list[float]] = {question: [] for question in configured}
    for item, probability in zip(items, answers, strict=True):
        if item.known is None:
            seen[item.question].append(probability)
    return {
        question: base_rate(configured[question], math.fsum(yes), len(yes), prior) for question, yes in seen.items()
    }


def _sum(terms: Sequence[Tally]) -> Tally:
    """Exact but for one rounding, so that the order of items cannot show."""
    return Tally(
        math.fsum(each.caught for each in terms), math.fsum(each.missed for each in terms),
        math.fsum(each.passed for each in terms), math.fsum(each.blamed for each in terms),
    )  # fmt: skip
