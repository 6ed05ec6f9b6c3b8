"""The engine's events on the event loop: the bridge between its thread and asyncio.

Knows a leased model and the replies that one HTTP request asked of it. Does not know HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from serving.models import ServedModel
from serving.requests import Event, Request, Sink


class Replies:
    """The replies to one chat request: submitted when made, cancelled and released by `close`.

    Args:
        model: leased by the caller, released by `close`, or at once when submitting fails.
        requests: one for each choice.

    Raises:
        OaError: what `Engine.submit_all` raises.
    """

    def __init__(self, model: ServedModel, requests: Sequence[Request]) -> None:
        self.model = model
        self._open = True
        self._left = len(requests)
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def sink(index: int) -> Sink:
            return lambda event: post(loop, self._events, (index, event))

        self._tickets = model.engine.submit_all(requests, [sink(index) for index in range(len(requests))])

    async def __aiter__(self) -> AsyncIterator[tuple[int, Event]]:
        """Events with the index of their reply, until each has ended.

        Raises:
            OaError: the first failure of any of them.
        """
        while self._left:
            index, event = await self._events.get()
            if event.error is not None:
                raise event.error
            self._left -= event.last
            yield index, event

    def close(self) -> None:
        """Cancel what still runs and give the model back; once, however often it is called."""
        if not self._open:
            return
        self._open = False
        for ticket in self._tickets:
            ticket.cancel()
        self.model.release()


def post(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[tuple[int, Event]], item: tuple[int, Event]) -> None:
    """Put an item on a queue of the loop from another thread; a loop that has closed has no reader to miss it."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(queue.put_nowait, item)
