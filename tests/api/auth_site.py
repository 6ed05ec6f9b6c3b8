"""A running API with sign-in, its clients, and a loopback OpenID provider."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from browsing import Browser
from running_api import Caller, serving

from api.settings import Settings
from core.database import connect
from core.sign_in import SignIn
from oa.embedded import free_port

WEB = "https://app.example.org/callback"
NATIVE = "http://127.0.0.1/callback"
SCOPES = ["read", "profile", "tasks", "account", "offline_access"]


@dataclass(frozen=True)
class AuthSite:
    """An API at `base`, and what its tests know of it."""

    base: str
    settings: Settings

    def browser(self) -> Browser:
        return Browser(self.base)

    def caller(self, token: str | None = None) -> Caller:
        return Caller(self.base, token)

    def admin(self) -> Caller:
        return Caller(self.base).sign_in("the-admin", "ADMIN")

    def client(self, **wanted: Any) -> tuple[str, str | None]:
        """Register a client; its id, and its secret if it has one."""
        whole = {"name": "Test App", "redirect_uris": [WEB, NATIVE], "scopes": SCOPES} | wanted

        async def make(auth: SignIn) -> tuple[str, str | None]:
            client, secret = await auth.clients.create(whole)
            return client.id, secret

        return self.store(make)

    def app(self, name: str, scope: str, client: str | None = None, **wanted: Any) -> Caller:
        """A caller with a token that somebody gave an app, a new one if none is named, for `scope`, on the pages."""
        client = client or self.client(**{"scopes": scope.split()} | wanted)[0]
        verifier = secrets.token_urlsafe(48)
        browser = self.browser()
        browser.sign_in(name)
        browser.authorize(client, WEB, verifier, scope=scope)
        return self.caller(self.redeem(client, browser.allow()["code"], verifier).json()["access_token"])

    def service(self, scope: str) -> Caller:
        """A caller with a token of a new service."""
        wanted = {"kind": "confidential", "grants": ["client_credentials"], "redirect_uris": []}
        client, secret = self.client(**wanted, scopes=scope.split())
        return self.caller(self.token(client, secret, grant_type="client_credentials").json()["access_token"])

    def store(self, act: Any) -> Any:
        """What `act` answers, given the stored sign-in."""

        async def run() -> Any:
            async with connect(self.settings.mongodb_uri) as client:
                return await act(SignIn(client[self.settings.mongodb_database]))

        return asyncio.run(run())

    def token(self, client_id: str, secret: str | None = None, /, **form: str) -> httpx.Response:
        """Ask the token endpoint."""
        auth = (client_id, secret) if secret else None
        data = form if secret else {"client_id": client_id, **form}
        return httpx.post(f"{self.base}/oauth/token", data=data, auth=auth, timeout=20)

    def redeem(self, client_id: str, code: str, verifier: str, **form: str) -> httpx.Response:
        """Redeem a code."""
        given = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
        return self.token(client_id, None, **(given | form))


@contextmanager
def auth_site(settings: Settings, **changes: Any) -> Iterator[AuthSite]:
    """An API like that of `settings`, with a public address and a database of its own."""
    port = free_port()
    mine = replace(
        settings, public_url=f"http://127.0.0.1:{port}", token_issuer=f"http://127.0.0.1:{port}",
        mongodb_database=f"test_auth_{uuid.uuid4().hex[:12]}", **changes,
    )  # fmt: skip
    with serving(mine, port) as base:
        yield AuthSite(base, mine)


def letters(folder: Path) -> list[str]:
    """The letters in an outbox, oldest first."""
    return [path.read_text() for path in sorted(folder.glob("*.eml"))]
