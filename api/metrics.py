"""What monitors see at `/metrics`, in Prometheus's text form. No label has values that a caller can make up.

Operations are counted by the first field of their root, which the schema bounds, and not by the name that a client
gives them. Imports the client library, so the app imports it at its start only.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

if TYPE_CHECKING:
    from graphql_schema.context import Services

    from .settings import Settings

BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds."""
PATHS = frozenset({"/graphql", "/healthz", "/readyz", "/metrics"})
METHODS = frozenset({"GET", "POST", "OPTIONS", "WEBSOCKET"})


class Metrics:
    """The metrics of one app, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._children: dict[tuple[Histogram, tuple[str, ...]], Histogram] = {}
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self._requests = Histogram(
            "oa_http_request_seconds", "Time from request to the end of its answer; streams last long.",
            ("method", "path", "status"), buckets=BUCKETS, registry=registry,
        )  # fmt: skip
        self._operations = Histogram(
            "oa_operation_seconds", "Time of queries and mutations by the first field of the root and the code.",
            ("kind", "field", "code"), buckets=BUCKETS, registry=registry,
        )  # fmt: skip
        self._commands = Histogram(
            "oa_database_seconds", "Time of commands to the document store.", ("command", "ok"),
            buckets=BUCKETS, registry=registry,
        )  # fmt: skip
        self._refusals = Counter(
            "oa_rate_limit_refusals", "Operations that a bucket was too empty for.", ("field",), registry=registry
        )

    def request(self, path: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        labels = (method if method in METHODS else "other", path if path in PATHS else _kind(path), str(status))
        self._child(self._requests, labels).observe(seconds)

    def operation(self, kind: str, field: str, code: str, seconds: float) -> None:
        """Count one query or mutation; `code` is `OK` or of `core.errors.CODES`."""
        self._child(self._operations, (kind, field, code)).observe(seconds)
        if code == "TOO_MANY":
            self._refusals.labels(field).inc()

    def command(self, name: str, ok: bool, seconds: float) -> None:
        """Count one command to the document store."""
        self._child(self._commands, (name, str(ok).lower())).observe(seconds)

    def _child(self, of: Histogram, labels: tuple[str, ...]) -> Histogram:
        """The histogram of these labels; to ask the library for it takes as long as to count."""
        child = self._children.get((of, labels))
        if child is None:
            child = self._children[of, labels] = of.labels(*labels)
        return child

    def follow(self, services: Services, lag: Callable[[], float]) -> None:
        """Show what the services hold now, and how many seconds ago the sweeper last came to the end of a round."""
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "oa_subscriptions": ("Subscriptions under way.", lambda: services.streams.subscriptions),
            "oa_relay_streams": ("Replies of models under way.", lambda: services.relay.active),
            "oa_sweeper_lag_seconds": ("Seconds since the sweeper's last whole round.", lag),
        }
        for name, (about, value) in gauges.items():
            Gauge(name, about, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """Everything, in Prometheus's text form."""
        return generate_latest(self.registry)


def _kind(path: str) -> str:
    """The part of the API that a path is of; what anybody can make up is `other`."""
    first = path.strip("/").partition("/")[0]
    return f"/{first}" if first in ("oauth", "sign-in", ".well-known", "device", "account", "graphiql") else "other"


def endpoint(settings: Settings, metrics: Metrics) -> Callable[[Request], Response]:
    """What answers `/metrics`: to who has the key, or to anybody in embedded mode without one."""

    def answer(request: Request) -> Response:
        if settings.metrics_key is None and not settings.embedded:
            return PlainTextResponse("OA_METRICS_KEY is not set", 404)
        given = request.headers.get("authorization", "")
        if settings.metrics_key and not hmac.compare_digest(given.encode(), f"Bearer {settings.metrics_key}".encode()):
            return PlainTextResponse("the key of /metrics is wanted", 401, {"www-authenticate": "Bearer"})
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return answer
