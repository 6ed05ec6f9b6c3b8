"""The edge, as browsers and their attackers meet it: origins, hosts, addresses, headers, names of requests."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from api.edge import HEADERS, CrossSite, SecurityHeaders, TrustedHosts
from api.logs import LONGEST, REQUEST, JsonLines
from api.middleware import Defects, RequestIds
from api.redaction import HIDDEN, redacted

ASK = "{ viewer { streakDays } }"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "https://app.example.org", "sec-fetch-site": "cross-site"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "https://app.example.org.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "http://[::1"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403),
    ],
)
def test_only_pages_on_the_list_may_call(anyone, headers, status):
    for response in (
        anyone.post(ASK, **{name.replace("-", "_"): value for name, value in headers.items()}),
        anyone.http.get(f"{anyone.base}/graphql", params={"query": ASK}, headers=headers),
    ):
        assert response.status_code == status
        if status == 403:
            assert response.json()["errors"][0]["extensions"] == {"code": "FORBIDDEN"}
            assert "OA_CORS_ORIGINS" in response.json()["errors"][0]["message"]


def test_the_apis_own_pages_may_call_and_a_link_leads_to_the_page_to_try_it(anyone):
    assert anyone.post(ASK, origin=anyone.base).status_code == 200
    other_port = anyone.base.rpartition(":")[0] + ":1"
    assert anyone.post(ASK, origin=other_port).status_code == 403
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "accept": "text/html"}
    assert "<html" in anyone.http.get(f"{anyone.base}/graphql", headers=link).text


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_form_of_another_site_cannot_be_a_request(anyone, kind):
    body = json.dumps({"query": 'mutation { developmentSignIn(input: {name: "x"}) { token } }'})
    response = anyone.http.post(f"{anyone.base}/graphql", content=body, headers={"content-type": kind})
    assert response.status_code in (400, 415)
    assert "token" not in response.json().get("data", {})


@pytest.mark.parametrize("name", ["access_token", "token", "Authorization", "api_key", "id_token", "password"])
def test_secrets_in_addresses_are_refused_and_not_repeated(anyone, name):
    response = anyone.http.post(f"{anyone.base}/graphql", params={name: "hush-hush"}, json={"query": ASK})
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert error["extensions"] == {"code": "BAD_INPUT"}
    assert name in error["message"]
    assert "hush" not in response.text
    address = anyone.base.replace("http", "ws", 1) + f"/graphql?{name}=x"
    with pytest.raises(InvalidStatus) as refused:
        connect(address, subprotocols=["graphql-transport-ws"])
    assert refused.value.response.status_code == 403


def test_every_answer_has_the_headers_that_browsers_heed(anyone):
    for path, method in (("/graphql", "POST"), ("/healthz", "GET"), ("/nowhere", "GET"), ("/graphql", "PUT")):
        response = anyone.http.request(method, anyone.base + path, json={"query": ASK})
        assert {name: response.headers[name] for name in HEADERS} == HEADERS, path
        assert "strict-transport-security" not in response.headers
    assert anyone.post(ASK).headers["cache-control"] == "no-store"


def test_the_page_to_try_the_api_runs_its_own_script_and_no_other(anyone):
    page = anyone.http.get(f"{anyone.base}/graphql", headers={"accept": "text/html"})
    policy = page.headers["content-security-policy"]
    assert "script-src 'sha256-" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


async def through(middleware, headers, path="/graphql", kind="http", query=b""):
    """What comes back through a middleware: the status, and the headers."""
    seen = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        seen.append(message)

    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "method": "POST", "path": path, "headers": given, "query_string": query}
    await middleware(app)(scope, None, send)
    start = seen[0]
    return start.get("status", start.get("code")), {k.decode(): v.decode() for k, v in start.get("headers", [])}


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("api.example.org", "/graphql", 200), ("API.example.org:443", "/graphql", 200), ("a.b.test", "/graphql", 200),
        ("127.0.0.1:8000", "/graphql", 200), ("[::1]:8000", "/graphql", 200), ("evil.example", "/graphql", 421),
        ("api.example.org.evil.example", "/graphql", 421), ("b.test", "/graphql", 421), ("", "/graphql", 421),
        ("10.0.0.7", "/healthz", 200), ("10.0.0.7", "/graphql", 421),
    ],
)  # fmt: skip
async def test_the_api_answers_to_its_own_names(host, path, status):
    def trusted(app):
        return TrustedHosts(app, ("api.example.org", "*.b.test"))

    assert (await through(trusted, {"host": host}, path))[0] == status


def test_a_page_whose_name_leads_to_a_developers_machine_gets_no_token(anyone):
    port = anyone.base.rpartition(":")[2]
    evil = {"host": f"evil.example:{port}", "origin": f"http://evil.example:{port}", "sec-fetch-site": "same-origin"}
    sign_in = 'mutation { developmentSignIn(input: {name: "x", roles: [ADMIN]}) { token } }'
    refused = anyone.http.post(f"{anyone.base}/graphql", json={"query": sign_in}, headers=evil)
    assert (refused.status_code, "data" in refused.json()) == (421, False)


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://a:port"])
def test_what_is_no_origin_opens_no_websocket(anyone, origin):
    with pytest.raises(InvalidStatus) as refused:
        connect(anyone.base.replace("http", "ws", 1) + "/graphql", origin=origin)
    assert refused.value.response.status_code == 403


async def test_tls_is_kept_to_where_browsers_reach_us_by_it():
    found = (await through(lambda app: SecurityHeaders(app, tls=True), {}))[1]
    assert found["strict-transport-security"].startswith("max-age=63072000")


async def test_a_public_address_is_an_origin_of_its_own_behind_a_proxy():
    def crossing(app):
        return CrossSite(app, (), "https://api.example.org")

    behind = {"host": "10.0.0.7:8000", "origin": "https://api.example.org"}
    assert (await through(crossing, behind))[0] == 200
    assert (await through(crossing, {**behind, "origin": "https://b.example"}))[0] == 403
    assert (await through(crossing, {"origin": "https://b.example"}, kind="websocket"))[0] == 1008
    assert (await through(crossing, {"origin": "https://b.example"}, path="/oauth/token"))[0] == 200


async def test_a_defect_is_one_line_and_an_answer_without_its_cause(caplog):
    async def broken(scope, receive, send):
        raise RuntimeError("a driver's words, with somebody's text")

    seen = []

    async def send(message):
        seen.append(message)

    scope = {"type": "http", "method": "POST", "path": "/graphql", "headers": [(b"x-request-id", b"given-name-01")]}
    with caplog.at_level(logging.INFO, "oa.access"):
        await RequestIds(Defects(broken))(scope, None, send)
    assert seen[0]["status"] == 500
    (error,) = json.loads(seen[1]["body"])["errors"]
    assert error == {
        "message": "internal error; quote given-name-01 when you report it",
        "extensions": {"code": "INTERNAL", "correlationId": "given-name-01"},
    }  # fmt: skip
    assert [record.message for record in caplog.records] == ["defect in answering a request", "request"]


@pytest.mark.parametrize(
    ("parent", "known"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", False),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", False),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", False),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", False),
        ('"}{', False),
    ],
)
async def test_a_trace_that_the_caller_is_in_is_named_in_every_line_and_nothing_else_is(parent, known):
    lines = []

    async def app(scope, receive, send):
        record = logging.LogRecord("oa.test", logging.INFO, "", 0, "within", None, None)
        lines.append(json.loads(JsonLines().format(record)))

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"traceparent", parent.encode())]}
    await RequestIds(app)(scope, None, None)
    assert lines[0].get("trace_id") == (parent[3:35] if known else None)
    assert len(lines[0]["request_id"]) == 36
    assert REQUEST.get() is None


SECRETS = {
    "a token": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
    "an API key": "oa_0190f3c1aaaa_Zm9vYmFyYmF6cXV4cXV1eGNvcmdl",
    "an address with a password": "mongodb://ada:hushhush@db.example:27017/x",
    "a refresh token": "oar_0190f3c1-aaaa.Zm9vYmFyYmF6cXV4.Zm9vYmFyYmF6cXV4cXV1eGNvcmdl",
    "a client's secret": "oac_Zm9vYmFyYmF6cXV4cXV1eGNvcmdl",
    "a code": "/callback?code=hushhush-hushhush&state=1",
    "a device's code": "grant_type=x&device_code=hushhush-hushhush",
    "a device's code in JSON": '{"device_code": "hushhush-hushhush"}',
    "a header": "authorization: Bearer abcdef123456",
    "a field": '{"refresh_token": "hushhush-hushhush"}',
    "a parameter": "/oauth/x?client_secret=hushhush&state=1",
    "a key": "-----BEGIN PRIVATE KEY-----\\nMIGHAgEAMBMGByqGSM49\\n-----END PRIVATE KEY-----",
}
LEFT = ("hushhush", "c2lnbmF0dXJl", "Zm9vYmFyYmF6", "abcdef123456", "MIGHAgEA")


@pytest.mark.parametrize("name", SECRETS)
@given(before=st.text(alphabet='abc "{}:,=\\\\', max_size=12), after=st.sampled_from(["", " and more", '"}', "\\n"]))
def test_secrets_are_taken_out_wherever_they_stand(name, before, after):
    line = redacted(f"{before} {SECRETS[name]}{after}")
    assert HIDDEN in line
    assert not any(secret in line for secret in LEFT), line


def test_a_line_stays_whole_where_there_is_no_secret_and_has_an_end():
    plain = (
        '{"ts":"2026-11-27T11:00:00","message":"request","path":"/graphql","status":200,"tokens":12,"code":"FORBIDDEN"}'
    )
    assert redacted(plain) == plain
    record = logging.LogRecord("oa.test", logging.ERROR, "", 0, "long", None, None)
    record.fields = {"trace": ["x" * 1000] * 100}
    line = JsonLines().format(record)
    assert len(line) <= LONGEST
    assert json.loads(line)["level"] == "error"


def test_metrics_name_what_was_asked_by_the_schema_and_by_nothing_that_callers_make_up(anyone, somebody):
    somebody()
    anyone.post('query Made_up_by_a_client { again: node(id: "x") { id } }')
    anyone.post("{ nothing }")
    anyone.http.get(f"{anyone.base}/made/up")
    text = anyone.http.get(f"{anyone.base}/metrics").text
    assert 'oa_operation_seconds_count{code="BAD_INPUT",field="node",kind="query"}' in text
    assert 'oa_operation_seconds_count{code="OK",field="developmentSignIn",kind="mutation"}' in text
    assert 'oa_operation_seconds_count{code="BAD_QUERY",field="none",kind="none"}' in text
    assert 'path="other",status="404"' in text
    assert 'oa_database_seconds_count{command="find",ok="true"}' in text
    for gauge in (
        "oa_subscriptions 0.0",
        "oa_relay_streams 0.0",
        "oa_sweeper_lag_seconds",
        "process_resident_memory_bytes",
    ):
        assert gauge in text
    assert "made" not in text.lower()
