"""Work that ends when its caller goes away: whoever hangs up should not keep the server busy."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

T = TypeVar("T")


async def unless_gone(work: Coroutine[Any, Any, T], receive: Receive) -> T | None:
    """What `work` gives, or None when the caller was gone first; the work is then cancelled, and ended on return.

    Args:
        work: is run in a task of its own.
        receive: the connection's, of which the whole body has been read.
    """
    working = asyncio.ensure_future(work)
    watching: list[asyncio.Task[Any]] = [working]
    try:
        await asyncio.sleep(0)  # what waits for nothing is done now, and nobody needs to be watched meanwhile
        if not working.done():
            watching.append(asyncio.ensure_future(_gone(receive)))
            await asyncio.wait(watching, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        if len(watching) > 1 or not working.done():
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
