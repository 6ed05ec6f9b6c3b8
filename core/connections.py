"""The driver's client and its connections, with less work for each command.

PyMongo's own make one task to send a message and two to wait for its answer: one reads, the other looks twice a second
whether the connection was given up. That is a fifth of what a command costs its caller. Here the answer is waited for
where it is wanted, and a timer does the looking. They come in by `_pool_class`, the driver's option for this.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pymongo import AsyncMongoClient, _csot
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.pool import AsyncConnection, Pool
from pymongo.errors import ProtocolError, _OperationCancelled
from pymongo.message import _UNPACK_REPLY, _OpMsg

LOOK_SECONDS = 0.5
"""How often a connection that waits for an answer is looked at."""


class Connection(AsyncConnection):
    """A connection that is in use. What goes wrong closes it, as it does the driver's own."""

    async def send_message(self, message: bytes, max_doc_size: int) -> None:
        """Give a message to the event loop, which holds what the network does not take yet."""
        if max_doc_size > self.max_bson_size:
            await super().send_message(message, max_doc_size)  # tells that it is too long
        try:
            await self.conn.get_conn.write(message)
        except BaseException as error:
            await self._raise_connection_failure(error)

    async def receive_message(self, request_id: int | None) -> _OpMsg:
        """The answer to a message, if it comes within the time of the call."""
        watch = Watch(self)
        try:
            data, code = await self.conn.get_conn.read(request_id, self.max_message_size)
            if self.conn.is_closing():  # the watch was as quick as the answer
                raise OSError("connection closed")
            if code not in _UNPACK_REPLY:
                raise ProtocolError(f"the document store answered with opcode {code}")
            return _UNPACK_REPLY[code](data)
        except BaseException as error:
            await self._raise_connection_failure(error)
        finally:
            watch.end()


class Watch:
    """Closes a connection that waits for an answer once its call is out of time, or the driver has given it up."""

    __slots__ = ("_connection", "_deadline", "_loop", "_timer")

    def __init__(self, connection: Connection) -> None:
        seconds = _csot.remaining()
        if seconds is None:
            seconds = connection.conn.gettimeout
        self._connection = connection
        self._deadline = float("inf") if seconds is None else time.monotonic() + seconds
        self._loop = asyncio.get_running_loop()
        self._wait()

    def _wait(self) -> None:
        seconds = max(min(LOOK_SECONDS, self._deadline - time.monotonic()), 0)
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        protocol = self._connection.conn.get_conn
        if self._connection.cancel_context.cancelled:
            protocol.close(_OperationCancelled("operation cancelled"))
        elif time.monotonic() >= self._deadline:
            protocol.close(TimeoutError("timed out"))
        else:
            self._wait()

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()


class Sessionless(AsyncMongoClient[dict[str, Any]]):
    """A client whose commands name no session: the driver lends one to each, which is a twelfth of what it costs.

    Sessions are for transactions and for writes that the driver repeats, and we have neither.
    """

    def _ensure_session(self, session: AsyncClientSession | None = None) -> AsyncClientSession | None:
        return session


class Connections(Pool):
    """The connections to one server."""

    async def connect(self, handler: Any = None) -> AsyncConnection:
        """A new one. Those by which the driver watches the server stay its own: answers to them are streamed."""
        connection = await super().connect(handler)
        if not self.is_sdam:
            connection.__class__ = Connection
        return connection
