"""The small rules: labels, acceptance, configuration, texts, lottery, scores."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.acceptance import acceptance_score, verdict
from core.config import CollectionConfig, check_kind
from core.errors import BadInput
from core.labels import WIDGETS, averages, check_labels, labels_for
from core.lottery import draw, missing_prompts
from core.opinions import Ranking, Review
from core.records import Message, Tree
from core.review_agreement import by_rules
from core.scoring import bucket, credits_of, level, next_level_at, score, streak
from core.texts import check_lang, check_langs, check_text

PARITY = by_rules(CollectionConfig(mode="parity"))
MOMENT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def code_of(error: pytest.ExceptionInfo[BadInput]) -> str:
    return error.value.code


# Labels.


def test_label_sets_are_those_of_the_original() -> None:
    assert len(labels_for("label_initial_prompt")) == len(labels_for("label_prompter_reply")) == 11
    assert len(labels_for("label_assistant_reply")) == 13
    assert set(labels_for("label_assistant_reply")) - set(labels_for("label_initial_prompt")) == {
        "fails_task",
        "helpfulness",
    }


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({"spam": 0, "kindness": 1}, "kindness"),
        ({"spam": 0, "fails_task": 1}, "fails_task"),
        ({"spam": 1.5}, "spam"),
        ({"spam": -0.1}, "spam"),
        ({"spam": float("nan")}, "spam"),
        ({"spam": "1"}, "spam"),
        ({"quality": 0.5}, "spam"),
        ({}, "spam"),
    ],
)
def test_wrong_labels_are_refused_by_name(labels, name) -> None:
    with pytest.raises(BadInput) as error:
        check_labels("label_prompter_reply", labels)
    assert code_of(error) == "BAD_LABELS"
    assert error.value.path == ("labels", name)
    assert name in error.value.message


def test_unanswered_labels_are_not_zero() -> None:
    assert check_labels("label_assistant_reply", {"quality": 1, "spam": 0}) == {"spam": 0.0, "quality": 1.0}


answers = st.dictionaries(st.sampled_from(sorted(WIDGETS)), st.floats(0, 1), max_size=6)


@given(st.lists(answers, max_size=6), answers, st.randoms())
def test_averages_are_means_on_top_of_a_base_in_any_order(reviews, base_values, chance) -> None:
    base = {name: {"value": value, "count": 2} for name, value in base_values.items()}
    result = averages(reviews, base)
    assert result == averages(chance.sample(reviews, len(reviews)), base)
    for name in WIDGETS:
        given_values = [labels[name] for labels in reviews if name in labels]
        before = [base_values[name]] * 2 if name in base_values else []
        if not given_values and not before:
            assert name not in result
        else:
            assert result[name]["count"] == len(given_values) + len(before)
            assert result[name]["value"] == pytest.approx(sum(given_values + before) / result[name]["count"])


# Acceptance.


@pytest.mark.parametrize(
    ("spam", "mismatch", "expected"),
    [((0, 0, 0), (0, 0, 0), "accepted"), ((1, 0, 0), (0, 0, 0), "accepted"), ((0, 0, 0), (0, 1, 0), "accepted"),
     ((1, 1, 0), (0, 0, 0), "refused"), ((1, 0, 0), (0, 0, 1), "refused"), ((1, 1, 1), (1, 1, 1), "refused")],
)  # fmt: skip
def test_the_verdict_of_three_reviews(spam, mismatch, expected) -> None:
    reviews = [{"spam": one, "lang_mismatch": other} for one, other in zip(spam, mismatch, strict=True)]
    assert verdict(reviews, 3, 0.6) == expected
    assert verdict(reviews[:2], 3, 0.6) == "pending"


@given(st.lists(answers, min_size=1, max_size=6))
def test_acceptance_looks_at_spam_and_language_alone(reviews) -> None:
    bare = [{name: labels[name] for name in ("spam", "lang_mismatch") if name in labels} for labels in reviews]
    assert acceptance_score(bare) == acceptance_score(reviews)
    assert -1 - 1e-9 <= acceptance_score(reviews) <= 1


# Configuration.


def test_the_defaults_are_those_of_production() -> None:
    config = CollectionConfig()
    assert (config.goal_tree_size, config.max_tree_depth, config.max_children_count) == (15, 5, 3)
    assert (config.max_active_trees, config.max_initial_prompt_review, config.max_prompt_lottery_waiting) == (
        10,
        100,
        250,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"goal_tree_size": 0},
        {"p_lonely_child_extension": 1.1},
        {"acceptance_threshold_reply": 2},
        {"max_tree_depth": -1},
        {"lease_label_seconds": float("nan")},
        {"random_goal_tree_size": True, "min_goal_tree_size": 16},
    ],
)
def test_a_value_out_of_range_is_refused_by_name(wrong) -> None:
    with pytest.raises(BadInput) as error:
        CollectionConfig(**wrong)
    assert error.value.path[0] in wrong


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(BadInput, match="summarize_story") as error:
        check_kind("summarize_story")
    assert code_of(error) == "UNKNOWN_TASK_KIND"
    assert check_kind("random") == "random"


def test_each_kind_has_its_lease() -> None:
    config = CollectionConfig()
    assert config.lease_seconds("label_prompter_reply") == 900
    assert config.lease_seconds("rank_assistant_replies") == 1800
    assert config.lease_seconds("assistant_reply") == config.lease_seconds("initial_prompt") == 3600


# Texts.


@pytest.mark.parametrize("text", ["", "  \n\t ", "\u200b\u200d", "\u00a0\ufeff", "\u0301"])
def test_a_text_that_shows_nothing_is_empty(text) -> None:
    with pytest.raises(BadInput) as error:
        check_text(text, 10)
    assert code_of(error) == "TEXT_EMPTY"


def test_length_is_counted_in_characters() -> None:
    assert check_text("  " + "é" * 10 + "\n", 10) == "é" * 10
    with pytest.raises(BadInput, match="11") as error:
        check_text("é" * 11, 10)
    assert code_of(error) == "TEXT_TOO_LONG"
    with pytest.raises(BadInput, match="surrogate"):
        check_text("half \ud83d", 10)


@pytest.mark.parametrize("lang", ["", "english", "e", "en|de", "en_US", "en-", "x" * 40])
def test_a_malformed_language_is_refused(lang) -> None:
    with pytest.raises(BadInput):
        check_lang(lang)


def test_languages_are_kept_once_in_order() -> None:
    assert check_langs(["pt-BR", "en", "pt-BR", "bar", "zh-Hant-TW"]) == ("pt-BR", "en", "bar", "zh-Hant-TW")
    assert check_langs(["pt-br", "EN", "PT-BR", "zh-hant-tw", "es-419"]) == ("pt-BR", "en", "zh-Hant-TW", "es-419")
    with pytest.raises(BadInput):
        check_langs([])


# Lottery.


def waiting(count: int, authors: str) -> list[Tree]:
    return [
        Tree(id=f"{number:02d}", state="prompt_lottery_waiting", lang="en", author_id=authors[number % len(authors)])
        for number in range(count)
    ]


def test_authors_are_drawn_by_weight_and_then_their_prompts_evenly() -> None:
    trees = [*waiting(6, "a"), Tree(id="zz", state="prompt_lottery_waiting", lang="en", author_id="b")]
    chance = random.Random(1)
    drawn = Counter(draw(trees, {"a": 2}, chance).id for _ in range(8000))
    assert drawn["zz"] / 8000 == pytest.approx(1 / 4, abs=0.02)
    for tree in trees[:6]:
        assert drawn[tree.id] / 8000 == pytest.approx(3 / 4 / 6, abs=0.02)


def test_a_draw_follows_from_its_seed_and_not_from_the_order_of_trees() -> None:
    trees = waiting(9, "abc")
    first = [draw(trees, {}, random.Random(seed)).id for seed in range(20)]
    assert first == [draw(trees[::-1], {}, random.Random(seed)).id for seed in range(20)]
    assert draw([], {}, random.Random(1)) is None


def test_missing_prompts_are_bounded_by_the_waiting_room() -> None:
    config = CollectionConfig(init_prompt_disabled_langs=("de",))
    assert missing_prompts({}, "en", config) == 110
    assert missing_prompts({"prompt_lottery_waiting": 200}, "en", config) == 50
    assert missing_prompts({"growing": 10, "initial_prompt_review": 97}, "en", config) == 3
    assert missing_prompts({"growing": 30, "prompt_lottery_waiting": 300}, "en", config) == 0
    assert missing_prompts({}, "de", config) == 0


# Scores.


def test_levels_are_those_of_the_original() -> None:
    thresholds = [0, 4, 9, 16, 24, 32, 42, 53, 65, 79, 93]
    assert [level(points) for points in thresholds] == list(range(1, 12))
    assert [level(points - 1) for points in thresholds[1:]] == list(range(1, 11))
    assert (level(1619), level(6000), level(5999), level(10**6)) == (51, 100, 99, 100)
    assert (next_level_at(0), next_level_at(4), next_level_at(6000)) == (4, 9, None)


def test_the_score_cuts_parts_of_points() -> None:
    assert score({"prompts": 4}) == 0
    assert score({"prompts": 5, "replies_assistant": 1, "labels": 3, "ranked_1": 1}) == 1 + 8 + 6 + 9
    assert score({"rankings": -3}) == 0


def test_frames_are_named_by_the_calendar() -> None:
    assert [bucket(frame, MOMENT) for frame in ("day", "week", "month", "total")] == [
        "2026-11-22", "2026-W47", "2026-11", "all",
    ]  # fmt: skip
    assert bucket("week", datetime(2027, 1, 1, tzinfo=UTC)) == "2026-W53"
    with pytest.raises(BadInput, match="year"):
        bucket("year", MOMENT)


def test_a_streak_lasts_while_pauses_are_short() -> None:
    day = timedelta(days=1)
    began, days = streak(None, None, MOMENT)
    assert (began, days) == (MOMENT, 0)
    assert streak(began, MOMENT, MOMENT + day) == (MOMENT, 1)
    assert streak(began, MOMENT + day, MOMENT + 2 * day) == (MOMENT, 2)
    assert streak(began, MOMENT, MOMENT + 2 * day) == (MOMENT + 2 * day, 0)


def test_only_accepted_human_work_earns() -> None:
    def message(identity: str, **values) -> Message:
        fields = {"state": "accepted", "author_id": "ann", "parent_id": "p", "role": "assistant"} | values
        return Message(id=identity, tree_id="p", lang="en", text="x", **fields)

    messages = [
        message("p", parent_id=None, role="prompter"),
        message("good", rank=1),
        message("refused", state="refused"),
        message("deleted", deleted=True),
        message("model", synthetic=True, rank=0),
        message("waits", state="pending"),
        message("imported", base={}),
        message("nobody", author_id=None),
    ]
    said = [("good", 0, "bob"), ("good", 1, "eve"), ("refused", 1, "eve"), ("refused", 0, "bob"), ("waits", 0, "bob")]
    reviews = [
        Review(id=f"r{number}", tree_id="p", message_id=target, labels={"spam": spam}, user_id=user)
        for number, (target, spam, user) in enumerate(said)
    ]
    orders = {"cid": ("model", "good", "deleted"), "dan": ("good", "model"), "fay": ()}
    rankings = [
        Ranking(id=user, tree_id="p", parent_id="p", ranking=order, served=("good", "model"), user_id=user)
        for user, order in orders.items()
    ]
    earned = Counter((credit.user_id, credit.what) for credit in credits_of(messages, reviews, rankings, PARITY))
    assert earned == {
        ("ann", "prompts"): 1, ("ann", "replies_assistant"): 1, ("ann", "ranked_2"): 1, ("ann", "ranked_1"): 1,
        ("bob", "labels"): 1, ("eve", "labels"): 1, ("cid", "rankings"): 1, ("cid", "rankings_good"): 1,
        ("fay", "rankings"): 1, ("ann", "refused"): 1,
    }  # fmt: skip
    undecided = [replace(each, rank=None) for each in messages]
    assert not [each for each in credits_of(undecided, [], rankings, PARITY) if each.what.startswith("rankings")]
