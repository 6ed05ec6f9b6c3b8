"""Stopping without cutting anybody off: what happens between SIGTERM and the end of the process.

    SIGTERM            /readyz says 503 for `notice` seconds while everything goes on, so that load balancers look away
    then               subscriptions end with UNAVAILABLE and `retryAfter`, new ones are refused, the server stops
                       listening and ends WebSockets (1012); requests under way end, for as long as the server was given
                       (`--grace` of `api.server`)
    then               the relay hands over the replies that still stream, the stores are closed

A second SIGTERM skips the notice.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from graphql_schema.streams import Streams

log = logging.getLogger("oa.api")
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Draining:
    """The end of one process.

    Args:
        streams: this process's.
        notice: seconds for which the process is not ready and serves on.
    """

    def __init__(self, streams: Streams, notice: float) -> None:
        self.streams = streams
        self.notice = notice
        self.began = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Be told of the signals that stop the server, before it is. Outside the main thread nobody can be."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        servers = {int(number): signal.getsignal(number) for number in SIGNALS}

        def stop(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._begin, servers[number], number)

        for number in SIGNALS:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for before, handler in servers.items():
                signal.signal(before, handler)

    def _begin(self, handler: Any, number: int) -> None:
        again, self.began = self.began, True
        log.info("stopping", extra={"fields": {"signal": signal.Signals(number).name, "notice": self.notice}})
        if self.notice and not again:
            asyncio.get_running_loop().call_later(self.notice, self._end, handler, number)
        else:
            self._end(handler, number)

    def _end(self, handler: Any, number: int) -> None:
        self.streams.drain()
        if callable(handler):
            handler(number, None)
