"""How sure an order of replies is: Bradley-Terry strengths with their uncertainty. Pure.

R. A. Bradley and M. E. Terry (1952): a ranker puts i before j with probability sigmoid(s_i - s_j). Strengths are the
maximum of the posterior under a normal prior, which keeps them finite where nobody disagrees; uncertainty is Laplace's
approximation at that maximum. A ballot of k ids breaks into k(k-1)/2 pairs (H. Azari Soufiani and others, "Generalized
method-of-moments for rank aggregation", 2013), which are not independent: it holds k-1 comparisons, so each of its
pairs counts 2/k. A tie is half a win for either. Sized for siblings: the cost grows with the cube of their number.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from core.ballots import Ballot

PRIOR_DEVIATION = 1.5
"""Standard deviation of a strength before any ballot, in logits."""
CLOSE_ENOUGH = 1e-10
"""Newton's steps end when none is longer, in logits."""
MOST_STEPS = 200
Matrix = list[list[float]]


@dataclass(frozen=True, slots=True)
class Confidence:
    """How sure one id stands before another.

    Attributes:
        probability: that a fresh ranker of weight 1 puts `first` before `second`; `low` and `high` bound it.
        sure: posterior probability that `first` is the stronger.
    """

    first: str
    second: str
    probability: float
    low: float
    high: float
    sure: float


def wins(ballots: Iterable[Ballot]) -> dict[tuple[str, str], float]:
    """(winner, loser) -> weighted comparisons won; sums do not depend on the order of the ballots."""
    terms: dict[tuple[str, str], list[float]] = defaultdict(list)
    for ballot in ballots:
        share = 2 * ballot.weight / max(1, len(ballot.ids))
        for pair in ballot.preferences():
            terms[pair].append(share)
        for first, second in ballot.ties():
            terms[first, second].append(share / 2)
            terms[second, first].append(share / 2)
    return {pair: math.fsum(sorted(values)) for pair, values in terms.items()}


def confidences(order: Sequence[str], ballots: Iterable[Ballot], level: float = 0.95) -> tuple[Confidence, ...]:
    """One for each two neighbours in `order`; `level` is the probability that an interval should hold."""
    won = wins(ballots)
    strengths = fit(order, won)
    covariance = _inverse(_curvature(order, won, strengths))
    width = NormalDist().inv_cdf((1 + level) / 2)
    result = []
    for above in range(len(order) - 1):
        below = above + 1
        gap = strengths[above] - strengths[below]
        variance = covariance[above][above] + covariance[below][below] - 2 * covariance[above][below]
        error = math.sqrt(variance)
        low, high = _sigmoid(gap - width * error), _sigmoid(gap + width * error)
        sure = NormalDist().cdf(gap / error)
        result.append(Confidence(order[above], order[below], _sigmoid(gap), low, high, sure))
    return tuple(result)


def fit(items: Sequence[str], won: Mapping[tuple[str, str], float]) -> list[float]:
    """The strength of each item in logits, by Newton's method; 0 is average."""
    strengths = [0.0] * len(items)
    for _ in range(MOST_STEPS):
        slope = _slope(items, won, strengths)
        inverse = _inverse(_curvature(items, won, strengths))
        steps = [math.fsum(cell * each for cell, each in zip(row, slope, strict=True)) for row in inverse]
        # A step of more than one logit may overshoot where the curve is flat.
        strengths = [now + max(-1.0, min(1.0, step)) for now, step in zip(strengths, steps, strict=True)]
        if all(abs(step) < CLOSE_ENOUGH for step in steps):
            break
    return strengths


def _slope(items: Sequence[str], won: Mapping[tuple[str, str], float], strengths: Sequence[float]) -> list[float]:
    """Gradient of the log posterior."""
    slope = [-strength / PRIOR_DEVIATION**2 for strength in strengths]
    for i, first in enumerate(items):
        for j, second in enumerate(items):
            surprise = won.get((first, second), 0.0) * _sigmoid(strengths[j] - strengths[i])
            slope[i] += surprise
            slope[j] -= surprise
    return slope


def _curvature(items: Sequence[str], won: Mapping[tuple[str, str], float], strengths: Sequence[float]) -> Matrix:
    """Negative Hessian of the log posterior: positive definite, thanks to the prior."""
    matrix = [[0.0] * len(items) for _ in items]
    for i, first in enumerate(items):
        matrix[i][i] += PRIOR_DEVIATION**-2
        for j, second in enumerate(items):
            if i != j:
                games = won.get((first, second), 0.0) + won.get((second, first), 0.0)
                chance = _sigmoid(strengths[i] - strengths[j])
                matrix[i][j] -= games * chance * (1 - chance)
                matrix[i][i] += games * chance * (1 - chance)
    return matrix


def _inverse(matrix: Matrix) -> Matrix:
    """Gauss-Jordan without pivoting, which a positive definite matrix does not need."""
    size = len(matrix)
    rows = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for i, pivot in enumerate(rows):
        rows[i] = pivot = [cell / pivot[i] for cell in pivot]
        for j, row in enumerate(rows):
            if i != j and row[i]:
                rows[j] = [cell - row[i] * above for cell, above in zip(row, pivot, strict=True)]
    return [row[size:] for row in rows]


def _sigmoid(logit: float) -> float:
    return 0.5 * (1 + math.tanh(logit / 2))
