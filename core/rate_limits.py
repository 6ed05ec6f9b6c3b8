"""How often a caller may do something: token buckets in the document store, shared by all copies of the API.

A bucket holds `count` tokens and gains `count` each `seconds`. It is stored as one number, the time at which it will be
full again (the generic cell rate algorithm, ITU-T I.371, in its "virtual scheduling" form): taking tokens moves that
time on, and a time in the past is a full bucket. So each take is one guarded update of one field, right under any
number of racing callers, without a transaction and without a revision to retry on; and a full bucket says nothing, so
that it may be deleted at any time. Knows callers and actions by name only.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pymongo.errors import DuplicateKeyError

from core.database import Database
from core.errors import BadInput, TooMany

PURGE_EVERY = 500
"""New buckets after which this process deletes the full ones."""
SECOND = 1_000_000
"""Times are whole microseconds since 1970; they stay below 2**53."""


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


DEFAULT_RATES: dict[str, Rate] = {
    "cost": Rate(60_000, 60),
    "sign_in": Rate(60, 60),
    "token": Rate(120, 60),
    "letter": Rate(5, 900),
    "letter_address": Rate(100, 900),
    "letter_mailbox": Rate(60, 3600),
    "device_code": Rate(10, 900),
    "device_code_address": Rate(200, 900),
    "request_task": Rate(300, 60),
    "generate": Rate(30, 60),
}
"""Cost of operations, sign-ins (by address), calls of the token endpoint and its neighbours, letters that sign somebody
in (to one mailbox from one address, and all from an address or to a mailbox), codes of devices typed by hand (by a
person, and all from an address), requests for a task, and replies that a model is to write.

One address may be a school, and one mailbox is written to by whoever names it; so neither is what the small buckets
count, or a stranger could keep somebody from signing in.
"""


@dataclass(frozen=True)
class Verdict:
    """What a bucket says after a take: the rate, tokens left, seconds until it is full again."""

    action: str
    rate: Rate
    remaining: int
    reset: float


class RateLimits:
    """The buckets.

    Args:
        database: holds them, in `rate_buckets`.
        rates: by action; what is not in it is not limited.
        clock: microseconds since 1970.
    """

    def __init__(
        self, database: Database, rates: Mapping[str, Rate] = DEFAULT_RATES, clock: Callable[[], int] | None = None
    ) -> None:
        self._buckets = database["rate_buckets"]
        self._rates = rates
        self._clock = clock or (lambda: time.time_ns() // 1000)
        self._made = 0

    async def take(self, caller: str, action: str, amount: int = 1) -> Verdict | None:
        """Take `amount` tokens of the caller's bucket for `action`; None where the action is not limited.

        Raises:
            TooMany: there are not as many now; nothing was taken. `retry_after` says when there will be, and is None
                where the bucket never holds as many.
        """
        rate = self._rates.get(action)
        if rate is None:
            return None
        now, key = self._clock(), f"{caller}|{action}"
        step, whole = round(amount * rate.seconds * SECOND / rate.count), round(rate.seconds * SECOND)
        full_at = await self._move(key, now, step, whole)
        if full_at > now + whole:
            raise _too_many(action, rate, amount, None if step > whole else (full_at - now - whole) / SECOND)
        left = (now + whole - full_at) * rate.count // whole
        return Verdict(action, rate, left, (full_at - now) / SECOND)

    async def _move(self, key: str, now: int, step: int, whole: int) -> int:
        """When the bucket will be full after the take; more than `whole` from `now`, and not stored, where it is
        refused."""
        latest = now + whole - step
        while step <= whole:
            full = {"_id": key, "full_at": {"$lt": now}}
            if (await self._buckets.update_one(full, {"$set": {"full_at": now + step}})).matched_count:
                return now + step
            partly = {"_id": key, "full_at": {"$gte": now, "$lte": latest}}
            after = await self._buckets.find_one_and_update(partly, {"$inc": {"full_at": step}})
            if after is not None:
                return int(after["full_at"]) + step
            if await self._make(key, now + step):
                return now + step
            found = await self._buckets.find_one({"_id": key})
            if found is not None and found["full_at"] > latest:
                return int(found["full_at"]) + step
        return now + step

    async def _make(self, key: str, full_at: int) -> bool:
        """Whether the bucket was not there, and now is."""
        try:
            await self._buckets.insert_one({"_id": key, "full_at": full_at})
        except DuplicateKeyError:
            return False
        self._made += 1
        if self._made % PURGE_EVERY == 0:
            await self.purge()
        return True

    async def purge(self) -> int:
        """Delete the buckets that are full, which are as good as none; returns how many."""
        return (await self._buckets.delete_many({"full_at": {"$lt": self._clock()}})).deleted_count


def _too_many(action: str, rate: Rate, amount: int, wait: float | None) -> TooMany:
    allowed = f"{action}: {rate.count} are allowed in {rate.seconds:g} s"
    if wait is None:
        return TooMany(f"{allowed}, and this would take {amount}; ask for less at once")
    wait = math.ceil(wait * 10) / 10
    return TooMany(f"{allowed}; try again in {wait:g} s", retry_after=wait)


RATE = re.compile(r"([a-z_]+)=(\d{1,9})/(\d{1,5}(?:\.\d{1,3})?)")


def parse_rates(text: str) -> dict[str, Rate]:
    """The rates that `text` names, such as `sign_in=30/60,generate=10/60`, over the defaults; none for `off`.

    Raises:
        BadInput: `text` is of another form, or names an action that is not limited.
    """
    if text == "off":
        return {}
    rates = dict(DEFAULT_RATES)
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = RATE.fullmatch(part)
        if found is None or found[1] not in DEFAULT_RATES:
            raise BadInput(
                f"rate limit {part!r} is not known; it must be ACTION=COUNT/SECONDS with one of the actions "
                f"{', '.join(DEFAULT_RATES)}, or 'off' alone"
            )
        rates[found[1]] = Rate(int(found[2]), float(found[3]))
    return rates
