"""How an order that may have ties and be partial agrees with the consensus: Kendall's tau-b. Pure.

M. G. Kendall, "The treatment of ties in ranking problems" (1945), by his general coefficient: over the signs that both
give to each pair, 0 where it is level, their product summed and divided by the root of the product of their squares. A
pair that one of the two leaves level therefore counts neither for nor against; who calls much equal that is not comes
nearer to 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from core.records import Message

Groups = Sequence[Sequence[str]]
Pairs = frozenset[frozenset[str]]


def kendall_tau(groups: Groups, ranks: Mapping[str, int], level: Pairs = frozenset()) -> float | None:
    """Tau-b between an order and ranks (0 the best), over what has both; None where either tells nothing apart.

    Args:
        groups: equally good ones together, best first.
        level: pairs that the ranks put apart by lot alone.
    """
    place = {each: place for place, group in enumerate(groups) for each in group if each in ranks}
    mine = theirs = common = 0
    for one, other in combinations(place, 2):
        said = _sign(place[one] - place[other])
        found = 0 if frozenset((one, other)) in level else _sign(ranks[one] - ranks[other])
        mine, theirs, common = mine + said**2, theirs + found**2, common + said * found
    return common / math.sqrt(mine * theirs) if mine and theirs else None


def level_pairs(parent: Message | None, ranks: Mapping[str, int]) -> Pairs:
    """Pairs of ranked replies that the consensus kept with their parent leaves level; none where none is kept."""
    kept = None if parent is None else parent.consensus
    if kept is None:
        return frozenset()
    told_apart = {frozenset((winner, loser)) for winner, loser, _ in kept["margins"]}
    return frozenset(pair for each in combinations(ranks, 2) if (pair := frozenset(each)) not in told_apart)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
