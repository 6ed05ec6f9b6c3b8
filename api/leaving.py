"""Work that ends when its caller goes away: whoever hangs up should not keep the server busy."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

T = TypeVar("T")


async def unless_gone(work: Coroutine[Any, Any, T], receive: Receive) -> T | None:
    """What `work` gives, or None when the caller was gone first; the work is then cancelled, and ended on return.

    Work that waits for nothing costs no task: the caller is watched from the first time on that the loop gets its turn.

    Args:
        work: is run in the task that calls.
        receive: the connection's, of which the whole body has been read.
    """
    working = asyncio.current_task()
    assert working is not None, "coroutines run in tasks"  # noqa: S101 - for the types
    before, caller = working.cancelling(), _Caller(working, receive)
    watch = asyncio.get_running_loop().call_soon(caller.watch)
    try:
        return await work
    except asyncio.CancelledError:
        if caller.gone and working.cancelling() - 1 <= before:
            return None
        raise
    finally:
        watch.cancel()
        await caller.unwatched()


class _Caller:
    """Watches whether the caller is still there, and cancels `working` when not."""

    def __init__(self, working: asyncio.Task[Any], receive: Receive) -> None:
        self.gone = False
        self._working = working
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Begin."""
        self._watching = asyncio.ensure_future(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self._working.cancel()

    async def unwatched(self) -> None:
        """End; the task that was cancelled here may be waited in again."""
        if self.gone:
            self._working.uncancel()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
