"""How much a new account may take on, and what makes a contributor a trusted one. Pure.

Less until the account is older or trusted. Trust is earned by work that proved good, over some time, without a sanction
that stands; the numbers are the collection's (`trust_*`), and since roles hold everywhere, those of the default one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.config import CollectionConfig
from core.records import User
from core.voices import Voice

TRUSTED = "trusted"
PROVEN = ("trusted", "moderator", "admin", "service")
"""Roles that are given to people who are known."""
MESSAGES = ("prompts", "replies_assistant", "replies_prompter")
JUDGEMENTS = ("labels", "rankings")
"""Acts that earn credits (`core.scoring`): messages accepted; judgements that agree with what came of them."""


@dataclass(frozen=True)
class Requirement:
    """One thing that trust needs, how much of it there is, and how much there must be.

    Attributes:
        name: `accepted_messages`, `settled_judgements`, `reliability` (0 to 1), `account_seconds` or `good_standing`
            (1 without a sanction that stands, else 0).
    """

    name: str
    have: float
    needed: float

    @property
    def met(self) -> bool:
        """Whether there is enough."""
        return self.have >= self.needed


def is_new(user: User, config: CollectionConfig, moment: datetime) -> bool:
    """Whether the account is younger than the collection asks, and has no role that says that it is known."""
    return not user.has_role(*PROVEN) and moment - user.created_at < timedelta(seconds=config.new_account_seconds)


def pending_limit(user: User, config: CollectionConfig, moment: datetime) -> int:
    """Tasks that the user may hold at once: a part of the usual number, but at least one, while the account is new."""
    usual = config.max_pending_tasks
    return max(1, int(usual * config.new_account_share)) if is_new(user, config, moment) else int(usual)


def work_done(counts: Mapping[str, int], config: CollectionConfig) -> tuple[Requirement, Requirement]:
    """What the acts of somebody's score document come to; the rest of the rule is worth a look once both are met."""
    return (
        Requirement("accepted_messages", sum(counts.get(each, 0) for each in MESSAGES), config.trust_messages),
        Requirement("settled_judgements", sum(counts.get(each, 0) for each in JUDGEMENTS), config.trust_judgements),
    )


def enough_work(counts: Mapping[str, int], config: CollectionConfig) -> bool:
    """Whether trust is given by work, and there is enough of it."""
    return config.trust_by_work and all(each.met for each in work_done(counts, config))


def reliability(voice: Voice) -> float:
    """The lesser of the weight of one's reviews and the tau of one's rankings, 0 to 1; a newcomer has 0.6."""
    return max(0.0, min(voice.skill.weight, voice.tau))


def requirements(
    user: User, counts: Mapping[str, int], voice: Voice, in_question: bool, config: CollectionConfig, moment: datetime
) -> list[Requirement]:
    """All that trust needs.

    Args:
        counts: acts that counted, ever.
        in_question: something about the person waits for a moderator.
    """
    standing = user.enabled and user.trust_withheld is None and not in_question
    age = (moment - user.created_at).total_seconds()
    return [
        *work_done(counts, config),
        Requirement("reliability", reliability(voice), config.trust_reliability),
        Requirement("account_seconds", max(0.0, age), config.trust_account_seconds),
        Requirement("good_standing", float(standing), 1.0),
    ]


def earned(needs: Sequence[Requirement], config: CollectionConfig) -> bool:
    """Whether trust is due."""
    return config.trust_by_work and all(each.met for each in needs)


def roles_set(user: User, roles: tuple[str, ...], reason: str) -> dict[str, Any]:
    """The changes to an account that gets exactly `roles`: who had `trusted` and shall not keeps the reason."""
    if TRUSTED in roles:
        return {"roles": list(roles), "trust_withheld": None}
    return {"roles": list(roles)} | ({"trust_withheld": reason} if user.has_role(TRUSTED) else {})
