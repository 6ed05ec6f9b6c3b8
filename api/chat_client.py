"""Asks one serving node for one reply, over its OpenAI-compatible HTTP, token by token.

Knows that protocol and what each failure means for the caller: go elsewhere (`NodeLost`), come back later
(`NodeBusy`), or give up (`OaError`). Does not know chats, other nodes or the store.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from core.errors import CODES, OaError, Unavailable

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 3.0
"""Within this a node must accept a connection."""
SILENCE_SECONDS = 60.0
"""Longest wait for a node's next byte: its queue and a long prompt fit in."""
WHOLE = frozenset({"stop", "length"})
"""Reasons to finish with which a reply is whole; any other (cancelled, a failure) means that it was cut off."""
ELSEWHERE = frozenset({"NO_MODEL", "QUEUE_FULL", "UNAVAILABLE"})
"""Codes with which one node refuses what another may take."""


class NodeLost(Exception):
    """The node cannot be reached, failed, or broke off in mid-stream."""


class NodeBusy(Exception):
    """The node has no room now, or not the model.

    Attributes:
        seconds: after which a retry there makes sense.
        code: the node's error code.
    """

    def __init__(self, message: str, seconds: float, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.seconds = seconds
        self.code = code


@dataclass(frozen=True)
class Piece:
    """One piece of a reply and the model version (`name@version`) that said it."""

    text: str
    model: str


def new_client(key: str | None) -> httpx.AsyncClient:
    """A client that sends `key` as bearer token, if there is one; no proxy from the environment, no redirects."""
    import httpx

    return httpx.AsyncClient(
        headers={"authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
        trust_env=False,
    )


async def stream(client: httpx.AsyncClient, url: str, request: Mapping[str, Any]) -> AsyncGenerator[Piece, None]:
    """The pieces of a reply, until the node says that it is whole.

    Args:
        client: made by `new_client`.
        url: the node's base URL.
        request: body of `POST /v1/chat/completions`; `stream` is set here.

    Raises:
        NodeLost: the node went away or failed, before or in the reply.
        NodeBusy: the node has no room or not the model.
        OaError: the request itself is refused (too long, malformed): no node would take it.
    """
    import httpx

    body = {**request, "stream": True}
    try:
        async with client.stream("POST", f"{url.rstrip('/')}/v1/chat/completions", json=body) as response:
            if response.status_code != 200:
                raise refusal(response.status_code, response.headers, await response.aread())
            async for piece in _pieces(response):
                yield piece
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise NodeLost(f"{url}: {type(error).__name__} {error}".strip()) from error


async def _pieces(response: httpx.Response) -> AsyncIterator[Piece]:
    finished = False
    async for data in _events(response):
        if data == b"[DONE]":
            break
        event = _parsed(data)
        if "error" in event:
            raise refusal(500, {}, data)
        choice = (event.get("choices") or [{}])[0]
        finished = finished or choice.get("finish_reason") in WHOLE
        if text := (choice.get("delta") or {}).get("content"):
            yield Piece(text, event.get("model", ""))
    if not finished:
        raise NodeLost(f"{response.url}: the stream ended before the reply did")


async def _events(response: httpx.Response) -> AsyncIterator[bytes]:
    """The `data:` of each server-sent event.

    Lines are split at line feeds by hand: httpx's `aiter_lines` also splits at U+2028 and U+0085, which JSON may hold.
    """
    rest = b""
    async for chunk in response.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise NodeLost(f"the node sent an event that is not JSON: {data[:80]!r}") from error
    if not isinstance(event, dict):
        raise NodeLost(f"the node sent an event that is no object: {data[:80]!r}")
    return event


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Exception:
    """What a node's error means for the caller.

    Args:
        status: HTTP status; 500 for an error inside a stream.
        headers: of the answer; `Retry-After` in seconds is heeded.
        body: `{"error": {"message", "code"}}` in OpenAI's form; anything else is quoted.
    """
    message, code = _error_of(body)
    said = message or f"the serving node answered {status}"
    if status in (429, 503) or code in ELSEWHERE:
        return NodeBusy(said, _seconds(headers.get("retry-after")), code or "QUEUE_FULL")
    if status in (401, 403):
        return Unavailable("the serving nodes refuse this API's key; OA_SERVING_KEY must be the same on both sides")
    if status >= 500:
        return NodeLost(said)
    return OaError(said, code=code if code in CODES else "BAD_INPUT")


def _error_of(body: bytes) -> tuple[str, str]:
    try:
        error = orjson.loads(body)["error"]
        return str(error["message"])[:500], str(error.get("code") or "")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return "", ""


def _seconds(value: str | None) -> float:
    try:
        return min(max(float(value or 1.0), 0.1), 30.0)
    except ValueError:
        return 1.0
