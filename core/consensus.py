"""One order out of many: ranked pairs over the rankings of one set of replies. Pure.

T. N. Tideman, "Independence of clones as a criterion for voting rules" (1987), as Open-Assistant ran it: over the ids
that every ranking holds, pairs locked by margin, equal margins in ascending order of ids.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import permutations


def margins(items: Sequence[str], rankings: Collection[Sequence[str]]) -> dict[tuple[str, str], int]:
    """For each ordered pair of `items`: rankings that put the first before the second, less those that do not."""
    result = dict.fromkeys(permutations(items, 2), 0)
    for ranking in rankings:
        place = {item: index for index, item in enumerate(ranking)}
        for first, second in result:
            result[first, second] += 1 if place[first] < place[second] else -1
    return result


def ranked_pairs(rankings: Collection[Sequence[str]], among: Collection[str] | None = None) -> list[str]:
    """The consensus, best first.

    Args:
        rankings: each a sequence of distinct ids, best first; the order of the rankings does not matter.
        among: ids that may be in the result; all by default.

    Returns:
        the ids that every ranking holds, ordered; empty when they are fewer than two.
    """
    common = set.intersection(*(set(ranking) for ranking in rankings)) if rankings else set()
    items = sorted(common if among is None else common & set(among))
    if len(items) < 2:
        return []
    margin = margins(items, rankings)
    candidates = sorted((pair for pair in margin if margin[pair] >= 0), key=lambda pair: (-margin[pair], pair))
    return ordered(items, candidates)


def ordered(items: Sequence[str], candidates: Sequence[tuple[str, str]]) -> list[str]:
    """Items, best first, by locking `candidates`, (winner, loser), the strongest first.

    Every pair must be a candidate in at least one direction; the order is then total.
    """
    below = _lock(items, candidates)
    return sorted(items, key=lambda item: -len(below[item]))


def _lock(items: Sequence[str], candidates: Sequence[tuple[str, str]]) -> dict[str, set[str]]:
    """The pairs that stand, winner -> losers: each candidate in turn, unless it would close a cycle."""
    below: dict[str, set[str]] = {item: set() for item in items}
    for winner, loser in candidates:
        if winner not in below[loser]:
            # `below` is kept closed under reachability, so a cycle shows in one look-up.
            reached = below[loser] | {loser}
            for item in items:
                if item == winner or winner in below[item]:
                    below[item] |= reached
    return below
