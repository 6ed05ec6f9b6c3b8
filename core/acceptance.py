"""Whether peers accept a message: the verdict over its reviews. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def acceptance_score(reviews: Sequence[Mapping[str, float]]) -> float:
    """1 - (mean spam + mean lang_mismatch), in [-1, 1]; an unanswered label speaks for the message.

    This is Open-Assistant's score: of three reviews, one vote of either kind still accepts at its threshold of 0.6,
    two refuse.
    """
    against = [labels.get("spam", 0.0) + labels.get("lang_mismatch", 0.0) for labels in reviews]
    return 1.0 - math.fsum(against) / len(reviews)


def verdict(reviews: Sequence[Mapping[str, float]], required: int, threshold: float) -> str:
    """`pending` below `required` reviews; then `accepted` where the score is above `threshold`, else `refused`."""
    if len(reviews) < required:
        return "pending"
    return "accepted" if acceptance_score(reviews) > threshold else "refused"
