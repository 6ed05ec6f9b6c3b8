"""Weighted ranked pairs: published properties over random weighted, partial, tied profiles, and what it shares with
the plain mode."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.ballots import Ballot
from core.consensus import ranked_pairs
from core.errors import BadInput
from core.weighted_consensus import consensus, lot, weighted_margins

TREE = "a tree"
ITEMS = "abcdef"
# Multiples of 1/8 add up without rounding, so that equal sums are equal.
WEIGHTS = st.integers(1, 8).map(lambda eighths: eighths / 8)


@st.composite
def ballots(draw, items: str, *, whole: bool = False, weights=WEIGHTS) -> Ballot:
    ids = draw(st.permutations(items))
    ids = ids if whole else ids[: draw(st.integers(1, len(ids)))]
    tiers: list[list[str]] = [[ids[0]]]
    for each in ids[1:]:
        if draw(st.booleans()):
            tiers.append([each])
        else:
            tiers[-1].append(each)
    return Ballot(tuple(map(tuple, tiers)), draw(weights))


@st.composite
def profiles(draw, *, whole: bool = False) -> list[Ballot]:
    items = ITEMS[: draw(st.integers(2, 6))]
    return draw(st.lists(ballots(items, whole=whole), min_size=1, max_size=7))


@st.composite
def plain_profiles(draw) -> list[list[str]]:
    items = list(ITEMS[: draw(st.integers(2, 6))])
    return draw(st.lists(st.permutations(items), min_size=1, max_size=7))


def order(profile: list[Ballot], tree_id: str = TREE) -> list[str]:
    return list(consensus(profile, tree_id).order)


@given(profiles())
def test_every_id_that_was_compared_is_ordered_once(profile) -> None:
    compared = {each for ballot in profile if len(ballot.ids) > 1 for each in ballot.ids}
    assert sorted(order(profile)) == sorted(compared)


@given(profiles(), st.randoms())
def test_the_order_of_arrival_does_not_matter(profile, chance) -> None:
    assert consensus(chance.sample(profile, len(profile)), TREE) == consensus(profile, TREE)


@given(st.lists(ballots("abcd", weights=st.floats(0.01, 1)), min_size=1, max_size=7), st.randoms())
def test_nor_does_it_with_weights_that_round(profile, chance) -> None:
    assert consensus(chance.sample(profile, len(profile)), TREE) == consensus(profile, TREE)


@settings(max_examples=300)
@given(plain_profiles())
def test_complete_unweighted_rankings_give_the_plain_result_but_for_the_lots(profile) -> None:
    """The plain mode settles ties by id; with each id replaced by its lot, it gives the same order."""
    lots = {each: lot(TREE, each) for each in profile[0]}
    renamed = ranked_pairs([[lots[each] for each in ranking] for ranking in profile])
    assert [lots[each] for each in order([Ballot.strict(ranking) for ranking in profile])] == renamed


@settings(max_examples=300)
@given(plain_profiles())
def test_without_equal_margins_it_is_the_plain_result(profile) -> None:
    margin = weighted_margins(profile[0], map(Ballot.strict, profile))
    strengths = sorted(abs(value) for value in margin.values())[::2]
    if 0 not in strengths and len(set(strengths)) == len(strengths):
        assert order([Ballot.strict(ranking) for ranking in profile]) == ranked_pairs(profile)


@settings(max_examples=300)
@given(profiles())
def test_a_condorcet_winner_wins_and_a_loser_loses(profile) -> None:
    found = consensus(profile, TREE)
    for item in found.order:
        against = [found.margins[item, other] for other in found.order if other != item]
        assert found.order[0] == item or not all(value > 0 for value in against)
        assert found.order[-1] == item or not all(value < 0 for value in against)


@given(profiles(whole=True))
def test_what_all_prefer_stays_before(profile) -> None:
    found = order(profile)
    for first, second in permutations(found, 2):
        if all((first, second) in ballot.preferences() for ballot in profile):
            assert found.index(first) < found.index(second)


@given(ballots(ITEMS))
def test_one_ballot_is_the_consensus_and_lots_break_its_ties(ballot) -> None:
    by_lot = [sorted(tier, key=lambda each: lot(TREE, each)) for tier in ballot.tiers]
    assert order([ballot]) == ([each for tier in by_lot for each in tier] if len(ballot.ids) > 1 else [])


@given(profiles(), st.data())
def test_a_ballot_without_weight_is_not_there(profile, data) -> None:
    nothing = data.draw(ballots(ITEMS + "xyz", weights=st.just(0.0)))
    assert consensus([*profile, nothing], TREE) == consensus(profile, TREE)


@given(profiles(), st.data())
def test_twice_the_weight_is_the_ballot_twice(profile, data) -> None:
    index = data.draw(st.integers(0, len(profile) - 1))
    heavier = [Ballot(b.tiers, b.weight * 2) if at == index else b for at, b in enumerate(profile)]
    once, twice = consensus([*profile, profile[index]], TREE), consensus(heavier, TREE)
    assert (once.order, once.margins) == (twice.order, twice.margins)


@given(profiles(), st.integers(-3, 6))
def test_the_unit_of_weight_does_not_matter(profile, power) -> None:
    assert order([Ballot(ballot.tiers, ballot.weight * 2.0**power) for ballot in profile]) == order(profile)


@given(profiles())
def test_margins_are_antisymmetric_and_cover_all_pairs(profile) -> None:
    found = consensus(profile, TREE)
    assert set(found.margins) == set(permutations(found.order, 2))
    assert all(value == -found.margins[second, first] for (first, second), value in found.margins.items())
    assert found.rankings == sum(len(ballot.ids) > 1 for ballot in profile)


@given(profiles())
def test_an_order_is_explained_by_a_majority_or_a_chain_of_them(profile) -> None:
    """No id stands before another that beats it, unless a chain of at least as strong preferences leads to it."""
    found = consensus(profile, TREE)
    for at, first in enumerate(found.order):
        for second in found.order[at + 1 :]:
            if (beaten := found.margins[second, first]) > 0:
                assert _strongest_path(found.margins, found.order, first, second) >= beaten


def _strongest_path(margin, items, start, end) -> float:
    strength = {item: margin[start, item] if item != start else float("inf") for item in items}
    for _ in items:
        for via, to in permutations(items, 2):
            strength[to] = max(strength[to], min(strength[via], margin[via, to]))
    return strength[end]


@given(profiles(), st.sets(st.sampled_from(ITEMS)))
def test_only_ids_asked_for_count(profile, among) -> None:
    kept = [ballot.among(among) for ballot in profile]
    assert consensus(profile, TREE, among=among) == consensus(kept, TREE)
    assert set(consensus(profile, TREE, among=among).order) <= among


def test_a_partial_ranking_is_used_where_the_plain_mode_drops_the_reply() -> None:
    assert ranked_pairs([["a", "b", "c"], ["c", "b"], ["a", "b"]]) == []
    found = consensus([Ballot.strict("abc"), Ballot.strict("cb"), Ballot.strict("ab"), Ballot.strict("cb", 0.5)], TREE)
    assert list(found.order) == ["a", "c", "b"]


def test_a_heavy_voter_outweighs_two_light_ones() -> None:
    assert order([Ballot.strict("ab"), Ballot.strict("ba", 0.25), Ballot.strict("ba", 0.5)]) == ["a", "b"]


def test_lots_differ_from_tree_to_tree_so_that_no_id_is_favoured() -> None:
    level = [Ballot((("a", "b"),))]
    first = [order(level, f"tree {number}")[0] for number in range(400)]
    # Of 400 fair lots, fewer than 150 or more than 250 of one kind come once in a million.
    assert 150 < first.count("a") < 250


def test_sums_of_weights_that_are_equal_on_paper_are_left_to_the_lots() -> None:
    profile = [Ballot.strict("ab", 0.1), Ballot.strict("ab", 0.2), Ballot.strict("ba", 0.3)]
    for number in range(20):
        assert order(profile, f"{number}") == sorted("ab", key=lambda each: lot(f"{number}", each))


def test_nothing_to_order() -> None:
    for profile in ([], [Ballot(())], [Ballot.strict("a")], [Ballot.strict("ab", 0)]):
        found = consensus(profile, TREE)
        assert (found.order, found.margins, found.rankings, found.steps) == ((), {}, 0, ())


def test_forty_replies_are_ordered() -> None:
    items = [f"{number:02d}" for number in range(40)]
    assert order([Ballot.strict(items), Ballot.strict(items), Ballot.strict(items[::-1], 0.5)]) == items


@given(ballots(ITEMS))
def test_positions_are_mid_ranks_on_a_scale_from_0_to_1(ballot) -> None:
    places = ballot.positions()
    assert sum(places.values()) == pytest.approx(len(ballot.ids) / 2)
    assert all(places[first] < places[second] for first, second in ballot.preferences())
    assert all(places[first] == places[second] for first, second in ballot.ties())


@pytest.mark.parametrize(
    ("tiers", "weight", "message"),
    [
        ((("a",), ("b", "a")), 1.0, "'a' occurs 2 times"),
        ((("a",), ()), 1.0, "a tier is empty"),
        ((("a",),), -0.5, "weight is -0.5"),
        ((("a",),), float("nan"), "weight is nan"),
        ((("a",),), float("inf"), "weight is inf"),
    ],
)
def test_a_wrong_ballot_is_refused(tiers, weight, message) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        Ballot(tiers, weight)
    assert caught.value.code == "BAD_RANKING"
