"""A browser without scripts: cookies, redirects one at a time, forms as they stand in the page."""

from __future__ import annotations

import secrets
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx

from core.secret_values import challenge_of


class Forms(HTMLParser):
    """The forms of a page: action, fields with their values, buttons."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append((given.get("action", ""), {}))
        if tag == "input" and self.found and "name" in given:
            self.found[-1][1][given["name"]] = given.get("value", "")


class Browser:
    """One browser, at the API's address `base`."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.http = httpx.Client(timeout=20, follow_redirects=False, headers={"user-agent": "Test Browser"})
        self.page: httpx.Response | None = None

    def get(self, url: str, **headers: str) -> httpx.Response:
        self.page = self.http.get(urljoin(self.base, url), headers=headers)
        return self.page

    def send(self, start: str = "", headers: dict[str, str] | None = None, /, **fields: str) -> httpx.Response:
        """Submit the page's first form whose action begins with `start`, with `fields` filled in or pressed."""
        assert self.page is not None
        forms = [form for form in Forms(self.page.text).found if form[0].startswith(start)]
        assert forms, f"no form to {start!r} in {self.page.status_code} {self.page.text}"
        action, values = forms[0]
        url = urljoin(str(self.page.url), action)
        self.page = self.http.post(url, data=values | fields, headers=headers)
        return self.page

    def follow(self) -> httpx.Response:
        """Follow redirects as long as they lead to the API."""
        assert self.page is not None
        while self.page.is_redirect and self.page.headers["location"].startswith(("/", self.base + "/")):
            self.get(self.page.headers["location"])
        return self.page

    def sign_in(self, name: str | None = None) -> str:
        """Sign in by name alone; returns the name."""
        name = name or f"person-{secrets.token_hex(4)}"
        self.get("/sign-in")
        assert self.send("/sign-in/development", name=name).status_code == 303
        return name

    def authorize(self, client_id: str, redirect_uri: str, verifier: str, **changes: str | None) -> httpx.Response:
        """Open the authorization endpoint."""
        return self.get(f"/oauth/authorize?{request(client_id, redirect_uri, verifier, **changes)}")

    def allow(self) -> dict[str, str]:
        """Press "Allow", if asked; what comes back to the client."""
        self.follow()
        assert self.page is not None
        if not self.page.is_redirect:
            self.send("/oauth/authorize", decision="allow")
        return answer(self.page)


def request(client_id: str, to: str, verifier: str, /, **changes: str | None) -> str:
    """The query of a good authorization request, with changes; None leaves a parameter out."""
    given = {
        "response_type": "code", "client_id": client_id, "redirect_uri": to,
        "scope": "read profile offline_access",
        "state": "state-1", "code_challenge": challenge_of(verifier), "code_challenge_method": "S256",
    }  # fmt: skip
    return urlencode({name: value for name, value in (given | changes).items() if value is not None})


def answer(response: httpx.Response) -> dict[str, str]:
    """The parameters with which a browser is sent back to a client."""
    assert response.is_redirect, f"{response.status_code} {response.text}"
    return {name: values[0] for name, values in parse_qs(urlsplit(response.headers["location"]).query).items()}
