"""The Starlette app: routes, middleware, and what is opened at start and closed at the end.

`create_app(settings)` for tests and embedding, `app_from_env` for `uvicorn api.app:app_from_env --factory`. Importing
this module loads the schema, but no driver: the stores' modules are imported when the app starts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route, WebSocketRoute

from graphql_schema.schema import build_schema

from . import health
from .callers import Callers
from .keys import keys_of
from .logs import configure
from .middleware import RequestIds, WebSocketMessageLimit
from .rate import HEADERS
from .settings import Settings, from_env
from .tokens import Tokens
from .view import GraphQLView


def create_app(settings: Settings) -> Starlette:
    """The app, not started yet.

    Raises:
        BadInput: the token key or the ways to sign in cannot be used.
    """
    # Sign-in brings the stores' driver, which importing this module must not.
    from .oauth.providers import providers_of
    from .oauth.routes import routes
    from .oauth.site import Site

    tokens = Tokens(keys_of(settings), settings.token_issuer, settings.token_seconds)
    schema = build_schema(suggestions=settings.introspection == "anyone")
    view = GraphQLView(schema, settings, Callers(settings, tokens))

    site = Site(settings, tokens, providers_of(settings))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        from .services import open_services

        async with open_services(settings, tokens) as services:
            app.state.services, app.state.site = services, site
            services.link_url = site.link_url
            yield

    return Starlette(
        routes=[
            Route("/graphql", view, methods=["GET", "POST"]),
            WebSocketRoute("/graphql", view),
            Route("/healthz", health.healthz),
            Route("/readyz", health.readyz),
            *routes(),
        ],
        middleware=middleware(settings),
        lifespan=lifespan,
    )


def middleware(settings: Settings) -> list[Middleware]:
    """What every request passes through, outermost first."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "x-request-id"],
        expose_headers=["x-request-id", "retry-after", *HEADERS],
        max_age=600,
    )
    return [
        Middleware(RequestIds),
        cors,
        Middleware(RequestBodyLimitMiddleware, max_body_size=settings.body_bytes),
        Middleware(WebSocketMessageLimit, most=settings.body_bytes),
    ]


def app_from_env() -> Starlette:
    """The app with settings from the environment, and its logs set up."""
    settings = from_env()
    configure(settings.log_level)
    return create_app(settings)
