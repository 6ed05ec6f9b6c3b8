"""Traces, in OpenTelemetry's form: a span for each request, operation, resolver that waits, and database command.

Only where `OA_OTLP_ENDPOINT` names a collector, and only then are the libraries imported (extra `telemetry`). A
caller's `traceparent` is continued. Spans hold names, codes and times: no document, no variable, no text, no token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from strawberry.extensions import SchemaExtension

from core.errors import BadInput

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span


class Tracing:
    """The tracer of one app.

    Args:
        exporter: where spans go.
        at_once: send each span as it ends, which tests want; else in batches, in the background.
    """

    def __init__(self, exporter: SpanExporter, *, at_once: bool = False) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

        self._provider = TracerProvider(resource=Resource.create({"service.name": "open-assistant-api"}))
        self._provider.add_span_processor((SimpleSpanProcessor if at_once else BatchSpanProcessor)(exporter))
        self._tracer = self._provider.get_tracer("open-assistant")

    @contextmanager
    def span(self, name: str, **attributes: str) -> Iterator[Span]:
        """A span around what is done within."""
        with self._tracer.start_as_current_span(name, attributes=attributes, record_exception=False) as span:
            yield span

    def database(self, command: str, database: str, collection: str) -> Span:
        """A span of one command, to be ended by the caller."""
        from opentelemetry.trace import SpanKind

        attributes = {"db.system": "mongodb", "db.operation": command, "db.name": database}
        name = f"{command} {collection}".strip()
        return self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)

    @contextmanager
    def request(self, scope: Scope) -> Iterator[Span]:
        """A span of one request, below its caller's."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        method = scope.get("method", "WEBSOCKET")
        parent = TraceContextTextMapPropagator().extract({"traceparent": Headers(scope=scope).get("traceparent", "")})
        attributes = {"http.request.method": method, "url.path": scope["path"][:256]}
        with self._tracer.start_as_current_span(
            method, context=parent, kind=SpanKind.SERVER, attributes=attributes, record_exception=False
        ) as span:
            yield span

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def tracing_of(endpoint: str | None) -> Tracing | None:
    """The tracing that sends to `endpoint`, an address of OTLP over HTTP; None without one.

    Raises:
        BadInput: the extra that sends is not installed.
    """
    if endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise BadInput("OA_OTLP_ENDPOINT is set, and traces need: pip install 'open-assistant[telemetry]'") from error
    return Tracing(OTLPSpanExporter(endpoint=endpoint))


class TracedRequests:
    """Puts each request and WebSocket into a span."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self.app = app
        self.tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        with self.tracing.request(scope) as span:

            async def send_noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await self.app(scope, receive, send_noted)


def resolvers(tracing: Tracing) -> type[SchemaExtension]:
    """An extension that puts each operation into a span, and each resolver that waits for something."""

    class Traced(SchemaExtension):
        """Spans of operations and resolvers."""

        def on_execute(self) -> Iterator[None]:
            """Around the execution of one operation."""
            kind, field = self.execution_context.context.asked
            with tracing.span(f"{kind} {field}"):
                yield

        async def resolve(self, _next: Callable[..., Any], root: Any, info: Any, *args: str, **kwargs: Any) -> Any:
            """A span where there is something to wait for."""
            value = _next(root, info, *args, **kwargs)
            return await _waited(value, f"{info.parent_type.name}.{info.field_name}") if isawaitable(value) else value

    async def _waited(value: Awaitable[Any], name: str) -> Any:
        with tracing.span(name):
            return await value

    return Traced
