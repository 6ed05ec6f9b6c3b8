"""How often a caller may do something: the rates, in which relation they stand, what a bucket says. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import BadInput, TooMany


@dataclass(frozen=True)
class Rate:
    """At most `count` at once, and `count` each `seconds` in the long run."""

    count: int
    seconds: float

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 < self.seconds <= 86_400:
            raise BadInput(
                f"rate {self.count}/{self.seconds:g} is out of range; it must be COUNT/SECONDS with a count of at "
                "least 1 and at most 86400 seconds"
            )

    def __str__(self) -> str:
        return f"{self.count}/{self.seconds:g}"


PERSONAL = ("cost", "request_task", "generate")
"""Actions that are counted by person; each has buckets of the kinds of `ROOM` beside it."""
ROOM: dict[str, int] = {"trusted": 2, "address": 20, "client": 200}
"""How often the rate of a personal action goes into that of a trusted person, of all who are signed in
behind one address (a classroom may be), and of all who come with one app."""


def with_room(rates: Mapping[str, Rate]) -> dict[str, Rate]:
    """`rates`, and for each personal action those of `ROOM` that are not named."""
    made = {
        f"{action}_{kind}": Rate(rates[action].count * times, rates[action].seconds)
        for action in PERSONAL
        if action in rates
        for kind, times in ROOM.items()
    }
    return {**rates, **made, **{name: rate for name, rate in rates.items() if name in made}}


USUAL: dict[str, Rate] = {
    "cost": Rate(60_000, 60),
    "sign_in": Rate(60, 60),
    "token": Rate(120, 60),
    "letter": Rate(5, 900),
    "letter_address": Rate(100, 900),
    "letter_mailbox": Rate(60, 3600),
    "device_code": Rate(10, 900),
    "device_code_address": Rate(200, 900),
    "request_task": Rate(300, 60),
    "generate": Rate(15, 60),
}
"""Cost of operations, sign-ins (by address), calls of the token endpoint and its neighbours, letters that sign somebody
in (to one mailbox from one address, and all from an address or to a mailbox), codes of devices typed by hand (by a
person, and all from an address), requests for a task, and replies that a model is to write.

One address may be a school, and one mailbox is written to by whoever names it; so neither is what the small buckets
count, or a stranger could keep somebody from signing in.
"""
DEFAULT_RATES = with_room(USUAL)
"""All of them."""


@dataclass(frozen=True)
class Verdict:
    """What a bucket says after a take: the rate, tokens left, seconds until it is full again."""

    action: str
    rate: Rate
    remaining: int
    reset: float


class OutOfTokens(TooMany):
    """A bucket does not hold as much now; `verdict` is what it says."""

    def __init__(self, verdict: Verdict, amount: int, wait: float | None) -> None:
        rate = verdict.rate
        allowed = f"{verdict.action}: {rate.count} are allowed in {rate.seconds:g} s"
        if wait is None:
            super().__init__(f"{allowed}, and this would take {amount}; ask for less at once")
        else:
            wait = math.ceil(wait * 10) / 10
            super().__init__(f"{allowed}; try again in {wait:g} s", retry_after=wait)
        self.verdict = verdict


RATE = re.compile(r"([a-z_]+)=(\d{1,9})/(\d{1,5}(?:\.\d{1,3})?)")


def parse_rates(text: str) -> dict[str, Rate]:
    """The rates that `text` names, such as `sign_in=30/60,generate=10/60`, over the usual ones; none for `off`.

    Rates of `ROOM` that it does not name follow those that it names.

    Raises:
        BadInput: `text` is of another form, or names an action that is not limited.
    """
    if text == "off":
        return {}
    rates = dict(USUAL)
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = RATE.fullmatch(part)
        if found is None or found[1] not in DEFAULT_RATES:
            raise BadInput(
                f"rate limit {part!r} is not known; it must be ACTION=COUNT/SECONDS with one of the actions "
                f"{', '.join(DEFAULT_RATES)}, or 'off' alone"
            )
        rates[found[1]] = Rate(int(found[2]), float(found[3]))
    return with_room(rates)
