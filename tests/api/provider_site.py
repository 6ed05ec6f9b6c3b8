"""Others who say who people are, as real servers on loopback: an OpenID provider, a GitHub and a Discord in one app.

`Provider.about` alters what discovery says, `Provider.change` the next ID token's claims, `Provider.sign` how it is
signed; the last two are reset after use.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey
from running_api import eventually
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from core.secret_values import challenge_of
from oa.embedded import free_port

CLIENT, SECRET = "open-assistant", "known to both"


class Provider:
    """The provider's state, shared with its server's thread."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.person: dict[str, Any] = {"sub": "ada", "name": "Ada", "email": "ada@example.org"}
        self.key = ECKey.generate_key("P-256", private=True)
        self.published = [self.key]
        self.codes: dict[str, dict[str, str]] = {}
        self.about: dict[str, Any] = {}
        self.change: dict[str, Any] = {}
        self.sign: Callable[[dict[str, Any]], str] | None = None
        self.key_reads = 0
        self.key_set: Any = None

    def rotate(self) -> None:
        """Sign with a new key from now on, which is published beside the old one."""
        self.key = ECKey.generate_key("P-256", private=True)
        self.published.append(self.key)

    def discovery(self, request: Request) -> Response:
        base = self.base
        about = {"issuer": base, "authorization_endpoint": f"{base}/authorize", "token_endpoint": f"{base}/token"}
        about |= {"jwks_uri": f"{base}/jwks", "authorization_response_iss_parameter_supported": True}
        return JSONResponse(about | self.about)

    def jwks(self, request: Request) -> Response:
        self.key_reads += 1
        usual = {"keys": [public(key) for key in self.published]}
        return JSONResponse(usual if self.key_set is None else self.key_set)

    def authorize(self, request: Request) -> Response:
        asked, code = dict(request.query_params), secrets.token_urlsafe(16)
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.base}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", 302)

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        given = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        asked = self.codes.pop(form["code"], None)
        if request.headers.get("authorization") != f"Basic {given}" and form.get("client_secret") != SECRET:
            return JSONResponse({"error": "invalid_client"}, 401)
        if asked is None or challenge_of(form["code_verifier"]) != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        if form["redirect_uri"] != asked["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        answer = {"access_token": "for-the-profile", "token_type": "Bearer"}
        return JSONResponse(answer | ({"id_token": self.id_token(asked["nonce"])} if "nonce" in asked else {}))

    def id_token(self, nonce: str) -> str:
        present = int(time.time())
        whole = {"iss": self.base, "aud": CLIENT, "iat": present, "exp": present + 300, "nonce": nonce, **self.person}
        claims = {name: value for name, value in (whole | self.change).items() if value is not None}
        sign, self.sign, self.change = self.sign or self.signed, None, {}
        return sign(claims)

    def signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "ES256", "kid": self.key.thumbprint()}, claims, self.key)

    def unsigned(self, claims: dict[str, Any]) -> str:
        return f"{part({'alg': 'none'})}.{part(claims)}."

    def with_the_public_key_as_secret(self, claims: dict[str, Any]) -> str:
        body = f"{part({'alg': 'HS256', 'kid': self.key.thumbprint()})}.{part(claims)}"
        return f"{body}.{encoded(hmac.digest(self.key.as_pem(private=False), body.encode(), 'sha256'))}"

    def by_a_stranger(self, claims: dict[str, Any]) -> str:
        other = ECKey.generate_key("P-256", private=True)
        return jwt.encode({"alg": "ES256", "kid": self.key.thumbprint()}, claims, other)

    def github_user(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer for-the-profile"
        return JSONResponse({"id": 7, "login": "ada7", "name": None, "email": "ada@example.org"})

    def discord_user(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer for-the-profile"
        return JSONResponse({"id": "99", "username": "ada99", "global_name": "Ada of Discord"})

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.discovery),
                Route("/jwks", self.jwks),
                Route("/authorize", self.authorize),
                Route("/login/oauth/authorize", self.authorize),
                Route("/oauth2/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
                Route("/login/oauth/access_token", self.token, methods=["POST"]),
                Route("/api/oauth2/token", self.token, methods=["POST"]),
                Route("/user", self.github_user),
                Route("/api/users/@me", self.discord_user),
            ]
        )

    def config(self) -> dict[str, Any]:
        """The file for `OA_SIGN_IN_FILE`."""
        known = {"client_id": CLIENT, "client_secret": SECRET}
        return {
            "providers": [
                {"id": "acme", "kind": "oidc", "name": "Acme", "issuer": self.base, **known},
                {"id": "twin", "kind": "oidc", "name": "Twin", "issuer": self.base, **known},
                {"id": "github", "kind": "github", "base_url": self.base, "api_url": self.base, **known},
                {"id": "discord", "kind": "discord", "base_url": self.base, **known},
            ]
        }


def public(key: ECKey) -> dict[str, Any]:
    return {**key.as_dict(private=False), "kid": key.thumbprint(), "use": "sig"}


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(value: Any) -> str:
    return encoded(json.dumps(value).encode())


@contextlib.contextmanager
def provider_site() -> Iterator[Provider]:
    """The provider, served."""
    port = free_port()
    provider = Provider(f"http://127.0.0.1:{port}")
    server = uvicorn.Server(uvicorn.Config(provider.app(), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started or not thread.is_alive())
    yield provider
    server.should_exit = True
    thread.join(10)
