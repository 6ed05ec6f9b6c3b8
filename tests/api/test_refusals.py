"""What is refused before a document is looked at has the form of other errors, and pages on the list can read it."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from unittest.mock import patch

import httpx
import pytest
from running_api import DEADLINE

from core.errors import CODES
from graphql_schema.error_guide import EXTENSIONS, HEAD

SPEC, JSON = "application/graphql-response+json", "application/json"
PAGE = {"origin": "https://app.example.org"}
ASK = json.dumps({"query": "{ viewer { streakDays } }"})
LONG = json.dumps({"query": "{ viewer { streakDays } } #" + "x" * 70_000})
KIND = {"content-type": JSON}
REFUSED = {
    "a long body": (413, "BAD_QUERY", {"method": "POST", "url": "/graphql", "content": LONG, "headers": KIND}),
    "a method": (405, "BAD_QUERY", {"method": "PUT", "url": "/graphql", "content": ASK, "headers": KIND}),
    "an address": (404, "NOT_FOUND", {"method": "GET", "url": "/nowhere"}),
    "a host": (421, "FORBIDDEN", {"method": "GET", "url": "/graphql", "headers": {"host": "evil.example"}}),
    "a secret": (400, "BAD_INPUT", {"method": "POST", "url": "/graphql?token=x", "content": ASK, "headers": KIND}),
    "no JSON": (400, "BAD_QUERY", {"method": "POST", "url": "/graphql", "content": "{", "headers": KIND}),
    "a form": (415, "BAD_QUERY", {"method": "POST", "url": "/graphql", "data": {"query": "x"}}),
}


def ask(base: str, about: dict, **headers: str) -> httpx.Response:
    own = dict(about)
    given = own.pop("headers", {}) | headers
    return httpx.request(own.pop("method"), base + own.pop("url"), headers=given, timeout=DEADLINE, **own)


def error_in(response: httpx.Response) -> dict:
    (error,) = response.json()["errors"]
    assert set(error) == {"message", "extensions"}
    assert error["extensions"]["code"] in CODES
    assert set(error["extensions"]) <= EXTENSIONS
    return error


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize(("accept", "media"), [("*/*", JSON), (JSON, JSON), (SPEC, SPEC), ("text/event-stream", JSON)])
def test_a_refusal_has_a_code_and_the_media_type_asked_for_and_pages_can_read_it(base, what, accept, media):
    status, code, about = REFUSED[what]
    response = ask(base, about, accept=accept, **PAGE)
    assert (response.status_code, error_in(response)["extensions"]["code"]) == (status, code)
    assert response.headers["content-type"].partition(";")[0] == media
    assert response.headers["access-control-allow-origin"] == PAGE["origin"]
    assert "x-request-id" in response.headers["access-control-expose-headers"]
    assert response.headers["x-content-type-options"] == "nosniff"


def test_other_pages_can_read_no_refusal(base):
    for what, (status, _, about) in REFUSED.items():
        response = ask(base, about, origin="https://evil.example")
        assert "access-control-allow-origin" not in response.headers, what
        if about["url"].startswith("/graphql") and what not in ("a host", "a secret"):
            status = 403
        assert response.status_code == status, what


def test_every_refusal_stands_in_the_guide():
    rows = re.findall(r"^\| ([\d, ]+) \| `(\w+)` \|", HEAD, re.MULTILINE)
    told = {(int(status), code) for statuses, code in rows for status in statuses.split(", ")}
    assert {(status, code) for status, code, _ in REFUSED.values()} <= told


def test_a_body_that_says_nothing_of_its_length_is_measured_as_it_comes(base):
    def pieces() -> Iterator[bytes]:
        yield LONG.encode()[:40_000]
        yield LONG.encode()[40_000:]

    response = httpx.post(f"{base}/graphql", content=pieces(), headers=KIND, timeout=DEADLINE)
    assert (response.status_code, error_in(response)["extensions"]) == (413, {"code": "BAD_QUERY"})
    short = httpx.post(f"{base}/graphql", content=iter([ASK.encode()]), headers=KIND, timeout=DEADLINE)
    assert short.json()["data"] == {"viewer": None}


def test_a_long_body_is_refused_before_it_is_sent(base):
    """Its length is enough: nothing of it is waited for."""
    with socket.create_connection(("127.0.0.1", int(base.rpartition(":")[2])), DEADLINE) as connection:
        head = "POST /graphql HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: 10000000\r\n\r\n".encode())
        assert b" 413 " in connection.recv(65_536).split(b"\r\n", 1)[0]


def test_a_long_body_is_refused_in_the_words_of_oauth_where_it_is_asked(base):
    form = {"grant_type": "authorization_code", "code": "x" * 70_000}
    response = httpx.post(f"{base}/oauth/token", data=form, timeout=DEADLINE)
    assert (response.status_code, response.json()["error"]) == (413, "invalid_request")


def test_a_page_sees_that_a_defect_is_one_and_how_to_name_it(anyone):
    with patch("api.edge.CrossSite._allowed", side_effect=RuntimeError("a driver's words")):
        response = anyone.post("{ viewer { streakDays } }", **PAGE, accept=SPEC)
    assert (response.status_code, response.headers["content-type"]) == (500, SPEC)
    assert response.headers["access-control-allow-origin"] == PAGE["origin"]
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    extensions = error_in(response)["extensions"]
    assert extensions == {"code": "INTERNAL", "correlationId": response.headers["x-request-id"]}
    assert "driver" not in response.text
