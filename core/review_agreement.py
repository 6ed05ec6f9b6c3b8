"""Whether a review spoke for what came of the message, by the labels that decide about it. Pure.

The author's reasons, the points of reviewers and what they are shown of themselves all ask this one question. In
weighted mode every critical label of the collection refuses a message, in parity mode spam and lang_mismatch do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from core.adaptive_reviews import CRITICAL, Critical
from core.config import CollectionConfig
from core.opinions import Review
from core.records import Message

REVIEWED_WRONG = 0.5
"""In parity mode, a review speaks against a message when its spam and lang_mismatch answers sum to this or more."""
Agrees = Callable[[Review, Message], bool | None]
"""Whether a review spoke for what came of its message; None while that is open."""


def review_agreed(labels: Mapping[str, float], verdict: str, critical: Mapping[str, Critical] | None) -> bool | None:
    """Whether a review spoke for the verdict that came of it; None while there is none.

    Args:
        critical: the labels any of which refuses a message; None in parity mode.
    """
    if verdict == "pending":
        return None
    if critical is None:
        against = labels.get("spam", 0.0) + labels.get("lang_mismatch", 0.0) >= REVIEWED_WRONG
    else:
        against = any(labels.get(name, 0.0) >= rule.counts_from for name, rule in critical.items())
    return against == (verdict == "refused")


def by_rules(config: CollectionConfig) -> Agrees:
    """Reviews against verdicts, in a collection of these rules.

    A verdict that weighted reviews gave stays one of all critical labels, and one without a judgement that no moderator
    gave is one of parity mode, whatever the mode is now.
    """
    critical = config.review_policy.critical

    def agrees(review: Review, message: Message) -> bool | None:
        weighed = message.judgement is not None or (config.weighted and message.ruling is not None)
        return review_agreed(review.labels, message.state, critical if weighed else None)

    return agrees


def by_answers(answers: Mapping[str, bool]) -> Agrees:
    """Reviews against a known answer, label by label: all that it holds must be right. A label left out is a no."""

    def agrees(review: Review, message: Message) -> bool | None:
        if message.state == "pending":
            return None
        said = {name: review.labels.get(name, 0.0) >= CRITICAL[name].counts_from for name in answers}
        return said == answers

    return agrees
