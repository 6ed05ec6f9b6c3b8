"""GraphQL over HTTP, server-sent events and WebSocket, at one address.

    POST /graphql   application/json          queries and mutations
    GET  /graphql   ?query=...                queries only
    either with     Accept: text/event-stream any operation, subscriptions too (graphql-sse, distinct connections)
    WebSocket       graphql-transport-ws      any operation; `connection_init` may carry {"authorization": "Bearer ..."}

A document may be named instead of sent (`graphql_schema.persisted`); over HTTP `documentId` is taken as one more form
of `extensions.persistedQuery`. A caller who goes away before the answer cancels what was asked for.
Answers `application/graphql-response+json`, with the status codes of the GraphQL-over-HTTP draft, to who asks for it,
and `application/json` with 200 to others. The legacy `graphql-ws` protocol, batches and multipart bodies are off.
Threat: a page on another site that opens a WebSocket with a visitor's browser; so origins are checked (here no cookie
would help it, as tokens travel in headers or `connection_init` only).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import orjson
from cross_web import AsyncHTTPRequestAdapter, HTTPException, StarletteRequestAdapter
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData, process_result
from strawberry.http.base import BaseRequestProtocol
from strawberry.schema.exceptions import InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_SSE_PROTOCOL, GRAPHQL_TRANSPORT_WS_PROTOCOL

from core.errors import OaError
from graphql_schema.context import Context, Services
from graphql_schema.schema import ApiSchema

from .callers import ACT_AS, Callers
from .ide import Ide
from .leaving import unless_gone
from .rate import address_of, rate_headers
from .refusals import JSON_TYPE, SPEC_TYPE, BodyTooLong, media_of, refusal
from .settings import Settings
from .socket_messages import SocketMessages, wrong_part

if TYPE_CHECKING:
    from core.rates import Verdict

STREAM = "text/event-stream"
STATUS = {"UNAUTHENTICATED": 401, "FORBIDDEN": 403, "DEADLINE": 408, "TOO_MANY": 429, "UNAVAILABLE": 503}
"""Status by code, of a request that was refused before it was looked at."""
TAKEN = frozenset({SPEC_TYPE, JSON_TYPE, STREAM, "application/*", "*/*", "", "text/html", "text/*"})
"""What a caller may take: our answers, streams, and the page for browsers."""
NEEDS_STREAM = f"a subscription is answered as {STREAM}, which the request's accept must say, or over a WebSocket"
NOT_EXECUTED = {"TOO_MANY": 429, "DEADLINE": 504}
"""Status by code, under the draft, of an operation that was looked at and has no data; 400 for others."""


class AskedFor(Response):
    """The answer being made; remembers whether the caller takes the draft's media type, and what the buckets said."""

    spec = False
    verdicts: list[Verdict]


class GraphQLView(GraphQL[Context, None]):
    """The endpoint as an ASGI app.

    Args:
        schema: the executable schema.
        settings: origins, and whether browsers get a page to try the API by hand.
        callers: turns credentials into viewers.
    """

    graphql_transport_ws_handler_class = SocketMessages

    def __init__(self, schema: ApiSchema, settings: Settings, callers: Callers) -> None:
        super().__init__(
            schema,
            graphql_ide="graphiql" if settings.has_page else None,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL, GRAPHQL_SSE_PROTOCOL),
            allowed_origins=settings.cors_origins,
            connection_init_wait_timeout=timedelta(seconds=settings.connection_init_seconds),
        )
        self._callers = callers
        self._body_seconds = settings.body_seconds
        self._page = Ide(settings.embedded, settings.page_client, settings.graphiql is not None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one WebSocket; errors before execution are GraphQL errors too."""
        if scope["type"] == "websocket":
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            taken = check_media(request)
            body = await self._body(request)
            plain = scope["method"] == "POST" and STREAM not in taken
            work = self._answer(request, body, SPEC_TYPE in taken) if plain else self.run(request)
            response = await unless_gone(work, receive)
            if response is None:
                return
        except ClientDisconnect:
            return
        except HTTPException as error:
            wrong_kind = isinstance(error.__cause__, InvalidOperationTypeError)
            status = 405 if wrong_kind and scope["method"] == "GET" else error.status_code
            reason = NEEDS_STREAM if wrong_kind and scope["method"] == "POST" else error.reason or "bad request"
            response = refusal(reason, "BAD_QUERY", status, media_of(scope))
        except OaError as error:
            status = 413 if isinstance(error, BodyTooLong) else STATUS.get(error.code, 400)
            response = refusal(error.message, error.code, status, media_of(scope), retryAfter=error.retry_after)
        await response(scope, receive, send)

    async def _body(self, request: Request) -> bytes:
        """All of the body, if it comes in time; what is received after it is that the caller has gone.

        Raises:
            OaError: code `DEADLINE`: it did not come in time.
        """
        try:
            async with asyncio.timeout(self._body_seconds):
                return await request.body()
        except TimeoutError as error:
            message = f"the body of the request did not come within {self._body_seconds:g} s"
            raise OaError(message, code="DEADLINE") from error

    async def _answer(self, request: Request, body: bytes, spec: bool) -> Response:
        """The answer to a request that is one operation with one answer: what Strawberry's `run` does, without its
        looking for pages, streams, batches and files."""
        verdicts: list[Verdict] = []
        context = await self._context(request, verdicts)
        adapter, nothing = StarletteRequestAdapter(request), cast(Any, None)
        result = await self.execute_single(request, adapter, nothing, context, None, self._asked(body))
        answer: dict[str, Any] = dict(process_result(cast(Any, result)))
        headers, status = rate_headers(verdicts, answer.get("errors") or []), 200
        if spec:
            status, answer = by_draft(answer)
        return Response(dumped(answer), status, headers, media_type=SPEC_TYPE if spec else JSON_TYPE)

    def _asked(self, body: bytes) -> GraphQLRequestData:
        """The parts of a request in a body; a `documentId` becomes part of `extensions.persistedQuery`.

        Raises:
            HTTPException: it is of another form.
        """
        whole = self.parse_json(body)
        if isinstance(whole, list):
            raise HTTPException(400, "Batching is not enabled")
        if not isinstance(whole, dict):
            raise HTTPException(400, "the body must be a JSON object with `query`")
        if (wrong := wrong_part(whole)) is not None:
            raise HTTPException(400, wrong)
        data = GraphQLRequestData(
            whole.get("query"), whole.get("variables"), whole.get("operationName"), whole.get("extensions")
        )
        return _by_name(data, whole)

    async def _identify(self, context: Context, authorization: str | None, act_as: str | None) -> None:
        """Set the viewer; a store that does not answer raises `Unavailable`, as anywhere else."""
        try:
            await self._callers.identify(context, authorization, act_as)
        except Exception as error:
            raise context.services.translate(error) or error from error

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        """The context of one request, or of one WebSocket before its `connection_init`."""
        return await self._context(request, response.verdicts if isinstance(response, AskedFor) else None)

    async def _context(self, request: HTTPConnection, verdicts: list[Verdict] | None) -> Context:
        """The same; what the buckets say is added to `verdicts`."""
        context = Context(services=services_of(request), request_id=getattr(request.state, "request_id", ""))
        context.address, context.verdicts = address_of(request), verdicts
        over_websocket = request.scope["type"] == "websocket"
        headers = {} if over_websocket else request.headers
        if (key := headers.get("idempotency-key")) is not None:
            context.idempotency_key = key.strip().removeprefix('"').removesuffix('"')
        await self._identify(context, headers.get("authorization"), headers.get(ACT_AS))
        return context

    async def on_ws_connect(self, context: Context) -> dict[str, object] | None:
        """Take the credentials in `connection_init`, if any; `OaError` where they are not good."""
        given = context.connection_params or {}
        if given.get("authorization") is None:
            return None
        act_as = given.get("actAs")
        context.renew = partial(
            self._identify, authorization=str(given["authorization"]), act_as=None if act_as is None else str(act_as)
        )
        await context.renew(context)
        return {"expiresAt": context.expires_at}

    async def get_sub_response(self, request: Request | WebSocket) -> Response:
        """The answer being made, before there is anything in it."""
        response = AskedFor()
        response.verdicts = []
        response.spec = media_of(request.scope) == SPEC_TYPE
        response.status_code = cast(Any, None)  # Strawberry's way of saying: not decided yet
        del response.headers["content-length"]
        return response

    def create_response(
        self, response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse], sub_response: Response
    ) -> Response:
        """The answer in the media type asked for, with its status and what is left of the caller's rates."""
        asked = cast(AskedFor, sub_response)
        answer: dict[str, Any] = dict(cast(GraphQLHTTPResponse, response_data))  # batches are off
        asked.headers.update(rate_headers(asked.verdicts, answer.get("errors") or []))
        if not asked.spec:
            return super().create_response(response_data, sub_response)
        status, answer = by_draft(answer)
        return Response(self.encode_json(answer), status, asked.headers, media_type=SPEC_TYPE)

    def should_render_graphql_ide(self, request: BaseRequestProtocol) -> bool:
        """Whether a page is wanted: not where a document is asked for by name."""
        by_name = {"documentId", "extensions"} & set(request.query_params)
        return not by_name and super().should_render_graphql_ide(request)

    async def render_graphql_ide(self, request: Request) -> Response:
        """The page to try the API by hand."""
        return self._page.response()

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData | list[GraphQLRequestData]:
        """The request's parts; a `documentId` becomes part of `extensions.persistedQuery`."""
        if request.method == "POST":
            data = self._asked(await _body(request))
            data.protocol = "sse"  # others than streams do not come here
            return data
        asked = await super().parse_http_body(request)
        return _by_name(asked, request.query_params) if isinstance(asked, GraphQLRequestData) else asked

    def encode_json(self, data: object) -> str:
        """JSON text, in one line."""
        return dumped(data).decode()

    def decode_json(self, data: str | bytes) -> object:
        """Parsed JSON; `orjson.JSONDecodeError` is the standard one too, and NaN is refused."""
        return orjson.loads(data)


def dumped(data: object) -> bytes:
    """JSON, in one line."""
    return orjson.dumps(data, default=str)


def _by_name(data: GraphQLRequestData, whole: Mapping[str, Any]) -> GraphQLRequestData:
    """`data` with the `documentId` of the `whole` request, where that has no document."""
    if data.query is None and (name := whole.get("documentId")) is not None:
        data.extensions = {**(data.extensions or {}), "persistedQuery": {"documentId": name}}
    return data


def by_draft(answer: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and body under the draft: a request that was never executed has no `data` and a 4xx."""
    errors = answer.get("errors") or []
    if answer.get("data") is not None or not errors or any(error.get("path") for error in errors):
        return 200, answer
    del answer["data"]
    code = errors[0].get("extensions", {}).get("code", "")
    return NOT_EXECUTED.get(code, 400), answer


def check_media(request: Request) -> frozenset[str]:
    """What the caller takes of what we have; raises `HTTPException` where that is nothing (406), and for a body that
    is not JSON (415)."""
    if request.method == "POST":
        kind = request.headers.get("content-type", "")
        if kind != JSON_TYPE and _media(kind) != JSON_TYPE:
            raise HTTPException(415, "the body's content-type must be application/json")
    taken = TAKEN & {_media(each) for each in request.headers.get("accept", "*/*").split(",")}
    if not taken:
        raise HTTPException(406, f"answers are {SPEC_TYPE}, application/json or text/event-stream")
    return taken


def _media(value: str) -> str:
    """The media type in a header's value, without its parameters."""
    return value.partition(";")[0].strip().lower()


async def _body(request: AsyncHTTPRequestAdapter) -> bytes:
    body = await request.get_body()
    return body.encode() if isinstance(body, str) else body


def services_of(connection: HTTPConnection) -> Services:
    """The services that the app opened at its start."""
    return cast(Services, connection.app.state.services)
