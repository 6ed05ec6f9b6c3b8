"""Ranked pairs: published properties over random profiles, and worked examples."""

from __future__ import annotations

import random
from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from core.consensus import margins, ranked_pairs

ITEMS = "abcdef"


@st.composite
def profiles(draw, least: int = 1) -> list[list[str]]:
    items = list(ITEMS[: draw(st.integers(2, 6))])
    return draw(st.lists(st.permutations(items), min_size=least, max_size=7))


@given(profiles())
def test_the_consensus_is_a_permutation(profile) -> None:
    assert sorted(ranked_pairs(profile)) == sorted(profile[0])


@given(profiles(), st.randoms())
def test_the_order_of_voters_does_not_matter(profile, chance) -> None:
    shuffled = chance.sample(profile, len(profile))
    assert ranked_pairs(shuffled) == ranked_pairs(profile)


@given(st.permutations(list(ITEMS)), st.integers(1, 5))
def test_unanimity_is_kept(ranking, voters) -> None:
    assert ranked_pairs([ranking] * voters) == list(ranking)


@given(profiles())
def test_what_all_prefer_stays_before(profile) -> None:
    order = ranked_pairs(profile)
    for first, second in permutations(order, 2):
        if all(ranking.index(first) < ranking.index(second) for ranking in profile):
            assert order.index(first) < order.index(second)


@settings(max_examples=500)
@given(profiles())
def test_a_condorcet_winner_wins_and_a_loser_loses(profile) -> None:
    order = ranked_pairs(profile)
    margin = margins(sorted(order), profile)
    for item in order:
        against = [margin[item, other] for other in order if other != item]
        if all(value > 0 for value in against):
            assert order[0] == item
        if all(value < 0 for value in against):
            assert order[-1] == item


@given(profiles())
def test_reversing_strict_majorities_reverses_the_order(profile) -> None:
    order = ranked_pairs(profile)
    margin = margins(sorted(order), profile)
    if (
        len({abs(value) for value in margin.values()}) == len(order) * (len(order) - 1) // 2
        and 0 not in margin.values()
    ):
        assert ranked_pairs([ranking[::-1] for ranking in profile]) == order[::-1]


@given(profiles(least=2), st.data())
def test_an_order_is_explained_by_a_majority_or_a_chain_of_them(profile, data) -> None:
    """No item stands before another that beats it, unless a chain of at least as strong preferences leads back."""
    order = ranked_pairs(profile)
    margin = margins(sorted(order), profile)
    for first, second in permutations(order, 2):
        if order.index(first) < order.index(second) and margin[second, first] > 0:
            assert _strongest_path(margin, order, first, second) >= margin[second, first]


def _strongest_path(margin, items, start, end) -> int:
    strength = {item: margin[start, item] if item != start else 10**6 for item in items}
    for _ in items:
        for via, to in permutations(items, 2):
            strength[to] = max(strength[to], min(strength[via], margin[via, to]))
    return strength[end]


def test_equal_votes_put_the_smaller_id_first() -> None:
    assert ranked_pairs([["b", "a"], ["a", "b"]]) == ["a", "b"]
    assert ranked_pairs([["a", "b"], ["b", "a"]]) == ["a", "b"]


def test_ties_are_locked_in_order_of_ids_after_all_majorities() -> None:
    # b beats c; a ties with both, and its ties are locked before theirs.
    assert ranked_pairs([["a", "b", "c"], ["b", "c", "a"]]) == ["a", "b", "c"]


def test_a_cycle_is_broken_at_its_weakest_pair() -> None:
    # a>b by 3 of 9, b>c by 5, c>a by 1: the last pair goes.
    profile = [["a", "b", "c"]] * 4 + [["b", "c", "a"]] * 3 + [["c", "a", "b"]] * 2
    assert margins("abc", profile) == {
        ("a", "b"): 3, ("b", "a"): -3, ("b", "c"): 5, ("c", "b"): -5, ("c", "a"): 1, ("a", "c"): -1,
    }  # fmt: skip
    assert ranked_pairs(profile) == ["a", "b", "c"]


def test_tidemans_example_of_tennessee() -> None:
    profile = [list("mnck")] * 42 + [list("nckm")] * 26 + [list("cknm")] * 15 + [list("kcnm")] * 17
    assert ranked_pairs(profile) == list("nckm")


def test_only_ids_in_every_ranking_count() -> None:
    assert ranked_pairs([["a", "b", "c"], ["c", "b"]]) == ["b", "c"]
    assert ranked_pairs([["a", "b"], ["c", "d"]]) == []
    assert ranked_pairs([["a", "b"], ["b"]]) == []
    assert ranked_pairs([["c", "b", "a"]], among=["a", "c", "x"]) == ["c", "a"]
    assert ranked_pairs([]) == []


def test_a_hundred_items_are_ordered() -> None:
    items = [f"{number:03d}" for number in range(100)]
    chance = random.Random(3)
    assert ranked_pairs([items, items, chance.sample(items, 100)]) == items
