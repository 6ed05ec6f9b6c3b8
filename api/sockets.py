"""How many WebSockets one address may hold open.

Threat: connections that say nothing cost memory and a file each, and nobody had to sign in for them. One that has not
said `connection_init` in time is closed (4408); the others are bounded here. Each process counts its own.
"""

from __future__ import annotations

from collections import Counter

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from .rate import address_of

TOO_MANY = 4429
"""Close code for one socket too many; 4000 and above are an application's own (RFC 6455, section 7.4.2)."""


class SocketLimit:
    """Closes a WebSocket from an address that has `most` of them, with `TOO_MANY`.

    It is opened first, because browsers tell a page nothing of one that was refused before.

    Args:
        app: the app behind.
        most: open at once from one address.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self.most = most
        self.open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        address = address_of(HTTPConnection(scope))
        if self.open[address] >= self.most:
            reason = f"TOO_MANY: your address has {self.most} WebSockets open, as many as may be; close one first"
            await send({"type": "websocket.accept", "headers": []})
            await send({"type": "websocket.close", "code": TOO_MANY, "reason": reason})
            return
        self.open[address] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.open[address] -= 1
            if not self.open[address]:
                del self.open[address]
