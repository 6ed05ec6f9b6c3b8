"""Answers to requests that are refused before anything is executed: GraphQL's form, whoever refuses.

One form, in the media type that the caller asks for, so that a client reads every refusal with the code by which it
reads answers. What asks an endpoint of OAuth or one of our pages is answered there in their own words.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from core.errors import OaError

from .headers import given
from .rate import rate_headers

SPEC_TYPE, JSON_TYPE = "application/graphql-response+json", "application/json"
HEADERS = {401: {"www-authenticate": 'Bearer realm="open-assistant"'}, 405: {"allow": "POST"}}
"""Of answers with such a status."""
BY_STATUS = {404: ("NOT_FOUND", "there is nothing at this address"), 405: ("BAD_QUERY", "that method is not for this")}
"""Code and message of what the routes refuse."""


class BodyTooLong(OaError):
    """The body of a request is longer than it may be; answered with 413."""

    default_code = "BAD_QUERY"


def media_of(scope: Scope) -> str:
    """The media type of the answer: the GraphQL-over-HTTP draft's for who asks for it."""
    return SPEC_TYPE if SPEC_TYPE in (given(scope, b"accept") or "") else JSON_TYPE


def refusal(message: str, code: str, status: int, media: str = JSON_TYPE, **more: object) -> JSONResponse:
    """The answer to a request that is not executed; `more` stands in the error's extensions, where it is not None."""
    extensions = {"code": code} | {name: value for name, value in more.items() if value is not None}
    errors = [{"message": message, "extensions": extensions}]
    headers = HEADERS.get(status, {}) | rate_headers((), errors)
    return JSONResponse({"errors": errors}, status, headers, media_type=media)


async def refuse(
    scope: Scope, receive: Receive, send: Send, status: int, code: str, message: str, **more: object
) -> None:  # fmt: skip
    """Answer a request with a refusal; close a WebSocket before it is opened (HTTP 403)."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": message[:120]})
        return
    await refusal(message, code, status, media_of(scope), **more)(scope, receive, send)


async def of_routes(request: Request, error: Exception) -> Response:
    """What the routes refuse: an address that there is not, a method that is not for it."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    code, message = BY_STATUS.get(status, ("BAD_INPUT", "the request cannot be answered"))
    response = refusal(message, code, status, media_of(request.scope))
    response.headers.update(getattr(error, "headers", None) or {})
    return response
