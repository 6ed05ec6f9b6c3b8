"""Reviewers' and rankers' reliability: planted people are found again, batch and increments meet, nothing runs away."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import ranking_reliability as ranking
from core.ballots import Ballot
from core.errors import BadInput
from core.ranking_reliability import Agreement, TauPrior, against_gold, leave_one_out, tau, weight
from core.reliability import (
    WEIGHT_FLOOR,
    Item,
    Prior,
    Skill,
    Tally,
    answer,
    base_rate,
    change,
    estimate,
    skill,
    tallies,
)

PRIOR = Prior()
RATES = {"spam": 0.2}
votes = st.dictionaries(st.sampled_from("ABCDEF"), st.booleans(), max_size=5)
items = st.builds(
    Item, question=st.just("spam"), votes=votes, known=st.sampled_from([None, None, None, True, False])
)  # fmt: skip
rates = st.floats(0.01, 0.99)
skills = st.builds(Skill, rates, rates)


def crowd(people: dict[str, tuple[float, float]], count: int, rate: float, seed: int = 1):
    """Answers of people with (sensitivity, specificity) to `count` questions, and the truth."""
    chance = random.Random(seed)
    truth = [chance.random() < rate for _ in range(count)]
    answers = [
        {who: chance.random() < (sees if yes else 1 - passes) for who, (sees, passes) in people.items()}
        for yes in truth
    ]  # fmt: skip
    return [Item(question="spam", votes=each) for each in answers], truth


# Reviewers.

PEOPLE = {"good": (0.9, 0.95), "fair": (0.75, 0.9), "sharp": (0.95, 0.98), "yes-man": (0.02, 0.98), "dice": (0.5, 0.5)}


def test_planted_people_are_found_again() -> None:
    found = estimate(crowd(PEOPLE, 1500, 0.2)[0], RATES, PRIOR)
    for who, (sensitivity, specificity) in PEOPLE.items():
        got = skill(found.tallies[who], PRIOR)
        assert got.sensitivity == pytest.approx(sensitivity, abs=0.07)
        assert got.specificity == pytest.approx(specificity, abs=0.05)
    assert found.base_rates["spam"] == pytest.approx(0.2, abs=0.03)
    weights = {who: skill(found.tallies[who], PRIOR).weight for who in PEOPLE}
    assert sorted(weights, key=weights.__getitem__)[2:] == ["fair", "good", "sharp"]
    assert max(weights["yes-man"], weights["dice"]) < 0.1


def test_answers_are_better_than_the_majoritys() -> None:
    asked, truth = crowd(PEOPLE, 600, 0.2, seed=2)
    found = estimate(asked, RATES, PRIOR).answers
    ours = sum((p > 0.5) == yes for p, yes in zip(found, truth, strict=True))
    majority = sum((sum(item.votes.values()) > 2) == yes for item, yes in zip(asked, truth, strict=True))
    assert ours > majority


def test_gold_items_tell_who_is_right_where_votes_alone_cannot() -> None:
    """Two against two: only the known answers say which two."""
    asked = [
        Item(question="spam", votes={"A": yes, "B": yes, "C": not yes, "D": not yes}) for yes in (True, False) * 20
    ]
    gold = [Item(question="spam", votes={"A": True, "C": False}, known=True)] * 10
    found = estimate([*asked, *gold], RATES, PRIOR)
    weights = {who: skill(found.tallies[who], PRIOR).weight for who in "ABCD"}
    assert min(weights["A"], weights["B"]) > 0.5
    assert max(weights["C"], weights["D"]) == WEIGHT_FLOOR
    assert found.answers[-1] == 1


@settings(max_examples=50)
@given(st.lists(items, max_size=12), st.randoms())
def test_the_order_of_items_and_votes_does_not_matter(asked, chance) -> None:
    one, other = estimate(asked, RATES, PRIOR), estimate(chance.sample(asked, len(asked)), RATES, PRIOR)
    assert one.tallies == other.tallies
    assert sorted(one.answers) == sorted(other.answers)


@settings(max_examples=50)
@given(st.lists(items, max_size=12))
def test_counts_add_up_and_rates_stay_inside(asked) -> None:
    found = estimate(asked, RATES, PRIOR)
    assert all(0 <= each <= 1 for each in found.answers)
    assert 0 < found.base_rates["spam"] < 1
    for who, tally in found.tallies.items():
        parts = (tally.caught, tally.missed, tally.passed, tally.blamed)
        assert min(parts) >= 0
        assert math.fsum(parts) == pytest.approx(sum(who in item.votes for item in asked))
        assert 0 < skill(tally, PRIOR).weight <= 1


@settings(max_examples=50)
@given(st.lists(items, min_size=1, max_size=12))
def test_increments_rest_where_the_batch_does(asked) -> None:
    found = estimate(asked, RATES, PRIOR)
    people = {who: skill(tally, PRIOR) for who, tally in found.tallies.items()}
    for item, was in zip(asked, found.answers, strict=True):
        now = answer(item.votes, people, found.base_rates["spam"]) if item.known is None else was
        for tally in change(item.votes, was, item.votes, now).values():
            assert abs(tally.caught) + abs(tally.missed) + abs(tally.passed) + abs(tally.blamed) < 1e-4


@given(votes, rates, votes, rates)
def test_a_change_takes_back_what_was_and_adds_what_is(before, was, after, now) -> None:
    delta, old, new = change(before, was, after, now), tallies(before, was), tallies(after, now)
    for who in {*before, *after}:
        got, want = old.get(who, Tally()) + delta[who], new.get(who, Tally())
        assert (got.caught, got.missed, got.passed, got.blamed) == pytest.approx(
            (want.caught, want.missed, want.passed, want.blamed)
        )


@given(st.dictionaries(st.sampled_from("ABCDEF"), skills, min_size=1), rates, st.data())
def test_a_vote_never_moves_the_answer_the_other_way(people, rate, data) -> None:
    said = {who: data.draw(st.booleans()) for who in people}
    who = data.draw(st.sampled_from(sorted(said)))
    without = answer({other: yes for other, yes in said.items() if other != who}, people, rate)
    withit = answer(said, people, rate)
    assert withit >= without - 1e-12 if said[who] else withit <= without + 1e-12


@given(skills)
def test_weight_is_in_its_range_and_chance_has_the_least(each) -> None:
    assert WEIGHT_FLOOR <= each.weight <= 1
    if each.sensitivity + each.specificity <= 1:
        assert each.weight == WEIGHT_FLOOR
        assert each.evidence(True) == each.evidence(False) == 0


@given(st.floats(0, 50), st.floats(0, 50), st.floats(0, 50), st.floats(0, 50), st.floats(0.1, 10))
def test_being_right_more_often_never_lowers_a_weight(caught, missed, passed, blamed, more) -> None:
    now = skill(Tally(caught, missed, passed, blamed), PRIOR).weight
    assert skill(Tally(caught + more, missed, passed, blamed), PRIOR).weight >= now - 1e-12
    assert skill(Tally(caught, missed, passed + more, blamed), PRIOR).weight >= now - 1e-12
    assert skill(Tally(caught, missed + more, passed, blamed), PRIOR).weight <= now + 1e-12


def test_a_newcomer_is_the_prior_and_no_votes_are_the_base_rate() -> None:
    assert skill(Tally(), Prior(caught=3, missed=1, passed=9, blamed=1)) == Skill(0.75, 0.9)
    assert answer({}, {}, 0.3) == pytest.approx(0.3)
    assert base_rate(0.2, 0, 0, PRIOR) == pytest.approx(0.2)
    assert estimate([], RATES, PRIOR).tallies == {}


@pytest.mark.parametrize("rate", [None, 0.0, 1.0, -0.5, float("nan")])
def test_a_question_needs_a_base_rate(rate) -> None:
    given_rates = {} if rate is None else {"spam": rate}
    with pytest.raises(BadInput, match=f"base rate of 'spam' is {rate}"):
        estimate([Item(question="spam", votes={"A": True})], given_rates, PRIOR)


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_a_prior_is_positive(value) -> None:
    with pytest.raises(BadInput, match="caught is"):
        Prior(caught=value)
    with pytest.raises(BadInput, match="pairs is"):
        TauPrior(pairs=value)
    with pytest.raises(BadInput, match=r"tau is 1\.5"):
        TauPrior(tau=1.5)


# Rankers.

TAUS = TauPrior()
ballot = st.permutations("abcd").map(Ballot.strict)
groups = st.dictionaries(st.sampled_from("ABCDE"), ballot, min_size=1, max_size=4)


def rankings(blurs: dict[str, float], count: int, seed: int = 3):
    """Sets of three siblings, each ranked by three of the people, who see quality blurred; below 0, backwards."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        quality = {item: chance.gauss(0, 1) for item in "abc"}
        group = {}
        for who in chance.sample(sorted(blurs), 3):
            seen = {item: value + chance.gauss(0, abs(blurs[who])) for item, value in quality.items()}
            group[who] = Ballot.strict(sorted(seen, key=seen.__getitem__, reverse=blurs[who] > 0))
        found.append((group, Ballot.strict(sorted(quality, key=quality.__getitem__, reverse=True))))
    return found


def test_planted_rankers_are_found_again() -> None:
    """Against the truth, which the estimate does not see: measured tau, and estimated tau."""
    blurs = {"A": 0.25, "B": 0.7, "C": 1.4, "dice": 1000.0, "backwards": -0.4}
    made = rankings(blurs, 800)
    found = ranking.estimate([group for group, _ in made], TAUS)
    for who in blurs:
        gold = [against_gold(group[who], truth) for group, truth in made if who in group]
        measured = sum(each.concordance for each in gold) / sum(each.information for each in gold)
        assert tau(found[who], TAUS) == pytest.approx(measured, abs=0.15)
    weights = {who: weight(tau(each, TAUS)) for who, each in found.items()}
    assert sorted(weights, key=weights.__getitem__)[2:] == ["C", "B", "A"]
    assert weights["backwards"] == ranking.WEIGHT_FLOOR
    assert weights["dice"] < 0.1


@settings(max_examples=50)
@given(st.lists(groups, max_size=5), st.randoms())
def test_the_order_of_sets_does_not_matter(sets, chance) -> None:
    assert ranking.estimate(sets, TAUS) == ranking.estimate(chance.sample(sets, len(sets)), TAUS)


@given(groups, st.dictionaries(st.sampled_from("ABCDE"), st.floats(-1, 1), min_size=5, max_size=5))
def test_agreement_is_bounded_and_can_be_taken_back(group, taus) -> None:
    for each in leave_one_out(group, taus).values():
        assert 0 <= each.information <= 6
        assert abs(each.concordance) <= 6
        assert -1 <= tau(each, TAUS) <= 1
        there_and_back = Agreement(2.0, 3.0) + each + -each
        assert (there_and_back.concordance, there_and_back.information) == pytest.approx((2.0, 3.0))


@given(groups)
def test_nobody_is_measured_against_themselves(group) -> None:
    """Turning one's own ranking round turns one's concordance round, and tells no more or less of one."""
    taus = dict.fromkeys(group, 0.5)
    for who in group:
        turned = group | {who: Ballot(group[who].tiers[::-1])}
        now, then = leave_one_out(group, taus)[who], leave_one_out(turned, taus)[who]
        assert (then.concordance, then.information) == pytest.approx((-now.concordance, now.information))


def test_a_lone_ranker_and_split_others_say_nothing() -> None:
    taus = dict.fromkeys("ABC", 0.5)
    assert leave_one_out({"A": Ballot.strict("abc")}, taus)["A"] == Agreement()
    split = leave_one_out({"A": Ballot.strict("ab"), "B": Ballot.strict("ab"), "C": Ballot.strict("ba")}, taus)
    assert split["A"] == Agreement()
    assert split["C"].concordance < 0


def test_by_hand_one_other_of_tau_one_half_and_one_who_ranks_backwards() -> None:
    # The other gives 2r - 1 = 0.5 to its order; squared, that is a quarter of a pair known.
    found = leave_one_out({"A": Ballot.strict("ab"), "B": Ballot.strict("ba")}, {"A": 0.0, "B": 0.5})
    assert (found["A"].concordance, found["A"].information) == pytest.approx((-0.5, 0.25))
    assert found["B"] == Agreement()
    # Nobody is believed in reverse.
    assert (
        leave_one_out({"A": Ballot.strict("ab"), "B": Ballot.strict("ba")}, {"A": 0.5, "B": -0.9})["A"] == Agreement()
    )


def test_gold_rankings_count_in_full() -> None:
    order = Ballot((("a",), ("b", "c"), ("d",)))
    assert against_gold(Ballot.strict("acbd"), order) == Agreement(5, 5)
    assert against_gold(Ballot.strict("dcba"), order) == Agreement(-5, 5)
    assert against_gold(Ballot((("a", "b"), ("d",))), order) == Agreement(2, 2)
    gold = {"A": Agreement(-30, 30)}
    assert weight(tau(ranking.estimate([], TAUS, gold)["A"], TAUS)) == ranking.WEIGHT_FLOOR


def test_gold_turns_a_majority_that_ranks_backwards() -> None:
    sets = [{"A": Ballot.strict("abc"), "B": Ballot.strict("cba"), "C": Ballot.strict("cba")}] * 10
    gold = {"A": Agreement(20, 20), "B": Agreement(-20, 20), "C": Agreement(-20, 20)}
    found = {who: tau(each, TAUS) for who, each in ranking.estimate(sets, TAUS, gold).items()}
    assert found["A"] > 0.8
    assert max(found["B"], found["C"]) < -0.8
    without = {who: tau(each, TAUS) for who, each in ranking.estimate(sets, TAUS).items()}
    assert without["A"] < 0 < without["B"]


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_weight_grows_with_tau_inside_its_range(one, other) -> None:
    assert ranking.WEIGHT_FLOOR <= weight(one) <= 1
    if one <= other:
        assert weight(one) <= weight(other)
    assert weight(1) == weight(ranking.BEST_TAU) == 1
