"""The waits of this process's streams, so that a server that stops can end its subscriptions and nothing else.

A subscription is told to connect again (`UNAVAILABLE`, `retryAfter`), in the middle of its silence; a query or mutation
that happens to be sent as a stream goes on to its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from core.errors import OaError, Unavailable

if TYPE_CHECKING:
    from .context import Context

RETRY_AFTER = 1.0
"""Seconds after which another process will have taken over."""


class Streams:
    """The streams of one process.

    Args:
        seconds: how long a subscription may last.
    """

    def __init__(self, seconds: float = 3600.0) -> None:
        self.seconds = seconds
        self.draining = False
        self._waits: dict[asyncio.Timeout, Context] = {}

    @property
    def subscriptions(self) -> int:
        """Subscriptions that wait for their next event."""
        return sum(context.asked[0] == "subscription" for context in self._waits.values())

    def drain(self) -> None:
        """End every subscription now, and let no new one begin."""
        self.draining = True
        now = asyncio.get_running_loop().time()
        for wait, context in list(self._waits.items()):
            if context.asked[0] == "subscription" and not wait.expired():
                wait.reschedule(now)

    def check(self) -> None:
        """Raise `Unavailable` while the process stops."""
        if self.draining:
            raise Unavailable("this server is stopping; connect again", retry_after=RETRY_AFTER)

    async def next(self, source: AsyncGenerator[Any, None], context: Context, ends: float) -> Any:
        """The next result of `source`, None at its end.

        Args:
            source: an operation's results.
            context: the operation's.
            ends: the event loop's time at which the stream has lasted long enough.

        Raises:
            Unauthenticated: the caller's token ran out first.
            Unavailable: the process stops, and this is a subscription.
            OaError: the stream has lasted long enough (`DEADLINE`).
        """
        token_ends = asyncio.get_running_loop().time() + context.seconds_left()
        try:
            async with asyncio.timeout_at(min(ends, token_ends)) as wait:
                with self._waiting(wait, context):
                    if context.asked[0] == "subscription":
                        self.check()
                    return await anext(source, None)
        except TimeoutError as error:
            from .context import token_ran_out  # which knows this module

            if not wait.expired():
                raise
            # Which came first was known before: the two clocks need not agree to the millisecond afterwards.
            raise (self._why() if self.draining or ends < token_ends else token_ran_out()) from error

    @contextmanager
    def _waiting(self, wait: asyncio.Timeout, context: Context) -> Iterator[None]:
        self._waits[wait] = context
        try:
            yield
        finally:
            del self._waits[wait]

    def _why(self) -> OaError:
        try:
            self.check()
        except OaError as error:
            return error
        return OaError(f"a subscription lasts {self.seconds:g} s at most; subscribe again", code="DEADLINE")
