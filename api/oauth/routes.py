"""The addresses of sign-in."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from . import authorize, device, endpoints, pages, sign_in, token


def routes() -> list[BaseRoute]:
    """Every route of this folder."""
    both = ["GET", "POST"]
    return [
        Route("/.well-known/oauth-authorization-server", endpoints.metadata),
        Route("/.well-known/jwks.json", endpoints.jwks),
        Route("/oauth/authorize", authorize.authorize, methods=both),
        Route("/oauth/token", token.token, methods=["POST"]),
        Route("/oauth/revoke", endpoints.revoke, methods=["POST"]),
        Route("/oauth/introspect", endpoints.introspect, methods=["POST"]),
        Route("/oauth/register", endpoints.register, methods=["POST"]),
        Route("/oauth/device_authorization", device.begin, methods=["POST"]),
        Route("/device", device.verify, methods=both),
        Route("/sign-in", sign_in.choose),
        Route("/sign-in/style.css", pages.style),
        Route("/sign-in/letter", sign_in.send_letter, methods=["POST"]),
        Route("/sign-in/letter/open", sign_in.open_letter, methods=["GET"]),
        Route("/sign-in/letter/open", sign_in.use_letter, methods=["POST"]),
        Route("/sign-in/development", sign_in.by_name, methods=["POST"]),
        Route("/sign-in/with/{provider}", sign_in.begin),
        Route("/sign-in/with/{provider}/back", sign_in.come_back),
        Route("/sign-out", sign_in.sign_out, methods=["POST"]),
        Route("/account", sign_in.account),
        Route("/account/link/{provider}", sign_in.link, methods=both),
    ]
