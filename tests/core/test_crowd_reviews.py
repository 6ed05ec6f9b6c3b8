"""Adaptive reviews: when they stop, what refuses a message, and that silence is no answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.adaptive_reviews import CRITICAL, Critical, ReviewPolicy, judge, label_votes
from core.errors import BadInput
from core.labels import WIDGETS
from core.reliability import Prior, Skill, Tally, skill

POLICY = ReviewPolicy()
RELIABLE, NEWCOMER, CHANCE = Skill(0.9, 0.98), skill(Tally(), Prior()), Skill(0.5, 0.5)
FINE, SPAM = {"spam": 0.0}, {"spam": 1.0}
rates = st.floats(0.05, 0.95)
labels = st.dictionaries(st.sampled_from(sorted(WIDGETS)), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])).map(
    lambda said: {"spam": 0.0} | said
)
reviews = st.dictionaries(st.sampled_from("ABCDEFG"), labels, max_size=7)
skills = st.fixed_dictionaries({who: st.builds(Skill, rates, rates) for who in "ABCDEFG"})


def everybody(said: list[dict[str, float]], who: Skill = RELIABLE):
    people = [f"person {number}" for number in range(len(said))]
    return judge(dict(zip(people, said, strict=True)), dict.fromkeys(people, who), POLICY)


@pytest.mark.parametrize("who", [RELIABLE, NEWCOMER])
def test_two_who_agree_are_enough(who) -> None:
    assert (everybody([], who).state, everybody([], who).wanted) == ("pending", 2)
    assert everybody([FINE], who).state == "pending"
    assert everybody([FINE], who).wanted == 1
    assert everybody([FINE, FINE], who).state == "accepted"
    assert everybody([SPAM, SPAM], who).state == "refused"


def test_two_who_differ_are_not_and_five_always_are() -> None:
    assert (everybody([FINE, SPAM]).state, everybody([FINE, SPAM]).wanted) == ("pending", 1)
    assert everybody([FINE, SPAM, FINE]).state == "accepted"
    assert everybody([FINE, SPAM, SPAM, SPAM]).state == "refused"
    # With people who are a little better than chance nothing is ever beyond doubt.
    for said in ([FINE] * 2, [SPAM] * 2, [SPAM] * 4, [FINE, SPAM] * 2):
        assert everybody(said, Skill(0.6, 0.6)).state == "pending"
    assert everybody([SPAM] * 5, Skill(0.6, 0.6)).state != "pending"


def test_two_whose_word_is_worth_nothing_decide_nothing() -> None:
    assert everybody([SPAM, SPAM], CHANCE).state == everybody([FINE, FINE], CHANCE).state == "pending"
    assert everybody([SPAM, SPAM], CHANCE).acceptable == pytest.approx(1 - CRITICAL["spam"].base_rate)


@pytest.mark.parametrize("label", sorted(CRITICAL))
def test_every_critical_label_refuses(label) -> None:
    found = everybody([FINE | {label: 1.0}] * 3)
    assert (found.state, found.reasons) == ("refused", (label,))


def test_a_quorum_is_of_weight_so_that_two_puppets_cannot_pass_what_is_mostly_fine() -> None:
    rare = dict.fromkeys(CRITICAL, 0.001)
    two = {"A": FINE, "B": FINE}
    assert judge(two, dict.fromkeys(two, CHANCE), POLICY, rare).acceptable > POLICY.accept_from
    assert judge(two, dict.fromkeys(two, CHANCE), POLICY, rare).state == "pending"
    assert judge(two, dict.fromkeys(two, CHANCE), replace(POLICY, quorum=0), rare).state == "accepted"
    assert judge(two, dict.fromkeys(two, NEWCOMER), POLICY, rare).state == "accepted"


def test_other_labels_do_not() -> None:
    assert everybody([FINE | {"toxicity": 1.0, "political_content": 1.0, "violence": 1.0}] * 2).state == "accepted"


def test_from_where_an_answer_counts_is_configured() -> None:
    policy = ReviewPolicy(critical=CRITICAL | {"toxicity": Critical(counts_from=0.75)})
    said = {who: {"spam": 0.0, "toxicity": 0.5} for who in "AB"}
    assert judge(said, dict.fromkeys("AB", RELIABLE), policy).state == "accepted"
    said = {who: {"spam": 0.0, "toxicity": 0.75} for who in "ABC"}
    assert judge(said, dict.fromkeys("ABC", RELIABLE), policy).state == "refused"


def test_silence_is_not_no() -> None:
    """One says hate, one says nothing of it: nothing but that yes is known. A no against it weighs."""
    silent = everybody([FINE | {"hate_speech": 1.0}, FINE])
    against = everybody([FINE | {"hate_speech": 1.0}, FINE | {"hate_speech": 0.0}])
    assert silent.applies["hate_speech"] == everybody([FINE | {"hate_speech": 1.0}]).applies["hate_speech"]
    assert against.applies["hate_speech"] < silent.applies["hate_speech"]
    assert "pii" not in silent.applies


def test_learned_base_rates_replace_the_configured() -> None:
    said, people = {"A": FINE | {"pii": 1.0}, "B": FINE}, dict.fromkeys("AB", NEWCOMER)
    rare, common = (judge(said, people, POLICY, POLICY.base_rates | {"pii": rate}) for rate in (0.001, 0.2))
    assert rare.acceptable > judge(said, people, POLICY).acceptable > common.acceptable


@settings(max_examples=300)
@given(reviews, skills)
def test_a_judgement_is_whole(said, people) -> None:
    found = judge(said, people, POLICY)
    assert 0 <= found.acceptable <= 1
    assert (found.wanted == 0) == (found.state != "pending")
    assert found.state == "pending" or len(said) >= POLICY.least
    assert found.state != "pending" or len(said) < POLICY.most
    assert len(said) + found.wanted <= max(POLICY.most, len(said))
    assert set(found.applies) == {label for each in said.values() for label in each if label in CRITICAL}


@given(reviews, skills, st.randoms())
def test_the_order_of_arrival_does_not_matter(said, people, chance) -> None:
    shuffled = dict(chance.sample(sorted(said.items()), len(said)))
    assert judge(shuffled, people, POLICY) == judge(said, people, POLICY)


@given(reviews, skills, st.data())
def test_an_objection_never_helps_and_praise_never_harms(said, people, data) -> None:
    answered = [(who, label) for who, each in said.items() for label in each if label in CRITICAL]
    if answered:
        who, label = data.draw(st.sampled_from(answered))
        worse = judge(said | {who: said[who] | {label: 1.0}}, people, POLICY)
        better = judge(said | {who: said[who] | {label: 0.0}}, people, POLICY)
        assert worse.acceptable <= better.acceptable + 1e-12


@given(reviews)
def test_votes_hold_what_was_answered_alone(said) -> None:
    votes = label_votes(said, POLICY)
    for label, by in votes.items():
        assert by == {who: each[label] >= 0.5 for who, each in said.items() if label in each}
        assert by


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"least": 0}, "least is 0 and most 5"),
        ({"least": 6}, "least is 6 and most 5"),
        ({"quorum": -1}, "quorum is -1"),
        ({"accept_from": 1.0}, r"accept_from is 1\.0"),
        ({"refuse_from": 0.4}, r"refuse_from is 0\.4"),
        ({"accept_at_limit": 0.01}, r"accept_at_limit is 0\.01"),
        ({"critical": {"spma": Critical()}}, "critical label 'spma' is none; one of: spam"),
        ({"critical": {"spam": Critical(counts_from=0)}}, "'spam' counts from 0"),
        ({"critical": {"spam": Critical(base_rate=0)}}, "base rate of 'spam' is 0"),
    ],
)
def test_a_wrong_policy_is_refused(changes, message) -> None:
    with pytest.raises(BadInput, match=message):
        replace(POLICY, **changes)
