"""Pure ASGI middlewares: a name and a log line for each request, an end to its defects, a limit on what it sends."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.ids import new_id

from .headers import given, set_header
from .logs import REQUEST
from .refusals import BodyTooLong, refuse

log = logging.getLogger("oa.access")
GIVEN_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
HEADER = b"x-request-id"
TRACE_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
"""W3C Trace Context, section 3.2; what is of another form is passed over."""
TOO_BIG = 1009
"""WebSocket close code for a message that is too big (RFC 6455, section 7.4.1)."""


class RequestIds:
    """Names each request (a proxy's `X-Request-Id` is kept if it is harmless), answers the name, logs one line.

    The line holds method, path without its query, status and milliseconds: no header, no body, no token.

    Args:
        app: the app behind.
        watch: is told of each answer: path, method, status, seconds.
    """

    def __init__(self, app: ASGIApp, watch: Callable[[str, str, int, float], None] | None = None) -> None:
        self.app = app
        self.watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or one WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        theirs = given(scope, HEADER)
        request_id = theirs if theirs is not None and GIVEN_ID.fullmatch(theirs) else new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        parent = given(scope, b"traceparent")
        trace = None if parent is None else TRACE_PARENT.fullmatch(parent[:256])
        token = REQUEST.set({"request_id": request_id} | ({"trace_id": trace[1]} if trace else {}))
        started, status = time.perf_counter(), 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.accept"):
                status = message.get("status", 101)
                set_header(message, HEADER, request_id.encode())
            await send(message)

        try:
            await self.app(scope, receive, send_named)
        finally:
            seconds = time.perf_counter() - started
            _log(scope, status, seconds)
            if self.watch is not None:
                self.watch(scope["path"], scope.get("method", "WEBSOCKET"), status, seconds)
            REQUEST.reset(token)


def _log(scope: Scope, status: int, seconds: float) -> None:
    quiet = scope["path"] in ("/healthz", "/readyz") and status == 200
    level = logging.DEBUG if quiet else logging.INFO
    if not log.isEnabledFor(level):
        return
    fields = {
        "method": scope.get("method", "WEBSOCKET"),
        "path": scope["path"][:256],
        "status": status,
        "ms": round(seconds * 1000, 1),
    }
    log.log(level, "request", extra={"fields": fields})


class Defects:
    """Makes one line of a defect that nobody caught, and an answer of 500 that holds the request's name and no more.

    Stands within what adds headers: a browser shows a page of another origin nothing of an answer without them.

    Args:
        app: the app behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or one WebSocket."""
        begun = False

        async def send_noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        except Exception:
            log.exception("defect in answering a request")
            if not begun and scope["type"] == "http":
                name = scope["state"]["request_id"]
                message = f"internal error; quote {name} when you report it"
                await refuse(scope, receive, send, 500, "INTERNAL", message, correlationId=name)


class BodyLimit:
    """Refuses a body of more than `most` bytes as soon as it is read, by `BodyTooLong`; what is not read costs nothing.

    Args:
        app: the app behind.
        most: bytes.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        promised, came = _promised(scope), 0

        async def receive_limited() -> Message:
            nonlocal came
            if promised > self.most:
                raise self._too_long()
            message = await receive()
            if message["type"] == "http.request":
                came += len(message.get("body", b""))
                if came > self.most:
                    raise self._too_long()
            return message

        await self.app(scope, receive_limited, send)

    def _too_long(self) -> BodyTooLong:
        return BodyTooLong(f"the body has more than {self.most} bytes; send less at once")


def _promised(scope: Scope) -> int:
    """The length that the body is said to have; 0 where it is not said."""
    try:
        return int(given(scope, b"content-length") or 0)
    except ValueError:
        return 0


class WebSocketMessageLimit:
    """Closes a WebSocket that sends a message of more than `most` bytes.

    Args:
        app: the app behind.
        most: bytes of UTF-8.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return

        async def receive_limited() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive" and _size(message) > self.most:
                await send({"type": "websocket.close", "code": TOO_BIG, "reason": f"messages end at {self.most} bytes"})
                return {"type": "websocket.disconnect", "code": TOO_BIG}
            return message

        await self.app(scope, receive_limited, send)


def _size(message: Message) -> int:
    text = message.get("text")
    return len(text.encode()) if text is not None else len(message.get("bytes") or b"")
