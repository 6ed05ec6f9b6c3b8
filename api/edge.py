"""What the outside meets first: whose name the API answers to, which pages may call it, and headers for browsers.

Threats, each with the middleware that is against it:

    DNS rebinding: a page whose own name leads to this server       TrustedHosts
    a page of another site that calls with a visitor's browser      CrossSite (and CORS, which hides the answers)
    secrets in addresses, which logs and histories keep             CrossSite
    answers read as scripts or shown in another site's frame        SecurityHeaders

A browser says where a request comes from (`Origin`, `Sec-Fetch-Site`); a program says neither and is not asked.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.urls import parts_of

from .headers import add_missing, given
from .refusals import refuse

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that load balancers and monitors ask for by address, whatever the name."""
SECRETS = frozenset(
    {"access_token", "api_key", "apikey", "authorization", "client_secret", "id_token", "password", "refresh_token",
     "token"}
)  # fmt: skip
"""Parameters that must not stand in the address of the API."""
GRAPHQL = "/graphql"
YEAR = 31_536_000
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
"""On every answer that does not say otherwise itself."""
VARY = ((b"vary", b"Origin"),)


class TrustedHosts:
    """Answers only to its own names.

    Args:
        app: the app behind.
        hosts: names without a port; `*` for any, `*.example.org` for those below. Loopback is always meant.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app = app
        self.exact = {host.lower() for host in hosts} | LOOPBACK
        self.below = tuple(host[1:].lower() for host in hosts if host.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket."""
        if scope["type"] in ("http", "websocket") and scope["path"] not in PROBES and not self._ours(scope):
            message = "this server does not answer to that host name; OA_TRUSTED_HOSTS lists those that it has"
            await refuse(scope, receive, send, 421, "FORBIDDEN", message)
            return
        await self.app(scope, receive, send)

    def _ours(self, scope: Scope) -> bool:
        host = _name(given(scope, b"host") or "")
        return "*" in self.exact or host in self.exact or host.endswith(self.below or ("\n",))


def _name(authority: str) -> str:
    """The host name in `host:port`."""
    name, bracket, _ = authority.lower().partition("]")
    return name + bracket if bracket else name.rpartition(":")[0] or name


class CrossSite:
    """Refuses calls of the API that a browser makes for a page of another site that is not on the list.

    Args:
        app: the app behind.
        origins: those that may, besides the API's own.
        public_url: the API's address as browsers see it, where it is known.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str], public_url: str | None = None) -> None:
        self.app = app
        self.origins = {*origins, *([public_url] if public_url else [])}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket."""
        if scope["type"] in ("http", "websocket") and scope["path"] == GRAPHQL:
            if names := _secrets(scope):
                message = f"{names[0]} is in the address, where logs and histories keep it; send it as a header"
                await refuse(scope, receive, send, 400, "BAD_INPUT", message)
                return
            if not self._allowed(scope):
                message = "pages of this origin may not call the API; OA_CORS_ORIGINS lists those that may"
                await refuse(scope, receive, send, 403, "FORBIDDEN", message)
                return
        await self.app(scope, receive, send)

    def _allowed(self, scope: Scope) -> bool:
        origin = given(scope, b"origin")
        if scope.get("method") == "OPTIONS" or origin in self.origins:
            return True
        if origin is not None:
            parts = parts_of(origin)
            return parts is not None and parts.netloc.lower() == (given(scope, b"host") or "").lower() != ""
        if given(scope, b"sec-fetch-site") in (None, "same-origin", "none"):
            return True
        # A link from elsewhere may lead to the page to try the API, and may ask for nothing.
        is_link = scope.get("method") == "GET" and given(scope, b"sec-fetch-mode") == "navigate"
        return is_link and not scope.get("query_string")


def _secrets(scope: Scope) -> list[str]:
    query = scope.get("query_string", b"").decode("latin-1")
    if not query:
        return []
    return [name for name, _ in parse_qsl(query, keep_blank_values=True) if name.lower() in SECRETS]


class SecurityHeaders:
    """Puts `HEADERS` on answers, and has browsers use TLS only.

    Args:
        app: the app behind.
        tls: whether browsers reach it by TLS, and should by nothing else.
    """

    def __init__(self, app: ASGIApp, tls: bool) -> None:
        self.app = app
        headers = dict(HEADERS)
        if tls:
            headers["strict-transport-security"] = f"max-age={2 * YEAR}; includeSubDomains"
        self.headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.of_api = [*self.headers, (b"cache-control", b"no-store")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                add_missing(message, self.of_api if scope["path"] == GRAPHQL else self.headers)
            await send(message)

        await self.app(scope, receive, send_safe)


class Cors(CORSMiddleware):
    """Starlette's, with a short way for who is no page of another origin: of CORS it gets `Vary` alone."""

    async def simple_response(self, scope: Scope, receive: Receive, send: Send, request_headers: Headers) -> None:
        """Answer a request that asks for no permission."""
        if self.allow_all_origins or given(scope, b"origin") is not None:
            await super().simple_response(scope, receive, send, request_headers)
            return

        async def send_varied(message: Message) -> None:
            if message["type"] == "http.response.start":
                if any(name == b"vary" for name, _ in message.get("headers", ())):
                    await self.send(message, send, request_headers)
                    return
                add_missing(message, VARY)
            await send(message)

        await self.app(scope, receive, send_varied)
