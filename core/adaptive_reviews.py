"""When reviews of a message suffice, and what they say: posterior odds over weighted reviews. Pure.

Each critical label is a yes/no question; a message is acceptable when all answers are no. After each review the
probability of that is found from the reviewers' skills; beyond doubt it decides, else one more review is wanted, up to
a limit: A. Wald's sequential probability ratio test (1945) with a bound. A label that a reviewer did not answer says
nothing. Does not know how skills are found (`core.reliability` does), nor who reviews.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.errors import BadInput
from core.labels import WIDGETS
from core.reliability import Skill, answer, check_rates


@dataclass(frozen=True, slots=True)
class Critical:
    """A label that can refuse a message.

    Attributes:
        counts_from: an answer of this or more, in (0, 1], is a yes.
        base_rate: part of messages to which it applies, inside (0, 1); learned rates may replace it.
    """

    counts_from: float = 0.5
    base_rate: float = 0.01


CRITICAL: dict[str, Critical] = {
    "spam": Critical(base_rate=0.08),
    "fails_task": Critical(base_rate=0.05),
    "lang_mismatch": Critical(base_rate=0.02),
    "pii": Critical(),
    "not_appropriate": Critical(base_rate=0.02),
    "hate_speech": Critical(),
    "sexual_content": Critical(),
}
"""The labels that refuse a message, as they are configured when nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class ReviewPolicy:
    """When to stop asking; values out of range are refused.

    Attributes:
        least, most: reviews of a message at least and at most.
        quorum: reviewers' weights that must come together before `most` reviews are in, so that two accounts whose
            word is worth nothing cannot pass what is mostly fine anyway.
        accept_from: probability that a message is acceptable from which it is accepted at once.
        refuse_from: probability that it is not from which it is refused at once.
        accept_at_limit: after `most` reviews, probability that it is acceptable from which it is accepted.
        critical: label -> when it counts.
    """

    least: int = 2
    most: int = 5
    quorum: float = 1.0
    accept_from: float = 0.95
    refuse_from: float = 0.95
    accept_at_limit: float = 0.5
    critical: Mapping[str, Critical] = field(default_factory=lambda: dict(CRITICAL))

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise _bad("least", f"least is {self.least} and most {self.most}; it must hold that 1 <= least <= most")
        if not 0 <= self.quorum < math.inf:
            raise _bad("quorum", f"quorum is {self.quorum}; it must be a finite number, 0 or more")
        for name in ("accept_from", "refuse_from"):
            if not 0.5 <= getattr(self, name) < 1:
                raise _bad(name, f"{name} is {getattr(self, name)}; it must be from 0.5 to below 1")
        if not 1 - self.refuse_from <= self.accept_at_limit <= self.accept_from:
            span = f"{1 - self.refuse_from:.6g} (1 - refuse_from) to {self.accept_from} (accept_from)"
            raise _bad("accept_at_limit", f"accept_at_limit is {self.accept_at_limit}; it must be from {span}")
        for label, rule in self.critical.items():
            if label not in WIDGETS:
                raise _bad("critical", f"critical label {label!r} is none; one of: {', '.join(WIDGETS)}")
            if not 0 < rule.counts_from <= 1:
                raise _bad("critical", f"{label!r} counts from {rule.counts_from}; it must be above 0 and up to 1")
        check_rates(self.critical, self.base_rates)

    @property
    def base_rates(self) -> dict[str, float]:
        """The configured base rate of each critical label."""
        return {label: rule.base_rate for label, rule in self.critical.items()}


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the reviews of a message say.

    Attributes:
        state: `pending`, `accepted` or `refused`.
        acceptable: probability that no critical label applies.
        applies: probability that each applies, of those that anybody answered.
        wanted: reviews still wanted at this moment; 0 once decided. After those, judge again.
    """

    state: str
    acceptable: float
    applies: dict[str, float]
    wanted: int

    @property
    def reasons(self) -> tuple[str, ...]:
        """Labels that more likely apply than not, the likeliest first."""
        likely = (label for label, probability in self.applies.items() if probability > 0.5)
        return tuple(sorted(likely, key=lambda label: (-self.applies[label], label)))


def label_votes(reviews: Mapping[str, Mapping[str, float]], policy: ReviewPolicy) -> dict[str, dict[str, bool]]:
    """Critical label -> reviewer -> said that it applies, of those who answered; labels nobody answered are left out.

    Args:
        reviews: by reviewer, the labels answered.
    """
    votes = {
        label: {person: labels[label] >= rule.counts_from for person, labels in reviews.items() if label in labels}
        for label, rule in policy.critical.items()
    }
    return {label: said for label, said in votes.items() if said}


def judge(
    reviews: Mapping[str, Mapping[str, float]],
    skills: Mapping[str, Skill],
    policy: ReviewPolicy,
    base_rates: Mapping[str, float] | None = None,
) -> Judgement:
    """The state of a message after `reviews`; their order does not matter.

    Args:
        reviews: by reviewer, the labels answered, each in [0, 1].
        skills: of every reviewer.
        base_rates: learned ones; the policy's by default.
    """
    rates = policy.base_rates if base_rates is None else base_rates
    applies = {label: answer(said, skills, rates[label]) for label, said in label_votes(reviews, policy).items()}
    acceptable = math.prod(1 - probability for probability in applies.values())
    weight = math.fsum(skills[person].weight for person in reviews)
    state = _state(acceptable, len(reviews), weight, policy)
    wanted = max(1, policy.least - len(reviews)) if state == "pending" else 0
    return Judgement(state=state, acceptable=acceptable, applies=applies, wanted=wanted)


def _state(acceptable: float, count: int, weight: float, policy: ReviewPolicy) -> str:
    if count >= policy.most:
        return "accepted" if acceptable >= policy.accept_at_limit else "refused"
    if count >= policy.least and weight >= policy.quorum:
        if acceptable >= policy.accept_from:
            return "accepted"
        if 1 - acceptable >= policy.refuse_from:
            return "refused"
    return "pending"


def _bad(name: str, message: str) -> BadInput:
    return BadInput(message, path=(name,))
