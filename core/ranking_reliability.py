"""How far a ranker's order can be trusted: Kendall's tau against what the others say. Pure.

M. G. Kendall, "A new measure of rank correlation" (1938). Taken against the others' consensus as it stands, tau is too
low, the more so the less the others know. So each pair of replies is held against the probability r that the others
give to it: a person whose tau against the truth is t votes, on the mean, t(2r - 1); least squares of the votes on
2r - 1 gives t. Pairs on which the others are split say nothing of anybody; gold items have 2r - 1 = 1; the prior is
some pairs more. A person is then two sums, `Agreement`, which can be added to and taken from one set of siblings at a
time. Does not know how ballots become one order (`core.weighted_consensus` does).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.ballots import Ballot
from core.errors import BadInput

WEIGHT_FLOOR = 0.01
"""Least weight of anybody."""
BEST_TAU = 0.95
"""At this tau or above a weight is 1: nobody is heard as if infallible."""
ROUNDS = 100
"""Most rounds of the batch."""
CLOSE_ENOUGH = 1e-6
"""The batch ends when nobody's tau moves further in a round."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One person's pairs against what is thought to be right.

    Attributes:
        concordance: sum over pairs of (2r - 1), negative where the person put them the other way round.
        information: sum of (2r - 1) squared: pairs of which the right order was known.
    """

    concordance: float = 0.0
    information: float = 0.0

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.concordance + other.concordance, self.information + other.information)

    def __neg__(self) -> Agreement:
        return Agreement(-self.concordance, -self.information)


@dataclass(frozen=True, slots=True)
class TauPrior:
    """What is believed of a newcomer: `tau` in (-1, 1), as firmly as `pairs` pairs of known order would."""

    tau: float = 0.6
    pairs: float = 6.0

    def __post_init__(self) -> None:
        if not -1 < self.tau < 1:
            raise BadInput(f"tau is {self.tau}; it must be between -1 and 1, both excluded", path=("tau",))
        if not 0 < self.pairs < math.inf:
            raise BadInput(f"pairs is {self.pairs}; it must be a finite number above 0", path=("pairs",))


def tau(agreement: Agreement, prior: TauPrior) -> float:
    """Estimate of Kendall's tau against the truth, in [-1, 1]."""
    concordance = prior.tau * prior.pairs + agreement.concordance
    return max(-1.0, min(1.0, concordance / (prior.pairs + agreement.information)))


def weight(value: float) -> float:
    """The weight in (0, 1] of a ballot whose ranker has this tau.

    Proportional to the log odds that the ranker has a pair right, which is best for independent votes (S. Nitzan and
    J. Paroush, "Optimal decision rules in uncertain dichotomous choice situations", 1982), and never negative: who
    ranks backwards is not heard, rather than believed in reverse.
    """
    return max(WEIGHT_FLOOR, math.atanh(max(0.0, min(BEST_TAU, value))) / math.atanh(BEST_TAU))


def leave_one_out(ballots: Mapping[str, Ballot], taus: Mapping[str, float]) -> dict[str, Agreement]:
    """What one set of siblings says of each of its rankers, each held against all others.

    Args:
        ballots: by ranker.
        taus: of every ranker, as known so far; the ballots' own weights do not count.
    """
    lean: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for person, ballot in ballots.items():
        for pair, sign in _votes(ballot).items():
            lean[pair][person] = sign * math.atanh(max(0.0, min(BEST_TAU, taus[person])))
    return {person: _held_against(_votes(ballot), lean, person) for person, ballot in ballots.items()}


def against_gold(ballot: Ballot, order: Ballot) -> Agreement:
    """What a ranking of a gold item says of its ranker; `order` is the right one."""
    right = _votes(order)
    signs = [sign * right[pair] for pair, sign in _votes(ballot).items() if pair in right]
    return Agreement(float(sum(signs)), float(len(signs)))


def estimate(
    groups: Sequence[Mapping[str, Ballot]], prior: TauPrior, gold: Mapping[str, Agreement] | None = None
) -> dict[str, Agreement]:
    """Everybody's agreement over all sets of siblings, repeated until nobody's tau moves; gold included.

    Args:
        groups: for each set of siblings, ranker -> ballot; their order does not matter.
        gold: what gold items say of people, by `against_gold`.
    """
    gold = gold or {}
    people = sorted({person for group in groups for person in group} | set(gold))
    found = {person: gold.get(person, Agreement()) for person in people}
    taus = {person: tau(agreement, prior) for person, agreement in found.items()}
    for _ in range(ROUNDS):
        parts: dict[str, list[Agreement]] = {person: [gold.get(person, Agreement())] for person in people}
        for group in groups:
            for person, agreement in leave_one_out(group, taus).items():
                parts[person].append(agreement)
        found = {person: _sum(each) for person, each in parts.items()}
        before, taus = taus, {person: tau(agreement, prior) for person, agreement in found.items()}
        if all(abs(taus[person] - before[person]) < CLOSE_ENOUGH for person in people):
            break
    return found


def _votes(ballot: Ballot) -> dict[tuple[str, str], int]:
    """(lower id, higher id) -> 1 where they are ranked so, -1 the other way round; level pairs are no vote."""
    return {(a, b) if a < b else (b, a): 1 if a < b else -1 for a, b in ballot.preferences()}


def _held_against(
    votes: Mapping[tuple[str, str], int], lean: Mapping[tuple[str, str], Mapping[str, float]], person: str
) -> Agreement:
    # tanh of half the others' log odds is 2r - 1; atanh of a tau is half of its log odds.
    sure = {
        pair: math.tanh(math.fsum(sorted(value for other, value in lean[pair].items() if other != person)))
        for pair in votes
    }
    return Agreement(
        math.fsum(sorted(sign * sure[pair] for pair, sign in votes.items())),
        math.fsum(sorted(each**2 for each in sure.values())),
    )


def _sum(parts: Iterable[Agreement]) -> Agreement:
    every = list(parts)
    return Agreement(math.fsum(each.concordance for each in every), math.fsum(each.information for each in every))
