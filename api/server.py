"""The API under uvicorn: `python -m api.server [--host HOST] [--port PORT] [--grace SECONDS]`.

What a server must bound before there is a request is bounded here. Threat: a caller that sends the head of a request
without end, or anything but the body behind it, fills the memory; one that never ends it keeps a connection; and
neither signs in for it. So a head has `MOST` bytes and `SECONDS`. A message of a WebSocket has as many bytes as a body;
without that, all of it is taken in before it is measured. The access log stays off: it holds addresses with their
queries. Headers of proxies are read by the app itself (`OA_TRUSTED_PROXIES`).
"""

from __future__ import annotations

import argparse
from asyncio import TimerHandle, Transport
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core.errors import BadInput

from .app import app_from_env
from .settings import Settings, from_env

TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
AROUND = 8
"""Times a head's length that may stand around a body: one sent byte by byte has six more for each."""
DIRECT, PROXIED = 5, 75
"""Seconds for which a connection is kept between requests: of a caller, and of a proxy. Proxies keep theirs for 60
(nginx, load balancers of AWS) and would send requests into one that is just being closed: a 502 for the caller."""
TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedHeads(HttpToolsProtocol):
    """A connection whose requests' heads (first line and headers) have an end.

    Attributes:
        MOST: bytes of a head.
        SECONDS: that it has to come, from the opening of the connection, or from its first byte on one that is kept.
    """

    MOST: ClassVar[int] = 64 * 1024
    SECONDS: ClassVar[float] = 15.0
    _head: int | None = 0
    """Bytes of the head that is coming; None while there is none."""
    _around = 0
    """Bytes around a body: lengths of its pieces, and what may follow it."""
    _late: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A caller is there; nothing has come."""
        super().connection_made(transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes came, of heads or of bodies."""
        before = self._head
        if before is None:
            self._around += len(data)
        super().data_received(data)
        if before is not None and self._head is not None:
            self._head += len(data)
        if (self._head or 0) > self.MOST or self._around > AROUND * self.MOST:
            self._refuse(TOO_LONG)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._around = 0
        if self._late is None:
            self._begin()

    def on_body(self, body: bytes) -> None:
        """A piece of a body, without what is around it."""
        self._around -= len(body)
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._end()
        super().on_headers_complete()

    def _begin(self) -> None:
        self._head = 0
        self._late = self.loop.call_later(self.SECONDS, self._refuse, TOO_LATE)

    def _end(self) -> None:
        self._head = None
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self, answer: bytes) -> None:
        """Close the connection, with an answer where none is under way that it would stand in the middle of."""
        theirs = self._head is None  # whether it is about the request that is being answered, not about one behind it
        self._end()
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is None or cycle.response_complete or (theirs and not cycle.response_started):
            self.transport.write(answer)
        self.transport.close()


def options(settings: Settings, host: str, port: int, grace: int) -> dict[str, Any]:
    """What uvicorn is told, besides the app.

    Args:
        settings: of the API.
        host: address to listen on.
        port: port to listen on.
        grace: seconds that requests under way have to end, once it is to stop.
    """
    return {
        "host": host, "port": port, "factory": True, "http": BoundedHeads, "access_log": False, "proxy_headers": False,
        "timeout_graceful_shutdown": grace, "timeout_keep_alive": PROXIED if settings.trusted_proxies else DIRECT,
        "ws_max_size": settings.body_bytes, "ws_per_message_deflate": False,
    }  # fmt: skip


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m api.server", description="Serve the API.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on")
    parser.add_argument("--grace", type=int, default=25, help="seconds that requests under way have to end")
    given = parser.parse_args()
    try:
        settings = from_env()
    except BadInput as error:
        raise SystemExit(f"error {error.code}: {error.message}") from error
    uvicorn.run(app_from_env, **options(settings, given.host, given.port, given.grace))


if __name__ == "__main__":
    main()
