"""What clients say over a WebSocket, looked at before anything is done with it.

Threat: messages of another form each become a defect, with a traceback in the log, to whoever may open a WebSocket. So
what is no message of the protocol closes the connection with 4400, as the protocol wants it. The library hands no
`extensions` on, by which a request brings its idempotency key and names its document; here they go with the operation.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_transport_ws.types import ConnectionInitMessage

from core.errors import OaError
from graphql_schema.context import Context

LONGEST_ID = 200
LONGEST_REASON = 123
"""Bytes of the reason of a close (RFC 6455, section 5.5)."""
REFUSED = 4403
"""Close code of graphql-transport-ws for a `connection_init` that is refused."""
PARTS = (
    ("query", (str, type(None)), "a string"),
    ("variables", (dict, type(None)), "an object"),
    ("operationName", (str, type(None)), "a string"),
    ("extensions", (dict, type(None)), "an object"),
)
"""Of a request: name, type, and how the type is called."""
_EXTENSIONS: ContextVar[dict[str, Any] | None] = ContextVar("extensions", default=None)
"""Those of the operation that the task is about: each operation has a task of its own."""


def wrong_with(message: object) -> str | None:
    """Why `message` is none of graphql-transport-ws; None where it is one."""
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return "a message must be an object with a type"
    if message["type"] not in ("subscribe", "complete"):
        return None
    name, payload = message.get("id"), message.get("payload")
    if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_ID:
        return f"id must be a text of 1 to {LONGEST_ID} characters"
    if message["type"] == "complete":
        return None
    if not isinstance(payload, dict):
        return "payload must be an object"
    return wrong_part(payload)


def wrong_part(request: dict[str, Any]) -> str | None:
    """Which part of a request is of another type than it must be; None where all are right."""
    for name, kind, form in PARTS:
        if not isinstance(request.get(name), kind):
            return f"`{name}` must be {form} or null, if it is there"
    return None


class _WithExtensions:
    """A schema that is asked with the extensions of the operation's message."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema

    def stream(self, *args: Any, **options: Any) -> Any:
        return self._schema.stream(*args, **options, operation_extensions=_EXTENSIONS.get())


class SocketMessages(BaseGraphQLTransportWSHandler[Context, None]):
    """The library's handler of graphql-transport-ws, for messages that are of the protocol's form."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.schema = _WithExtensions(self.schema)  # type: ignore[assignment]

    async def handle_message(self, message: Any) -> None:
        """Handle one message."""
        if (wrong := wrong_with(message)) is not None:
            await self.handle_invalid_message(wrong)
            return
        if message["type"] == "subscribe":
            message["payload"].setdefault("query", None)
            _EXTENSIONS.set(message["payload"].get("extensions"))
        await super().handle_message(message)

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        """Take the credentials; the reason of a refusal begins with its code, so that a client knows to renew them."""
        try:
            await super().handle_connection_init(message)
        except OaError as error:
            reason = f"{error.code}: {error.message}".encode()[:LONGEST_REASON].decode(errors="ignore")
            await self.websocket.close(code=REFUSED, reason=reason)
