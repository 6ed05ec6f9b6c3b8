"""Buckets that many callers share, such as those of an address or an app: drawn from in blocks, spent in this process.

So what everybody does every time costs a command of the store only once a block. All processes together never spend
more than the bucket gives, as they draw before they spend; each may hold back a block that nobody spends.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from core.rate_limits import KNOWN, RateLimits
from core.rates import OutOfTokens, Verdict

PARTS = 100
"""Blocks in a full bucket."""


@dataclass
class _Held:
    """Tokens drawn and not spent, and the right to draw more, which one has at a time."""

    tokens: int = 0
    drawing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Blocks:
    """What this process has drawn and not spent.

    Args:
        limits: the buckets.
    """

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._held: dict[tuple[str, str], _Held] = {}

    async def take(self, caller: str, action: str, amount: int = 1) -> Verdict | None:
        """As `RateLimits.take`; what is refused is asked of the bucket itself, to the last token.

        Raises:
            OutOfTokens: neither the block nor the bucket holds as many now; nothing was taken.
        """
        rate = self._limits.rate(action)
        if rate is None:
            return None
        held = self._of(caller, action)
        if held.tokens < amount:
            async with held.drawing:
                while (short := amount - held.tokens) > 0:
                    held.tokens += await self._draw(caller, action, short, max(short, rate.count // PARTS))
        held.tokens -= amount
        last = self._limits.last(caller, action, rate)
        return Verdict(action, rate, min(rate.count, last.remaining + held.tokens), last.reset)

    def _of(self, caller: str, action: str) -> _Held:
        """What is held of a bucket, in place of the one that was thought of longest ago."""
        held = self._held.pop((caller, action), None) or _Held()
        self._held[caller, action] = held
        if len(self._held) > KNOWN:
            del self._held[next(iter(self._held))]
        return held

    async def _draw(self, caller: str, action: str, least: int, block: int) -> int:
        """Take a block; at the end of a bucket only what is needed."""
        if block > least:
            try:
                await self._limits.take(caller, action, block)
            except OutOfTokens:
                block = least
            else:
                return block
        await self._limits.take(caller, action, least)
        return least
