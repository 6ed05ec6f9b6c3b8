"""How far rankers agree: Krippendorff's alpha on an ordinal scale, per set of siblings and pooled. Pure.

K. Krippendorff, "Computing Krippendorff's alpha-reliability" (2011). A unit is a reply, a value where one ranker put
it. 1 is full agreement, 0 what chance gives, less is systematic disagreement. Rankings of different length meet on
the scale of `Ballot.positions`; for complete ones that is their rank.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from typing import NamedTuple

from core.ballots import Ballot

DIGITS = 9
"""Decimals to which two positions are the same value."""


class Disagreement(NamedTuple):
    """Sums that can be added up over sets of siblings.

    Attributes:
        observed: disagreement within units, times `values`.
        by_chance: disagreement of values drawn with replacement, times `values`.
        values: those in units that have two or more.
    """

    observed: float
    by_chance: float
    values: int


def alpha(units: Iterable[Sequence[float]]) -> float | None:
    """Ordinal alpha of the values that each unit was given; None where nothing can disagree."""
    return alpha_of([disagreement(units)])


def ranking_alpha(ballots: Iterable[Ballot]) -> float | None:
    """Alpha of one set of siblings; weights do not count, for agreement is about people, not about the result."""
    return pooled_alpha([list(ballots)])


def pooled_alpha(groups: Iterable[Iterable[Ballot]]) -> float | None:
    """Alpha over many sets of siblings; ranks are compared within each set alone, larger sets count more."""
    return alpha_of([disagreement(_units(ballots)) for ballots in groups])


@dataclass
class PooledAlpha:
    """`pooled_alpha` of sets of siblings that come one after the other; the attributes are sums, which can be kept."""

    observed: float = 0.0
    by_chance: float = 0.0
    values: int = 0

    def add(self, ballots: Iterable[Ballot]) -> None:
        """Take the ballots of one set of siblings."""
        part = group_disagreement(ballots)
        self.observed += part.observed
        self.by_chance += part.by_chance
        self.values += part.values

    @property
    def value(self) -> float | None:
        """Alpha of all so far; None where nothing can disagree."""
        return alpha_of([Disagreement(self.observed, self.by_chance, self.values)])


def alpha_of(parts: Sequence[Disagreement]) -> float | None:
    """Alpha of sums; None where nothing can disagree."""
    by_chance, values = sum(part.by_chance for part in parts), sum(part.values for part in parts)
    if by_chance == 0:
        return None
    # Krippendorff draws without replacement. By the number of all values: by that of each small set, rankings by lot
    # would come out at 1 / 12 for four replies and three rankers, and not at 0.
    expected = by_chance * values / (values - 1)
    return 1 - sum(part.observed for part in parts) / expected


def group_disagreement(ballots: Iterable[Ballot]) -> Disagreement:
    """The sums of one set of siblings."""
    return disagreement(_units(ballots))


def _units(ballots: Iterable[Ballot]) -> list[list[float]]:
    values: dict[str, list[float]] = defaultdict(list)
    for ballot in ballots:
        for each, position in ballot.positions().items():
            values[each].append(round(position, DIGITS))
    return list(values.values())


def disagreement(units: Iterable[Sequence[float]]) -> Disagreement:
    """The sums of one set of units."""
    pairable = [values for values in units if len(values) > 1]
    counts = Counter(value for values in pairable for value in values)
    distance = _distances(counts)
    observed = sum(
        2 * distance[min(pair), max(pair)] / (len(values) - 1)
        for values in pairable
        for pair in combinations(values, 2)
    )
    total = counts.total()
    among_all = sum(2 * counts[low] * counts[high] * square for (low, high), square in distance.items())
    return Disagreement(observed, among_all / total if total else 0.0, total)


def _distances(counts: Mapping[float, int]) -> dict[tuple[float, float], float]:
    """(low, high) -> squared ordinal distance: values from one to the other, the ends counted half."""
    values = sorted(counts)
    upto = dict(zip(values, accumulate(counts[value] for value in values), strict=True))
    centre = {value: upto[value] - counts[value] / 2 for value in values}
    return {
        (low, high): (centre[high] - centre[low]) ** 2
        for index, low in enumerate(values)
        for high in values[index:]
    }  # fmt: skip
