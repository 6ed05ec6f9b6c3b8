"""Alike texts, signs of spam, and what follows of them: pure rules."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from core_people import SMALL
from hypothesis import given
from hypothesis import strategies as st

from core.alike import Alike
from core.errors import BadInput, Conflict
from core.records import USER_ROLES, User, now
from core.screening import Screening, check_limits, extra_reviews, screen
from core.sketches import BANDS, bands, packed, similarity, sketch, unpacked
from core.text_scorers import SignScorer, load_scorer
from core.trust import is_new, pending_limit

NOW = now()

LONG = (
    "A fugue is a piece in which one theme comes in again and again, in one voice after the other, while the voices "
    "that had it before go on with something that fits to it; the listener hears the theme return in ever new company."
)
SPAM = "URGENT! You have WON a £1000 prize! Call 09061234567 now or text CLAIM to 80082. T&Cs apply www.prizes.co.uk"
PLAIN = "Could you explain how yeast makes bread rise, and why salt slows it down?"


@given(st.text(max_size=300))
def test_a_text_is_like_itself_however_it_is_spaced_and_cased(text) -> None:
    mine = sketch(text)
    assert unpacked(packed(mine)) == mine
    assert similarity(mine, mine) == 1.0
    assert sketch("  " + " \n".join(text.split(" ")) + " ") == sketch(" ".join(text.split()))
    assert len(set(bands(mine))) == len(bands(mine)) <= BANDS


@given(st.text(max_size=200), st.text(max_size=200))
def test_likeness_is_the_same_both_ways_and_from_0_to_1(one, other) -> None:
    a, b = sketch(one), sketch(other)
    assert 0 <= similarity(a, b) == similarity(b, a) <= 1


def test_a_changed_word_leaves_texts_alike_and_another_text_is_not() -> None:
    changed = sketch(LONG.replace("theme return", "subject return"))
    assert similarity(sketch(LONG), changed) > 0.8
    assert bands(sketch(LONG)).items() & bands(changed).items()
    assert similarity(sketch(LONG), sketch(PLAIN)) < 0.2


@pytest.mark.parametrize(("size", "changed"), [(120, 2), (240, 8), (1200, 59)])
def test_texts_that_share_nine_runs_in_ten_find_each_other_in_99_of_100_cases(size, changed) -> None:
    chance, found, shared = random.Random(size), 0, 0.0
    for _ in range(400):
        one = "".join(chance.choices("etaoinshrd", k=size))
        place = chance.randrange(4, size - changed - 4)
        other = one[:place] + "".join(chance.choices("xyz", k=changed)) + one[place + changed :]
        a, b = ({text[at : at + 5] for at in range(size - 4)} for text in (one, other))
        shared += len(a & b) / len(a | b) / 400
        found += bool(bands(sketch(one)).items() & bands(sketch(other)).items())
    assert (round(shared, 1), found >= 0.99 * 400) == (0.9, True)


def test_spam_scores_high_and_a_question_low() -> None:
    scorer = SignScorer()
    assert scorer.score(SPAM, "en")["spam"] > 0.9
    assert scorer.score(PLAIN, "en")["spam"] < 0.1
    assert scorer.score("", "en")["spam"] < 0.1


@given(st.text(max_size=500), st.integers(0, 8))
def test_more_signs_never_make_a_text_less_suspicious(text, times) -> None:
    scorer = SignScorer()
    before = scorer.score(text, "en")["spam"]
    assert 0 <= before <= 1
    assert scorer.score(f"{text} call 09061234567 now", "en")["spam"] >= before - 0.2  # less shouting, at most


def test_a_scorer_is_named_by_its_path() -> None:
    assert isinstance(load_scorer("core.text_scorers:SignScorer"), SignScorer)
    assert isinstance(load_scorer(None), SignScorer)
    for wrong in ("nowhere", "nowhere:X", "core.text_scorers:Nothing", "core.ids:new_id", "core.text_scorers:SIGNS"):
        with pytest.raises(BadInput, match="OA_TEXT_SCORER"):
            load_scorer(wrong)


def alike(user: str, tree: str, part: float) -> Alike:
    return Alike(message_id=f"{user}{tree}", tree_id=tree, user_id=user, lang="en", similarity=part)


def test_what_is_found_is_told_apart_by_whose_and_where() -> None:
    others = [alike(f"u{number}", f"t{number}", 0.9) for number in range(3)]
    found = screen("ann", "t", {"spam": 1.7}, ["email"], [alike("ann", "x", 0.85), alike("bob", "t", 0.95), *others])
    assert (found.own, found.tree, found.others) == (0.85, 0.95, 4)
    assert found.scores == {"spam": 1.0}
    assert found.suspicions(SMALL) == ("score:spam", "pii:email", "alike:own", "alike:tree", "flood")
    assert extra_reviews(found, SMALL) == SMALL.suspicious_reviews
    nothing = screen("ann", "t", {"spam": 0.1}, [], [])
    assert (nothing.suspicions(SMALL), extra_reviews(nothing, SMALL)) == ((), 0)


def test_only_limits_that_were_set_refuse() -> None:
    worst = Screening(scores={"spam": 1.0}, own=1.0, tree=1.0, others=99)
    check_limits(worst, SMALL)
    with pytest.raises(BadInput, match="looks like spam"):
        check_limits(worst, replace(SMALL, refuse_score_above=0.9))
    with pytest.raises(Conflict) as error:
        check_limits(worst, replace(SMALL, refuse_alike_above=0.9))
    assert error.value.code == "DUPLICATE_TEXT"
    check_limits(
        Screening(scores={"spam": 0.9}, own=0.9), replace(SMALL, refuse_score_above=0.9, refuse_alike_above=0.9)
    )


@given(st.integers(1, 50), st.floats(0, 1), st.integers(0, 172_800), st.sampled_from(USER_ROLES))
def test_new_accounts_hold_fewer_tasks_until_they_are_older_or_known(usual, share, age, role) -> None:
    config = replace(SMALL, max_pending_tasks=usual, new_account_share=share)
    made_at = NOW - timedelta(seconds=age)
    user = User(id="u", auth_method="test", subject="u", display_name="u", roles=(role,), created_at=made_at)
    limit = pending_limit(user, config, NOW)
    assert 1 <= limit <= usual
    if is_new(user, config, NOW):
        assert role == "contributor"
        assert age < config.new_account_seconds
        assert limit == max(1, int(usual * share))
    else:
        assert limit == usual
