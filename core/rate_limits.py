"""How often a caller may do something: token buckets in the document store, shared by all copies of the API.

A bucket holds `count` tokens and gains `count` each `seconds`. It is stored as one number, the time at which it will be
full again (the generic cell rate algorithm, ITU-T I.371, in its "virtual scheduling" form): taking tokens moves that
time on, and a time in the past is a full bucket. So each take is one guarded update of one field, right under any
number of racing callers, without a transaction and without a revision to retry on; and a full bucket says nothing, so
that it may be deleted at any time. Knows callers and actions by name only. Buckets that many share are drawn from in
blocks (`core.rate_blocks`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from pymongo.errors import DuplicateKeyError

from core.database import Database
from core.rates import DEFAULT_RATES, OutOfTokens, Rate, Verdict

KNOWN = 10_000
"""Buckets of which this process remembers what it saw last."""
PURGE_EVERY = 500
"""New buckets after which this process deletes the full ones."""
SECOND = 1_000_000
"""Times are whole microseconds since 1970; they stay below 2**53."""


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
        self._seen: dict[str, int] = {}

    def rate(self, action: str) -> Rate | None:
        """How often the action may be done; None where it is not limited."""
        return self._rates.get(action)

    async def take(self, caller: str, action: str, amount: int = 1) -> Verdict | None:
        """Take `amount` tokens of the caller's bucket for `action`; None where the action is not limited.

        Mostly one command; none where this process saw the bucket so empty that it must still be.

        Raises:
            OutOfTokens: there are not as many now; nothing was taken. `retry_after` says when there will be, and is
                None where the bucket never holds as many.
        """
        rate = self._rates.get(action)
        if rate is None:
            return None
        now, key = self._clock(), _key(caller, action)
        step, whole = round(amount * rate.seconds * SECOND / rate.count), round(rate.seconds * SECOND)
        full_at = await self._move(key, now, step, whole) if step <= whole else now + step
        if full_at > now + whole:
            before = self._verdict(action, rate, now, max(now, full_at - step))
            raise OutOfTokens(before, amount, None if step > whole else (full_at - now - whole) / SECOND)
        return self._verdict(action, rate, now, full_at)

    def last(self, caller: str, action: str, rate: Rate) -> Verdict:
        """What the bucket says by what this process saw of it last."""
        now = self._clock()
        return self._verdict(action, rate, now, max(now, self._seen.get(_key(caller, action), 0)))

    def _verdict(self, action: str, rate: Rate, now: int, full_at: int) -> Verdict:
        whole = round(rate.seconds * SECOND)
        return Verdict(action, rate, (now + whole - full_at) * rate.count // whole, (full_at - now) / SECOND)

    async def _move(self, key: str, now: int, step: int, whole: int) -> int:
        """When the bucket will be full after the take; more than `whole` from `now`, and not stored, where it is
        refused."""
        latest, seen = now + whole - step, self._seen.get(key, 0)
        while seen <= latest:  # what was seen only grows, so that beyond it nothing needs to be asked
            if seen < now and await self._begin(key, now, step):
                return self._saw(key, now + step)
            partly = {"_id": key, "full_at": {"$gte": now, "$lte": latest}}
            before = await self._buckets.find_one_and_update(partly, {"$inc": {"full_at": step}})
            if before is not None:
                return self._saw(key, int(before["full_at"]) + step)
            found = await self._buckets.find_one({"_id": key})
            seen = 0 if found is None else int(found["full_at"])
        return self._saw(key, seen) + step

    async def _begin(self, key: str, now: int, step: int) -> bool:
        """Whether the bucket was full, or not there, and now holds that much less."""
        full = {"_id": key, "full_at": {"$lt": now}}
        try:
            result = await self._buckets.update_one(full, {"$set": {"full_at": now + step}}, upsert=True)
        except DuplicateKeyError:  # it is there and not full
            return False
        self._made += result.upserted_id is not None
        if result.upserted_id is not None and self._made % PURGE_EVERY == 0:
            await self.purge()
        return True

    def _saw(self, key: str, full_at: int) -> int:
        """Remember the bucket, in place of the one that was thought of longest ago; returns `full_at`."""
        self._seen[key] = max(full_at, self._seen.pop(key, 0))
        if len(self._seen) > KNOWN:
            del self._seen[next(iter(self._seen))]
        return full_at

    async def purge(self) -> int:
        """Delete the buckets that are full, which are as good as none; returns how many."""
        return (await self._buckets.delete_many({"full_at": {"$lt": self._clock()}})).deleted_count


def _key(caller: str, action: str) -> str:
    return f"{caller}|{action}"
