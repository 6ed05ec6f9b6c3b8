"""The streams of this process: how many subscriptions a caller may have open, and what ends them in their silence.

    too many of one caller, or from one address    refused with TOO_MANY
    the process stops                              UNAVAILABLE, `retryAfter`: another process takes over
    it has lasted long enough                      DEADLINE
    the token ran out                              UNAUTHENTICATED
    the session, key or account was ended          UNAUTHENTICATED, within one round of `recheck`
    a role, language or key's scope was taken away FORBIDDEN, within one round of `recheck`

A query or mutation that happens to be sent as a stream goes on to its end. Each process counts its own.
Threat: one caller that opens subscriptions until there is no memory, or no more things that can be looked at, for
others; and one whose token is good for minutes after they were shut out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import OaError, TooMany, Unavailable

if TYPE_CHECKING:
    from .context import Context

RETRY_AFTER = 1.0
"""Seconds after which another process will have taken over."""


@dataclass(eq=False)
class Stream:
    """One operation that answers as a stream.

    Attributes:
        context: the operation's.
        ends: the event loop's time at which it has lasted long enough.
        counted: the names by which it counts, once it is known to be a subscription.
        wait: for its next result.
        ended: why it must not go on.
    """

    context: Context
    ends: float
    counted: tuple[str, ...] = ()
    wait: asyncio.Timeout | None = None
    ended: OaError | None = None

    def end(self, why: OaError) -> None:
        """End it, be it in the middle of a silence."""
        self.ended = self.ended or why
        if self.wait is not None and not self.wait.expired():
            self.wait.reschedule(asyncio.get_running_loop().time())


class Streams:
    """The streams of one process.

    Args:
        seconds: how long a subscription may last.
        per_caller: subscriptions that one caller may have open.
        per_address: those that may be open from one address.
    """

    def __init__(self, seconds: float = 3600.0, per_caller: int = 50, per_address: int = 500) -> None:
        self.seconds = seconds
        self.draining = False
        self._most = {"caller": per_caller, "address": per_address}
        self._open: set[Stream] = set()
        self._counts: Counter[str] = Counter()

    @property
    def subscriptions(self) -> int:
        """Subscriptions that are open."""
        return sum(bool(stream.counted) for stream in self._open)

    def drain(self) -> None:
        """End every subscription now, and let no new one begin."""
        self.draining = True
        for stream in self._subscriptions():
            stream.end(_stopping())

    @contextmanager
    def opened(self, context: Context) -> Iterator[Stream]:
        """A stream for an operation, as long as it is answered."""
        stream = context.stream = Stream(context, asyncio.get_running_loop().time() + self.seconds)
        self._open.add(stream)
        try:
            yield stream
        finally:
            self._open.discard(stream)
            for name in stream.counted:
                self._counts[name] -= 1
                if not self._counts[name]:
                    del self._counts[name]

    def admit(self, context: Context) -> None:
        """Count a subscription that is about to begin.

        Raises:
            Unavailable: the process stops.
            TooMany: its caller, or their address, has as many open as they may.
        """
        if self.draining:
            raise _stopping()
        names = (f"caller|{context.caller()}", f"address|{context.address}")
        for name in names:
            kind = name.partition("|")[0]
            if self._counts[name] >= self._most[kind]:
                whose = "you have" if kind == "caller" else "your address has"
                raise TooMany(f"{whose} {self._counts[name]} subscriptions open, as many as may be; end one first")
        if context.stream is not None:
            context.stream.counted = names
            self._counts.update(names)

    async def recheck(self, refused: Callable[[Sequence[Context]], Awaitable[Sequence[OaError | None]]]) -> None:
        """End the subscriptions of those who may no longer follow anything.

        Args:
            refused: why each caller is refused now, or None; is not asked where nobody follows anything.
        """
        if streams := [each for each in self._subscriptions() if each.context.viewer is not None]:
            answers = await refused([each.context for each in streams])
            for stream, why in zip(streams, answers, strict=True):
                if why is not None:
                    stream.end(why)

    async def next(self, source: AsyncGenerator[Any, None], stream: Stream) -> Any:
        """The next result of `source`, an operation's results; None at its end.

        Raises:
            OaError: it must not go on; the module says why it may not.
        """
        token_ends = asyncio.get_running_loop().time() + stream.context.seconds_left()
        if stream.ended is not None:
            raise stream.ended
        try:
            async with asyncio.timeout_at(min(stream.ends, token_ends)) as stream.wait:
                return await anext(source, None)
        except TimeoutError as error:
            from .context import token_ran_out  # which knows this module

            if stream.wait is None or not stream.wait.expired():
                raise
            # Which came first was known before: the two clocks need not agree to the millisecond afterwards.
            late = self._too_long() if stream.ends < token_ends else token_ran_out()
            raise (stream.ended or late) from error
        finally:
            stream.wait = None

    def _subscriptions(self) -> list[Stream]:
        return [stream for stream in self._open if stream.counted]

    def _too_long(self) -> OaError:
        return OaError(f"a subscription lasts {self.seconds:g} s at most; subscribe again", code="DEADLINE")


def _stopping() -> Unavailable:
    return Unavailable("this server is stopping; connect again", retry_after=RETRY_AFTER)
