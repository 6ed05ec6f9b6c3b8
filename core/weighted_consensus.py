"""One order out of many, the better mode: ranked pairs over weighted ballots that may be partial and have ties. Pure.

T. N. Tideman, "Independence of clones as a criterion for voting rules" (1987). Differs from `core.consensus` in that
every id counts that anybody compared, ballots have weights, and equal margins are settled by a hash of the tree's and
the message's id, which favours neither age nor arrival. For complete, unweighted ballots without ties it is that
result, but for the tie-break. Does not know whose ballots they are: `core.ranking_reliability` gives the weights.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from core.ballots import Ballot
from core.bradley_terry import Confidence, confidences
from core.consensus import ordered

DIGITS = 9
"""Decimals of a margin: sums that differ by less are equal, so that rounding never decides before the hash does."""


@dataclass(frozen=True, kw_only=True)
class Consensus:
    """What the ballots say together.

    Attributes:
        order: ids, best first; empty where fewer than two were compared.
        margins: (first, second) -> weight that puts first before second less the weight against; both directions.
        rankings: ballots that compared something and have a weight.
        steps: for each two neighbours in the order, how sure it is.
    """

    order: tuple[str, ...]
    margins: Mapping[tuple[str, str], float]
    rankings: int
    steps: tuple[Confidence, ...]


def consensus(ballots: Iterable[Ballot], tree_id: str, among: Collection[str] | None = None) -> Consensus:
    """The consensus of `ballots`; their order does not matter.

    Args:
        tree_id: the tree of the replies; settles ties.
        among: ids that may be in the result; all by default.
    """
    counted = _counted(ballots, among)
    items = sorted({each for ballot in counted for each in ballot.ids})
    margin = weighted_margins(items, counted)
    order = _ranked(items, margin, tree_id)
    return Consensus(
        order=tuple(order), margins=margin, rankings=len(counted), steps=confidences(order, counted)
    )  # fmt: skip


def _counted(ballots: Iterable[Ballot], among: Collection[str] | None) -> list[Ballot]:
    """The ballots that compare something: two ids or more, and a weight."""
    kept = ballots if among is None else (ballot.among(among) for ballot in ballots)
    return [ballot for ballot in kept if ballot.weight > 0 and len(ballot.ids) > 1]


def weighted_margins(items: Sequence[str], ballots: Iterable[Ballot]) -> dict[tuple[str, str], float]:
    """For each ordered pair of `items`: weight that puts the first before the second, less that of the opposite."""
    terms: dict[tuple[str, str], list[float]] = defaultdict(list)
    for ballot in ballots:
        for first, second in ballot.preferences():
            terms[first, second].append(ballot.weight)
            terms[second, first].append(-ballot.weight)
    # `fsum` is exact before its one rounding, so the order of arrival cannot show.
    return {pair: round(math.fsum(terms[pair]), DIGITS) for pair in permutations(items, 2)}


def _ranked(items: Sequence[str], margin: Mapping[tuple[str, str], float], tree_id: str) -> list[str]:
    by_lot = {item: lot(tree_id, item) for item in items}
    shuffled = sorted(items, key=by_lot.__getitem__)
    # Level pairs, those that nobody compared among them, come last, in both directions: the order is total.
    candidates = [pair for pair in permutations(shuffled, 2) if margin[pair] >= 0]
    return ordered(shuffled, sorted(candidates, key=lambda pair: -margin[pair]))


def lot(tree_id: str, message_id: str) -> str:
    """What settles ties: hexadecimal SHA-256 of both ids; the lower goes first."""
    return hashlib.sha256(f"{tree_id}\n{message_id}".encode()).hexdigest()
