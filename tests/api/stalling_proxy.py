"""A TCP proxy on loopback that passes everything on until it is told to stall: then it takes what comes, in silence."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class StallingProxy:
    """The proxy, in a thread with a loop of its own.

    Args:
        host, port: where it passes on to.
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.port = 0
        self._going: asyncio.Event = asyncio.Event()
        self._loop = asyncio.new_event_loop()

    def stall(self) -> None:
        """Pass nothing on from now on; connections stay open, new ones are taken."""
        self._loop.call_soon_threadsafe(self._going.clear)

    def go_on(self) -> None:
        """Pass on again, what came meanwhile too."""
        self._loop.call_soon_threadsafe(self._going.set)

    @contextmanager
    def running(self) -> Iterator[StallingProxy]:
        """The proxy, listening on `port`."""
        ready = threading.Event()
        thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(ready),), daemon=True)
        thread.start()
        assert ready.wait(20)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._serving.cancel)
            thread.join(20)

    async def _serve(self, ready: threading.Event) -> None:
        self._going.set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._serving = asyncio.ensure_future(asyncio.sleep(3600))
        ready.set()
        await asyncio.wait({self._serving})
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(*self.target)
        ways = [asyncio.ensure_future(self._pass(reader, forth)), asyncio.ensure_future(self._pass(back, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # the test is over; asyncio's server would log it
        finally:
            for way in ways:
                way.cancel()
            writer.close()
            forth.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._going.wait()
            writer.write(data)
            await writer.drain()
