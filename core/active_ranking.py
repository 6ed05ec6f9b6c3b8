"""Which sets of siblings are best ranked first: those of which a reward model is least sure, or sees otherwise. Pure.

The model's scores are logits of the Bradley-Terry model that it was trained by: it puts i before j with probability
sigmoid(s_i - s_j). Asking where that is near one half, or where people contradict it, teaches it most (D. Lewis and
W. Gale, "A sequential algorithm for training text classifiers", 1994: uncertainty sampling).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

from core.opinions import Ranking
from core.records import Message

SOON, USUAL = "1", "5"
"""Priorities of work to rank."""
SURE_FROM = 0.65
"""Probability of an order from which the model counts as sure of it."""


def scores(replies: Sequence[Message]) -> dict[str, float]:
    """Message id -> score, where one model version scored all of `replies`; empty otherwise."""
    rewards = [message.reward for message in replies]
    models = {reward["model_version"] if reward else None for reward in rewards}
    if len(models) != 1 or None in models:
        return {}
    return {message.id: float(reward["score"]) for message, reward in zip(replies, rewards, strict=True) if reward}


def priority(score: Mapping[str, float], rankings: Sequence[Ranking]) -> str:
    """The priority of ranking a set of siblings; `USUAL` where the model says nothing.

    Args:
        score: of each of the siblings, by `scores`.
        rankings: those given so far.
    """
    return SOON if score and (_unsure(score) or _contradicted(score, rankings)) else USUAL


def _sure(score: Mapping[str, float], first: str, second: str) -> float:
    """Probability that the model puts `first` before `second`."""
    return 0.5 * (1 + math.tanh((score[first] - score[second]) / 2))


def _unsure(score: Mapping[str, float]) -> bool:
    order = sorted(score, key=lambda each: (-score[each], each))
    return any(_sure(score, first, second) < SURE_FROM for first, second in pairwise(order))


def _contradicted(score: Mapping[str, float], rankings: Sequence[Ranking]) -> bool:
    """Whether most rankings put two replies the other way round than the model, which is sure of them."""
    lead: Counter[tuple[str, str]] = Counter()
    for ranking in rankings:
        place = {each: tier for tier, group in enumerate(ranking.groups) for each in group if each in score}
        for first, second in combinations(sorted(place), 2):
            lead[first, second] += (place[first] < place[second]) - (place[first] > place[second])
    return any(
        (by > 0 and _sure(score, second, first) >= SURE_FROM) or (by < 0 and _sure(score, first, second) >= SURE_FROM)
        for (first, second), by in lead.items()
    )
