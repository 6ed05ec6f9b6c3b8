"""How far each person's reviews and rankings are trusted, as the rules of a tree need to know it. Pure.

A `Voice` is what was learned of one person: expected right and wrong answers (`core.reliability`) and agreement on
pairs (`core.ranking_reliability`). Who is in no mapping is a newcomer. Does not know where voices are kept
(`core.learning`) nor what they are learned from (`core.lessons`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from core.ranking_reliability import Agreement, TauPrior, tau, weight
from core.reliability import Prior, Skill, Tally, skill

PRIOR = Prior()
TAU_PRIOR = TauPrior()
PARTS = ("caught", "missed", "passed", "blamed", "concordance", "information")
"""The six sums of a voice, as they are stored."""


@dataclass(frozen=True, slots=True)
class Voice:
    """What was learned of one person, on top of what is believed of newcomers."""

    tally: Tally = field(default_factory=Tally)
    agreement: Agreement = field(default_factory=Agreement)

    @classmethod
    def of(cls, parts: Sequence[float]) -> Voice:
        """The voice of six sums in the order of `PARTS`."""
        return cls(Tally(*parts[:4]), Agreement(*parts[4:]))

    @property
    def parts(self) -> tuple[float, ...]:
        """The six sums in the order of `PARTS`."""
        tally, agreement = self.tally, self.agreement
        return (
            tally.caught, tally.missed, tally.passed, tally.blamed, agreement.concordance, agreement.information,
        )  # fmt: skip

    def __add__(self, other: Voice) -> Voice:
        return Voice(self.tally + other.tally, self.agreement + other.agreement)

    @property
    def skill(self) -> Skill:
        """Rates of right answers in reviews."""
        return skill(self.tally, PRIOR)

    @property
    def tau(self) -> float:
        """Estimate of Kendall's tau against the truth, in [-1, 1]."""
        return tau(self.agreement, TAU_PRIOR)

    @property
    def ballot_weight(self) -> float:
        """Weight of a ranking, in (0, 1]."""
        return weight(self.tau)


Voices = Mapping[str, Voice]
NEWCOMER = Voice()


def skills(people: Iterable[str], voices: Voices) -> dict[str, Skill]:
    """The skill of each of `people`."""
    return {person: voices.get(person, NEWCOMER).skill for person in people}
