"""Bradley-Terry confidence and Krippendorff's alpha: published values, properties, coverage of the intervals."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.agreement import alpha, pooled_alpha, ranking_alpha
from core.ballots import Ballot
from core.bradley_terry import PRIOR_DEVIATION, confidences, fit, wins

# K. Krippendorff (2011), example C: four observers, twelve units, missing data.
RELIABILITY_DATA = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""


def rankings(size: int = 4, most: int = 6):
    return st.lists(st.permutations("abcdef"[:size]).map(Ballot.strict), min_size=1, max_size=most)


def log_posterior(strengths: list[float], items: str, won: dict[tuple[str, str], float]) -> float:
    place = {item: strengths[at] for at, item in enumerate(items)}
    chances = ((games, place[first] - place[second]) for (first, second), games in won.items())
    fits = math.fsum(-games * math.log1p(math.exp(-gap)) for games, gap in chances)
    return fits - sum(each**2 for each in strengths) / (2 * PRIOR_DEVIATION**2)


@settings(max_examples=50)
@given(rankings(), st.integers(0, 3), st.sampled_from([-1e-3, 1e-3]))
def test_strengths_are_the_maximum_of_the_posterior(profile, which, nudge) -> None:
    won = wins(profile)
    strengths = fit("abcd", won)
    moved = [each + (nudge if at == which else 0) for at, each in enumerate(strengths)]
    assert log_posterior(strengths, "abcd", won) > log_posterior(moved, "abcd", won)


@settings(max_examples=50)
@given(rankings(), st.permutations("abcd"))
def test_confidence_is_inside_its_interval_and_mirrored_by_the_opposite_order(profile, order) -> None:
    there, back = confidences(order, profile), confidences(order[::-1], profile)[::-1]
    assert [(each.first, each.second) for each in there] == list(pairwise(order))
    for one, other in zip(there, back, strict=True):
        assert 0 < one.low < one.probability < one.high < 1
        assert one.probability == pytest.approx(1 - other.probability)
        assert (one.low, one.sure) == pytest.approx((1 - other.high, 1 - other.sure))


def test_more_rankings_of_one_mind_make_surer_and_narrower() -> None:
    few, many = (confidences("ab", [Ballot.strict("ab")] * count)[0] for count in (3, 30))
    assert few.low < many.low < many.probability
    assert 0.5 < few.sure < many.sure < 1
    assert many.high - many.low < few.high - few.low


def test_a_tie_and_opposite_votes_say_that_it_is_even() -> None:
    for profile in ([Ballot((("a", "b"),))] * 2, [Ballot.strict("ab"), Ballot.strict("ba")]):
        assert confidences("ab", profile)[0].probability == pytest.approx(0.5)


def test_comparisons_won_by_hand() -> None:
    # Two ids: one comparison, shared when level. Four ids, three comparisons: six pairs of a half.
    assert wins([Ballot((("a", "b"),), 0.5)]) == {("a", "b"): 0.25, ("b", "a"): 0.25}
    assert sum(wins([Ballot.strict("abcd")]).values()) == sum(wins([Ballot((tuple("abcd"),))]).values()) == 3


def test_nobody_compared_them_so_the_interval_is_the_priors() -> None:
    found = confidences("ab", [])[0]
    wide = 1 / (1 + math.exp(-1.959964 * PRIOR_DEVIATION * math.sqrt(2)))
    assert (found.probability, found.high, found.sure) == pytest.approx((0.5, wide, 0.5))
    assert confidences("a", []) == ()


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Plackett-Luce rankers, strengths drawn from the prior: 95 % intervals, 400 sets of siblings."""
    chance, held, total = random.Random(5), 0, 0
    for _ in range(400):
        truth = {item: chance.gauss(0, PRIOR_DEVIATION) for item in "abcd"}
        noisy = [{item: truth[item] - math.log(chance.expovariate(1)) for item in "abcd"} for _ in range(6)]
        profile = [Ballot.strict(sorted(seen, key=seen.__getitem__, reverse=True)) for seen in noisy]
        for each in confidences("abcd", profile):
            right = 1 / (1 + math.exp(truth[each.second] - truth[each.first]))
            held, total = held + (each.low <= right <= each.high), total + 1
    assert 0.93 < held / total < 0.99


def test_ordinal_alpha_of_krippendorffs_example() -> None:
    rows = [line.split() for line in RELIABILITY_DATA.split("\n") if line]
    units = [[float(value) for value in unit if value != "."] for unit in zip(*rows, strict=True)]
    assert alpha(units) == pytest.approx(0.815, abs=5e-4)


@given(rankings())
def test_alpha_is_at_most_one_and_knows_no_order_of_rankers(profile) -> None:
    found = ranking_alpha(profile)
    assert found == ranking_alpha(profile[::-1]) or found == pytest.approx(ranking_alpha(profile[::-1]))
    if len(profile) == 1:
        assert found is None
    else:
        assert found <= 1
        assert (found == pytest.approx(1)) == (len({ballot.tiers for ballot in profile}) == 1)


@given(rankings())
def test_for_complete_rankings_positions_are_ranks(profile) -> None:
    units = [[1.0 + ballot.ids.index(item) for ballot in profile] for item in "abcd"]
    assert ranking_alpha(profile) == pytest.approx(alpha(units))


@given(rankings(), st.floats(0.1, 1))
def test_weights_do_not_count_in_agreement(profile, weight) -> None:
    assert ranking_alpha([Ballot(ballot.tiers, weight) for ballot in profile]) == ranking_alpha(profile)


def test_opposite_rankers_disagree_more_than_by_chance() -> None:
    # By hand: two units (1, 2) and (2, 1); observed d, expected 2*2*2/(4*3) d.
    assert ranking_alpha([Ballot.strict("ab"), Ballot.strict("ba")]) == pytest.approx(-0.5)


def test_pooled_alpha_of_rankings_by_lot_is_0_and_of_one_mind_is_1() -> None:
    chance = random.Random(11)
    lots = [[Ballot.strict(chance.sample("abcd", 4)) for _ in range(3)] for _ in range(400)]
    assert pooled_alpha(lots) == pytest.approx(0, abs=0.05)
    assert pooled_alpha([[Ballot.strict("abc")] * 3, [Ballot.strict("ba")] * 2]) == 1


def test_pooling_one_group_is_the_group_and_nothing_is_none() -> None:
    group = [Ballot.strict("abc"), Ballot.strict("acb"), Ballot.strict("ab")]
    assert pooled_alpha([group, [Ballot.strict("xy")]]) == ranking_alpha(group)
    for nothing in ([], [[]], [[Ballot.strict("ab")]], [[Ballot((("a", "b"),))] * 3]):
        assert pooled_alpha(nothing) is None


@given(st.lists(st.lists(st.integers(1, 5).map(float), max_size=4), max_size=8))
def test_alpha_of_any_table_is_none_or_at_most_one(units) -> None:
    found = alpha(units)
    assert found is None or found <= 1
