"""Following what changes in the store: one look for all who follow the same, and a bound.

Threat: a thousand connections that each look every second are a thousand reads a second of the same thing. So each
thing (a key) is looked at by one task a process, whoever follows it; each follower has the latest value only, never a
queue that grows; and a process looks at no more than `MOST` things.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from core.errors import TooMany

T = TypeVar("T")
POLL_SECONDS = 1.0
"""Pause between two looks at one thing, in seconds."""
MOST = 1_000
"""Things that one process looks at."""


@dataclass
class _Watched(Generic[T]):
    """One thing that is looked at, and what was seen last."""

    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    value: T | None = None
    seen: int = 0
    error: Exception | None = None
    followers: int = 0
    task: asyncio.Task[None] | None = None


class Watch:
    """The things that one process looks at.

    Args:
        seconds: pause between two looks.
        most: things looked at, at most.
    """

    def __init__(self, seconds: float = POLL_SECONDS, most: int = MOST) -> None:
        self._seconds, self._most = seconds, most
        self._watched: dict[str, _Watched[object]] = {}

    @property
    def things(self) -> int:
        """How many things are looked at now."""
        return len(self._watched)

    async def follow(
        self, key: str, look: Callable[[], Awaitable[T]], same: Callable[[Any], object] = lambda value: value
    ) -> AsyncGenerator[T, None]:
        """What `look` gives: now, and again whenever that has changed.

        Args:
            key: names the thing; of those who follow the same one, the first one's `look` is used.
            same: the part of a value whose change is worth telling.

        Raises:
            TooMany: this process looks at too many things already.
            Exception: what `look` raised, to everybody who follows.
        """
        watched = self._begin(key, look, same)
        watched.followers += 1
        last = 0
        try:
            while True:
                async with watched.changed:
                    while watched.seen == last and watched.error is None:
                        await watched.changed.wait()
                if watched.error is not None:
                    raise watched.error
                last = watched.seen
                yield watched.value  # type: ignore[misc]
        finally:
            watched.followers -= 1
            if watched.followers == 0 and watched.task is not None:
                watched.task.cancel()
                if self._watched.get(key) is watched:
                    del self._watched[key]

    def _begin(
        self, key: str, look: Callable[[], Awaitable[object]], same: Callable[[Any], object]
    ) -> _Watched[object]:
        watched = self._watched.get(key)
        if watched is None:
            if len(self._watched) >= self._most:
                raise TooMany(f"{self._most} things are followed here already; try again later", retry_after=10.0)
            watched = self._watched[key] = _Watched()
            watched.task = asyncio.create_task(self._look(key, watched, look, same))
        return watched

    async def _look(
        self, key: str, watched: _Watched[object], look: Callable[[], Awaitable[object]], same: Callable[[Any], object]
    ) -> None:
        while True:
            try:
                value = await look()
            except Exception as error:
                # A store that does not answer ends the followers' streams; who subscribes again starts anew.
                watched.error = error
                self._watched.pop(key, None)
                await self._tell(watched)
                return
            if watched.seen == 0 or same(value) != same(watched.value):
                watched.value, watched.seen = value, watched.seen + 1
                await self._tell(watched)
            await asyncio.sleep(self._seconds)

    async def _tell(self, watched: _Watched[object]) -> None:
        async with watched.changed:
            watched.changed.notify_all()
