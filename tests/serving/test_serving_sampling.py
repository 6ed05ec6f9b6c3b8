"""Sampling against plain definitions, and as properties over random logits."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.requests import GREEDY, Sampling
from serving.sampling import candidates, choose, draw, log_probability, penalise, pick, softmax

logits_of = hnp.arrays(np.float32, st.integers(2, 60), elements=st.floats(-30, 30, width=32))


@dataclass
class Row:
    sampling: Sampling
    prompt: list[int] = field(default_factory=list)
    reply: list[int] = field(default_factory=list)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))


def plain_candidates(p: np.ndarray, settings: Sampling) -> set[int]:
    """The filters by their definitions: sort everything, cut, renormalise, cut."""
    order = sorted(range(len(p)), key=lambda index: (-p[index], index))
    if settings.top_k:
        order = order[: settings.top_k]
    total = sum(float(p[index]) for index in order) if settings.top_k else 1.0
    kept, mass = [], 0.0
    for index in order:
        if settings.top_p < 1.0 and mass >= settings.top_p * total and kept:
            break
        kept.append(index)
        mass += float(p[index])
    return {index for index in kept if p[index] >= np.float32(settings.min_p) * p[order[0]] or index == order[0]}


@given(logits_of, st.floats(0.05, 1.0), st.integers(0, 8), st.sampled_from([0.0, 0.05, 0.3]))
def test_the_filters_keep_what_their_definitions_keep(logits, top_p, top_k, min_p):
    settings = Sampling(top_p=top_p, top_k=top_k, min_p=min_p)
    p = softmax(logits[None], [1.0])[0]
    kept = candidates(p, settings)
    found = set(range(len(p))) if kept is None else set(kept.tolist())
    expected = plain_candidates(p, settings)
    mass = sum(sorted(p.tolist())[-top_k:]) if top_k else 1.0
    # Equal probabilities at the edge may be cut either way, and rounding may move an edge by one part in a million.
    for token in found ^ expected:
        edge = min(float(p[index]) for index in expected)
        near_top_p = abs(sum(float(x) for x in p if x > p[token]) - top_p * mass) < 1e-5
        assert p[token] == pytest.approx(edge, rel=1e-5) or near_top_p


@given(logits_of)
def test_greedy_is_the_argmax_whoever_shares_the_batch(logits):
    rows = [Row(GREEDY), Row(Sampling(seed=1)), Row(GREEDY)]
    tokens = choose(np.stack([logits, logits, logits[::-1]]), rows)
    assert tokens[0] == int(logits.argmax())
    assert logits[::-1][tokens[2]] == logits.max()


@given(logits_of, st.integers(0, 2**32), st.floats(0.1, 2.0), st.floats(0.1, 1.0))
def test_a_draw_depends_on_its_own_row_alone(logits, seed, temperature, top_p):
    settings = Sampling(temperature=temperature, top_p=top_p)

    def one(others: int) -> int:
        rows = [Row(Sampling(temperature=0.7)) for _ in range(others)]
        rows.append(Row(settings, random=np.random.default_rng(seed)))
        return choose(np.stack([logits] * (others + 1)), rows)[-1]

    assert one(0) == one(3)


def test_draws_follow_the_probabilities():
    p = np.array([0.5, 0.3, 0.2, 0.0], np.float32)
    random = np.random.default_rng(5)
    counts = np.bincount([draw(p, Sampling(), random) for _ in range(6000)], minlength=4) / 6000
    assert counts[3] == 0
    assert np.abs(counts - p).max() < 0.03


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30), st.floats(0, 1, exclude_max=True))
def test_a_token_of_no_weight_is_never_picked(weights, uniform):
    weights = np.array(weights, np.float32)
    if weights.sum() > 0:
        assert weights[pick(np.arange(len(weights)), weights, uniform)] > 0


def test_temperature_sharpens_and_flattens():
    logits = np.array([[1.0, 0.0]] * 2, np.float32)
    cold, hot = softmax(logits, [0.1, 2.0])
    assert cold[0] > 0.99
    assert 0.5 < hot[0] < 0.63
    assert np.allclose([cold.sum(), hot.sum()], 1)


def test_penalties_by_hand():
    logits = np.array([2.0, -2.0, 1.0, 0.0], np.float32)
    row = Row(Sampling(repetition_penalty=2.0, presence_penalty=0.5, frequency_penalty=0.25), [0, 1], [2, 2])
    penalise(logits, row)
    assert logits.tolist() == [1.0, -4.0, 0.5 - 0.5 - 0.5, 0.0]


def test_penalties_do_not_change_the_callers_logits():
    logits = np.array([[2.0, 1.0]], np.float32)
    row = Row(Sampling(temperature=0, presence_penalty=2.0), reply=[0])
    assert choose(logits, [row]) == [1]
    assert logits.tolist() == [[2.0, 1.0]]


@given(logits_of, st.integers(0, 5))
def test_log_probabilities_are_normalised_and_sorted(logits, alternatives):
    token = int(logits.argmin())
    found = log_probability(logits, token, alternatives)
    exact = logits.astype(np.float64)
    exact -= np.log(np.exp(exact - exact.max()).sum()) + exact.max()
    assert found.logprob == pytest.approx(exact[token], abs=1e-9)
    values = [value for _, value in found.top]
    assert values == sorted(values, reverse=True)
    assert len(values) == min(alternatives, len(logits))
    if values:
        assert values[0] == pytest.approx(exact.max(), abs=1e-9)
