"""The Starlette app: routes, middleware, and what is opened at start and closed at the end.

`create_app(settings)` for tests and embedding, `app_from_env` for `api.server`. Importing
this module loads the schema, but no driver: the stores' modules are imported when the app starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute

from core.urls import parts_of
from graphql_schema.schema import build_schema

from . import graphiql, health
from .callers import Callers
from .draining import Draining
from .edge import Cors, CrossSite, SecurityHeaders, TrustedHosts
from .garbage import settle
from .keys import keys_of
from .logs import configure
from .middleware import BodyLimit, Defects, RequestIds, WebSocketMessageLimit
from .rate import HEADERS
from .refusals import of_routes
from .settings import Settings, from_env
from .sockets import SocketLimit
from .tokens import Tokens
from .tracing import TracedRequests, Tracing, resolvers, tracing_of
from .view import GraphQLView


def create_app(settings: Settings, *, alone: bool = False) -> Starlette:
    """The app, not started yet.

    Args:
        settings: how it runs.
        alone: whether the process is this app's and no other's, so that what lives at its start stays (`garbage`).

    Raises:
        BadInput: the token key or the ways to sign in cannot be used.
    """
    # Sign-in brings the stores' driver, which importing this module must not; metrics bring their library.
    from .metrics import Metrics, endpoint
    from .oauth.client_keys import checked_keys
    from .oauth.providers import providers_of
    from .oauth.routes import routes
    from .oauth.site import Site

    tokens = Tokens(keys_of(settings), settings.token_issuer, settings.token_seconds)
    metrics, tracing = Metrics(), tracing_of(settings.otlp_endpoint)
    traced = () if tracing is None else (resolvers(tracing),)
    schema = build_schema(suggestions=settings.introspection == "anyone", besides=traced)
    view = GraphQLView(schema, settings, Callers(settings, tokens))

    files = graphiql.files_of(settings.graphiql) if settings.graphiql is not None and settings.has_page else {}

    site = Site(settings, tokens, providers_of(settings))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        from .services import open_services

        async with open_services(settings, tokens, metrics, tracing) as services:
            draining = Draining(services.streams, settings.drain_notice_seconds)
            app.state.services, app.state.site, app.state.draining = services, site, draining
            app.state.readiness = health.Readiness(services.database, services.store)
            services.link_url, services.public_keys = site.link_url, checked_keys
            if alone:
                settle()
            with draining.watching():
                yield
        if tracing is not None:
            await asyncio.to_thread(tracing.close)

    return Starlette(
        routes=[
            Route("/graphql", view, methods=["GET", "POST"]),
            WebSocketRoute("/graphql", view),
            Route("/healthz", health.healthz),
            Route("/readyz", health.readyz),
            Route("/metrics", endpoint(settings, metrics)),
            *([graphiql.route(files)] if files else []),
            *routes(),
        ],
        middleware=middleware(settings, metrics.request, tracing),
        exception_handlers={HTTPException: of_routes},
        lifespan=lifespan,
    )


def middleware(
    settings: Settings, watch: Callable[[str, str, int, float], None], tracing: Tracing | None
) -> list[Middleware]:
    """What every request passes through, outermost first."""
    hosts = settings.trusted_hosts or _public_host(settings)
    cors = Middleware(
        Cors,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=[
            "authorization",
            "content-type",
            "x-act-as",
            "x-request-id",
            "traceparent",
            "idempotency-key",
            "apollo-require-preflight",
            "apollographql-client-name",
            "apollographql-client-version",
        ],
        expose_headers=["x-request-id", "retry-after", *HEADERS],
        max_age=600,
    )
    proxies = list(settings.trusted_proxies)
    return [
        *([] if tracing is None else [Middleware(TracedRequests, tracing=tracing)]),
        *([Middleware(_behind(), trusted_hosts=proxies)] if proxies else []),
        Middleware(RequestIds, watch=watch),
        Middleware(SecurityHeaders, tls=not settings.embedded),
        cors,  # before all that refuses: pages on the list should see why
        Middleware(Defects),
        Middleware(TrustedHosts, hosts=hosts),
        Middleware(CrossSite, origins=settings.cors_origins, public_url=settings.public_url),
        Middleware(BodyLimit, most=settings.body_bytes),
        Middleware(SocketLimit, most=settings.streams_per_address),
        Middleware(WebSocketMessageLimit, most=settings.body_bytes),
    ]


def _behind() -> Any:
    """The server's own reader of proxies' headers: the last address that no trusted proxy has is the caller's."""
    from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

    return ProxyHeadersMiddleware


def _public_host(settings: Settings) -> tuple[str, ...]:
    """The host of the public address; none but loopback, which is always meant, where there is none."""
    parts = parts_of(settings.public_url or "")
    return () if parts is None or parts.hostname is None else (parts.hostname,)


def app_from_env() -> Starlette:
    """The app with settings from the environment, and its logs set up."""
    settings = from_env()
    configure(settings.log_level)
    return create_app(settings, alone=True)
