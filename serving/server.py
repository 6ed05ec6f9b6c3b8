"""The HTTP door of a model node: OpenAI-compatible chat, the list of models, health, readiness, metrics.

Knows Starlette, keys and request ids. Generation is the engine's, the form is `serving.openai_form`'s.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import BadInput, OaError, Unauthenticated
from core.ids import new_id
from core.objects import ObjectStore
from serving.metrics import Gauge, Labels, NodeMetrics, render
from serving.models import Models
from serving.openai_form import ChatRequest, Shape, error_form, parse, sse, status_of, to_requests
from serving.replies import Replies
from serving.requests import TokenLogprob, Usage
from serving.settings import ServingSettings
from serving.sync import ModelSync

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Reached without a key: they say nothing of chats, and probes carry none."""


class Node:
    """What one serving process holds, and its answers."""

    def __init__(self, settings: ServingSettings, store: ObjectStore) -> None:
        self.settings = settings
        self.metrics = NodeMetrics()
        self.models = Models(settings.models)
        self.sync = ModelSync(store, self.models, settings, self.metrics)

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Follow the promoted models while the server runs."""
        following = asyncio.create_task(self.sync.run())
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await self.models.close()

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        chat = parse(await read_body(request, self.settings.max_body))
        model = self.models.lease(chat.model)
        try:
            requests = await asyncio.to_thread(
                to_requests,
                chat,
                model.files,
                max_tokens=self.settings.max_tokens,
                most_seconds=self.settings.deadline_seconds,
            )
            replies = Replies(model, requests)
        except BaseException:
            model.release()
            raise
        log.info("request %s: %s, %d prompt tokens", request.state.id, model.label, len(requests[0].prompt))
        shape = Shape(model.label, model.files)
        if chat.stream:
            return EventStream(replies, stream(replies, chat, shape, request.state.id))
        try:
            return await unless_gone(request, collect(replies, chat.n, shape))
        finally:
            replies.close()

    async def list_models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        data = [
            {"id": model.name, "object": "model", "created": model.loaded_at, "owned_by": "open-assistant",
             "version": model.version, "context_length": model.engine.context}
            for model in self.models
        ]  # fmt: skip
        return JSONResponse({"object": "list", "data": data})

    async def healthz(self, request: Request) -> Response:
        """Whether the process is sound; a supervisor restarts one that is not."""
        dead = [model.label for model in self.models if not model.engine.alive]
        return JSONResponse({"status": "failed" if dead else "ok", "dead": dead}, status_code=503 if dead else 200)

    async def readyz(self, request: Request) -> Response:
        """Whether it can answer a chat now, with which models, and how busy it is."""
        loads = {model.label: vars(model.engine.load()) for model in self.models}
        body = {"ready": bool(loads), "code": None if loads else "NO_MODEL", "models": loads}
        return JSONResponse(body, status_code=200 if loads else 503)

    async def show_metrics(self, request: Request) -> Response:
        """`GET /metrics`, as Prometheus reads it."""
        text = render([*self.metrics.all(), *self._gauges()])
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    def _gauges(self) -> list[Gauge]:
        def read(field: str) -> Any:
            def values() -> list[tuple[Labels, float]]:
                models = list(self.models)
                return [((("model", model.label),), getattr(model.engine.load(), field)) for model in models]

            return values

        return [
            Gauge("oa_serving_active", "Replies that hold a slot.", read("active")),
            Gauge("oa_serving_waiting", "Requests that wait for a slot.", read("waiting")),
            Gauge("oa_serving_cache_reserved_tokens", "Cache positions promised to replies.", read("reserved")),
            Gauge("oa_serving_cache_tokens", "Cache positions in all.", read("budget")),
        ]


class EventStream(StreamingResponse):
    """A stream of replies that are cancelled when it ends, however it ends, even before its first byte."""

    def __init__(self, replies: Replies, content: AsyncIterator[bytes]) -> None:
        super().__init__(content, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._replies = replies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._replies.close()


async def stream(replies: Replies, chat: ChatRequest, shape: Shape, request_id: str) -> AsyncIterator[bytes]:
    """Server-sent events; one with `error` and no `[DONE]` when a reply fails."""
    for index in range(chat.n):
        yield shape.chunk(index, {"role": "assistant", "content": ""}, None, ())
    usages: dict[int, Usage] = {}
    try:
        async for index, event in replies:
            if event.text or event.logprobs:
                yield shape.chunk(index, {"content": event.text}, None, event.logprobs)
            if event.usage is not None:
                usages[index] = event.usage
                yield shape.chunk(index, {}, event.finish, ())
    except OaError as error:
        log.warning("request %s failed in mid-stream: %s: %s", request_id, error.code, error)
        yield sse(error_form(error, request_id))
        return
    if chat.stream_options is not None and chat.stream_options.include_usage:
        yield shape.usage_chunk(list(usages.values()))
    yield b"data: [DONE]\n\n"


async def collect(replies: Replies, count: int, shape: Shape) -> Response:
    """All replies whole, as one answer."""
    texts, finishes = [""] * count, [""] * count
    logprobs: list[list[TokenLogprob]] = [[] for _ in range(count)]
    usages: dict[int, Usage] = {}
    async for index, event in replies:
        texts[index] += event.text
        logprobs[index].extend(event.logprobs)
        if event.usage is not None:
            finishes[index], usages[index] = str(event.finish), event.usage
    return JSONResponse(shape.whole(texts, finishes, logprobs, list(usages.values())))


async def unless_gone(request: Request, answer: Any) -> Response:
    """The answer; given up when the client hangs up first."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, watching = asyncio.ensure_future(answer), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            response: Response = working.result()
            return response
        return Response(status_code=499)
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def read_body(request: Request, most: int) -> bytes:
    """The JSON body. Threat: a page in a browser may send a form or plain text to loopback unasked, but not JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BadInput(f"content-type is {kind or 'missing'}; it must be application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise BadInput(f"the body has more than {most} bytes")
    return bytes(body)


class Gate:
    """Gives each request an id and, where there is a key, turns away who does not show it."""

    def __init__(self, app: ASGIApp, key: str | None, metrics: NodeMetrics) -> None:
        self._app = app
        self._key = None if key is None else f"Bearer {key}".encode()
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else new_id()
        scope.setdefault("state", {})["id"] = request_id

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
                if scope["path"] == "/v1/chat/completions":
                    self._metrics.requests.add(status=str(message["status"]))
            await send(message)

        if self._allowed(scope["path"], headers):
            await self._app(scope, receive, answer)
        else:
            refusal = Unauthenticated("the Authorization header must be `Bearer` and this node's OA_SERVING_KEY")
            await error_response(refusal, request_id)(scope, receive, answer)

    def _allowed(self, path: str, headers: Headers) -> bool:
        if self._key is None or path in OPEN_PATHS:
            return True
        return hmac.compare_digest(headers.get("authorization", "").encode(), self._key)


def error_response(error: OaError, request_id: str) -> Response:
    """An error as an answer."""
    headers = {"Retry-After": f"{error.retry_after:.0f}"} if error.retry_after is not None else {}
    return JSONResponse(error_form(error, request_id), status_code=status_of(error), headers=headers)


async def on_error(request: Request, error: Exception) -> Response:
    """A known error says what is wrong; any other is a defect, masked and logged under the request's id."""
    if isinstance(error, OaError):
        return error_response(error, request.state.id)
    if isinstance(error, HTTPException):
        code = "NOT_FOUND" if error.status_code == 404 else "BAD_INPUT"
        body = {"error": {"message": str(error.detail), "type": "invalid_request_error", "param": None, "code": code}}
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)
    log.exception("request %s failed", request.state.id, exc_info=error)
    message = f"an internal error; the operator finds it under request id {request.state.id}"
    body = {"error": {"message": message, "type": "server_error", "param": None, "code": "INTERNAL"}}
    return JSONResponse(body, status_code=500)


def create_app(settings: ServingSettings, store: ObjectStore) -> ASGIApp:
    """The ASGI application of one node; it starts to follow promoted models when its lifespan begins."""
    node = Node(settings, store)
    routes = [
        Route("/v1/chat/completions", node.chat, methods=["POST"]),
        Route("/v1/models", node.list_models),
        Route("/healthz", node.healthz),
        Route("/readyz", node.readyz),
        Route("/metrics", node.show_metrics),
    ]
    handlers: Any = {OaError: on_error, HTTPException: on_error, Exception: on_error}
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=node.lifespan)
    return Gate(app, settings.key, node.metrics)
