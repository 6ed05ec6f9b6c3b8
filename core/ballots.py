"""What one ranker said of a set of replies, and how much it counts. Pure.

Knows partial orders with ties; does not know who voted, nor how ballots are put together.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from core.errors import BadInput


@dataclass(frozen=True, slots=True)
class Ballot:
    """Some of the replies, best first; those in one tier are equally good, those in none were not judged.

    Attributes:
        tiers: groups of distinct ids, none empty.
        weight: how much the ballot counts, finite and 0 or more; 0 is as if it were not there.

    Raises:
        BadInput: code `BAD_RANKING`: an id occurs twice, a tier is empty, or the weight is none.
    """

    tiers: tuple[tuple[str, ...], ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        ids = self.ids
        if repeated := sorted({each for each in ids if ids.count(each) > 1}):
            raise _bad(f"{repeated[0]!r} occurs {ids.count(repeated[0])} times; each id may occur once")
        if () in self.tiers:
            raise _bad("a tier is empty; each holds at least one id")
        if not 0 <= self.weight < math.inf:
            raise _bad(f"weight is {self.weight}; it must be a finite number, 0 or more")

    @classmethod
    def strict(cls, ranking: Sequence[str], weight: float = 1.0) -> Ballot:
        """The ballot of a ranking without ties, best first."""
        return cls(tuple((each,) for each in ranking), weight)

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids judged, best first, those of one tier as they were given."""
        return tuple(each for tier in self.tiers for each in tier)

    def among(self, ids: Collection[str]) -> Ballot:
        """The ballot with `ids` alone."""
        kept = (tuple(each for each in tier if each in ids) for tier in self.tiers)
        return Ballot(tuple(tier for tier in kept if tier), self.weight)

    def preferences(self) -> Iterator[tuple[str, str]]:
        """Each pair of which the first is put before the second."""
        for upper, lower in combinations(self.tiers, 2):
            yield from ((first, second) for first in upper for second in lower)

    def ties(self) -> Iterator[tuple[str, str]]:
        """Each pair put level, once."""
        for tier in self.tiers:
            yield from combinations(tier, 2)

    def positions(self) -> dict[str, float]:
        """Where each id stands, from 0 (best) to 1 (worst): (mid-rank - 1/2) / number of ids; ties share a mid-rank."""
        total, before = len(self.ids), 0
        result: dict[str, float] = {}
        for tier in self.tiers:
            result |= dict.fromkeys(tier, (before + len(tier) / 2) / total)
            before += len(tier)
        return result


def _bad(message: str) -> BadInput:
    return BadInput(message, code="BAD_RANKING", path=("ranking",))
