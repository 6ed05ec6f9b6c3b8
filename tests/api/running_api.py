"""Starting the real app under uvicorn on loopback, and callers of it over HTTP."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import uvicorn

from api.app import create_app
from api.server import options
from api.settings import Settings
from oa.embedded import free_port

DEADLINE = 20.0
"""Seconds that something may take before a test gives up waiting for it."""


def eventually(check: Callable[[], Any], seconds: float = DEADLINE) -> Any:
    """The first truthy answer of `check`; fails when there is none within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := check()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
    return value


@contextlib.contextmanager
def serving(settings: Settings, port: int | None = None) -> Iterator[str]:
    """The app of `settings` under uvicorn; yields its base URL."""
    port = port or free_port()
    told = options(settings, "127.0.0.1", port, 1)
    config = uvicorn.Config(lambda: create_app(settings), log_level="error", lifespan="on", **told)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started or not thread.is_alive())
    assert thread.is_alive(), "the app did not start"
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(DEADLINE)
    assert not thread.is_alive(), "the app did not stop"


@dataclass(frozen=True)
class Caller:
    """Somebody who calls the API."""

    base: str
    token: str | None = None
    user_id: str | None = None
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=DEADLINE))

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"} if self.token else {}

    def post(self, document: str, variables: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        body = {"query": document, "variables": variables}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(f"{self.base}/graphql", json=body, headers={**self.headers, **named})

    def ask(self, document: str, **variables: Any) -> dict[str, Any]:
        """`data` of an answer that has no errors."""
        answer = self.post(document, variables).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def refused(self, document: str, **variables: Any) -> dict[str, Any]:
        """The only error of an answer."""
        (error,) = self.post(document, variables).json()["errors"]
        return error

    def do(self, name: str, fields: str = "", /, **input: Any) -> dict[str, Any]:
        """The payload of a mutation that went well."""
        payload = self.attempt(name, fields, **input)
        assert payload["userErrors"] == [], payload["userErrors"]
        return payload

    def attempt(self, name: str, fields: str = "", /, **input: Any) -> dict[str, Any]:
        """The payload of a mutation, whatever it says."""
        kind = name[0].upper() + name[1:] + "Input!"
        asked = f"userErrors {{ code message path }} {fields}"
        document = f"mutation ($input: {kind}) {{ p: {name}(input: $input) {{ {asked} }} }}"
        return self.ask(document, input=input)["p"]

    def sign_in(self, name: str, *roles: str) -> Caller:
        """Somebody else, signed in."""
        payload = self.do("developmentSignIn", "token user { id }", name=name, roles=list(roles or ["CONTRIBUTOR"]))
        return replace(self, token=payload["token"], user_id=payload["user"]["id"])
