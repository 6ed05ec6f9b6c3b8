"""Ways in that were found by looking for them, each closed: keys of the object store, lines of the log, messages of a
WebSocket, names that nobody sees, providers that send us to ourselves."""

from __future__ import annotations

import json
import secrets
from typing import Any
from unittest.mock import AsyncMock, patch

import httpx
import pytest
from auth_site import WEB
from hypothesis import given
from hypothesis import strategies as st
from running_api import Caller
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from api.oauth.providers import Provider
from api.oauth.upstream import Upstream, _name
from api.redaction import HIDDEN, redacted
from core.clients import checked_fields
from core.errors import BadInput, NotFound, Unavailable
from core.oauth_records import Attempt
from core.objects import ObjectStore
from core.texts import check_text, is_name
from graphql_schema.relay import global_id
from oa.embedded import free_port

NODE = "query ($id: ID!) { node(id: $id) { id } }"
OUTSIDE = (
    "../../jobs/x@v1",
    "assistant@../..",
    "..@..",
    "a/b@v1",
    "a\x00b@v1",
    "@",
    "a\\b@v1",
    "a@" + "v" * 201,
    ".@v",
)


@pytest.mark.parametrize("raw", OUTSIDE)
def test_an_id_leads_to_no_other_key_of_the_object_store(somebody, raw):
    for role, kinds in (("CONTRIBUTOR", ("Model",)), ("ADMIN", ("Model", "Snapshot", "Job"))):
        person = somebody(role)
        for kind in kinds:
            assert person.ask(NODE, id=global_id(kind, raw)) == {"node": None}, kind


def test_names_lead_to_no_other_key_of_the_object_store(somebody):
    admin = somebody("ADMIN")
    for name in ("../..", "..", "a/b", "x\x00y"):
        document = "query ($name: String) { models(first: 1, name: $name) { nodes { id } } snapshots(first: 1, name: $name) { nodes { id } } }"  # noqa: E501
        assert admin.ask(document, name=name) == {"models": {"nodes": []}, "snapshots": {"nodes": []}}
        (error,) = admin.attempt("promoteModel", name=name, version="v1")["userErrors"]
        assert error["code"] in ("NO_MODEL", "NOT_FOUND")
        (error,) = admin.attempt("snapshotDownload", snapshotId=global_id("Snapshot", f"{name}@v"))["userErrors"]
        assert error["code"] == "NOT_FOUND"


def test_what_strangers_are_told_of_the_object_store_does_not_say_where_it_is(s3_endpoint, caplog):
    for store, error in (
        (ObjectStore("bucket", f"http://127.0.0.1:{free_port()}", discreet=True), Unavailable),
        (ObjectStore("no-such-bucket", s3_endpoint, discreet=True), NotFound),
    ):
        with pytest.raises(error) as raised:
            store.get("models/assistant/v1/manifest.json")
        assert not any(part in str(raised.value) for part in ("127.0.0.1", "http", store.bucket, "manifest"))
    logged = [record.fields["error"] for record in caplog.records if record.name == "oa.objects"]
    assert len(logged) == 2
    assert all("127.0.0.1" in each for each in logged)


@pytest.mark.timeout(60)  # what takes the square of the length takes an hour
@pytest.mark.parametrize("piece", ["-eyJa", "eyJ-", "eyJa.", "a-", "a.", "ab://", "bearer ", "token ", "-----BEGIN "])
def test_a_long_line_of_the_log_is_written_in_no_time(piece):
    assert len(redacted(piece * (1_000_000 // len(piece)))) > 0


TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


@given(before=st.text(alphabet='abc-_.: "\\n/', max_size=8), after=st.sampled_from(["", " x", "-", ".more", '"', "/x"]))
def test_a_signed_token_is_hidden_whatever_it_hangs_on(before, after):
    line = redacted(before + TOKEN + after)
    assert HIDDEN in line
    assert not any(part in line for part in TOKEN.split("."))


BLANKS = st.text(alphabet="\u115f\u1160\u2800\u3164\uffa0\u200b\u202e\u2060 \u00a0\u0301", min_size=1, max_size=12)


@given(text=BLANKS)
def test_what_nobody_sees_is_neither_a_text_nor_a_name(text):
    with pytest.raises(BadInput) as error:
        check_text(text, 100)
    assert error.value.code == "TEXT_EMPTY"
    assert not is_name(text)
    assert _name(text, None).startswith("contributor-")
    with pytest.raises(BadInput):
        checked_fields({"name": text, "redirect_uris": [WEB]})


@pytest.mark.parametrize("name", ["Ada", "한글", "ᄒᅠA", "李", "Zoë", "👩", "a b"])
def test_what_can_be_seen_is_a_name(name):
    assert is_name(name)


@pytest.mark.parametrize("name", ["a\u202eb", "a\u200bb", "\u3164", "\u2800\u2800", "a\nb", "\ufeffAda"])
def test_a_name_that_hides_something_is_refused_wherever_it_is_given(somebody, name):
    (error,) = somebody().attempt("setDisplayName", displayName=name)["userErrors"]
    assert error["path"] == ["displayName"]
    (error,) = somebody("ADMIN").attempt("createClient", name=name, redirectUris=[WEB], scopes=["READ"])["userErrors"]
    assert error["path"] == ["name"]


def about(**changes: str) -> dict[str, str]:
    home = "https://issuer.example"
    given = {"issuer": home, "authorization_endpoint": f"{home}/a", "token_endpoint": f"{home}/t"}
    return given | {"jwks_uri": f"{home}/j"} | changes


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/x", "http://localhost/x", "http://[::1]:1/x", "file:///etc"])
async def test_a_remote_provider_does_not_send_us_to_this_machine(name, url):
    provider = Provider(id="far", kind="oidc", client_id="us", issuer="https://issuer.example")
    attempt = Attempt(id="a", provider="far", browser_hash="x", nonce="n", verifier="v" * 43)

    async def address(found: dict[str, str]) -> str:
        with patch("api.oauth.upstream._fetch", AsyncMock(return_value=found)):
            return await Upstream().address(provider, attempt, "s", "https://us.example")

    assert (await address(about())).startswith("https://issuer.example/a?")
    with pytest.raises(Unavailable, match=name):
        await address(about(**{name: url}))


def test_the_refresh_token_of_who_was_banned_is_worth_nothing(auth):
    browser, admin = auth.browser(), auth.admin()
    name = browser.sign_in()
    ours = auth.client(kind="confidential", first_party=True)
    client, verifier = auth.client()[0], secrets.token_urlsafe(48)
    browser.authorize(client, WEB, verifier)
    given = auth.redeem(client, browser.allow()["code"], verifier).json()

    def worth() -> dict[str, Any]:
        return httpx.post(f"{auth.base}/oauth/introspect", data={"token": given["refresh_token"]}, auth=ours).json()

    assert worth()["active"]
    admin.do("banUser", userId=auth.caller().sign_in(name).user_id, reason="spam")
    assert worth() == {"active": False}


ASK = "{ viewer { streakDays } }"
WRONG: tuple[Any, ...] = (
    [], "x", 5, None, {}, {"type": 5}, {"type": []}, {"type": "subscribe"}, {"type": "subscribe", "id": "1"},
    {"type": "subscribe", "id": 5, "payload": {"query": ASK}}, {"type": "subscribe", "id": "1", "payload": []},
    {"type": "subscribe", "id": "", "payload": {"query": ASK}}, {"type": "complete", "id": []}, {"type": "complete"},
    {"type": "subscribe", "id": "x" * 201, "payload": {"query": ASK}},
    {"type": "subscribe", "id": "1", "payload": {"query": 5}},
    {"type": "subscribe", "id": "1", "payload": {"query": ASK, "variables": []}},
    {"type": "subscribe", "id": "1", "payload": {"query": ASK, "operationName": 5}},
    {"type": "subscribe", "id": "1", "payload": {"query": ASK, "extensions": "x"}},
)  # fmt: skip


def opened(person: Caller) -> Any:
    ws = connect(person.base.replace("http", "ws", 1) + "/graphql", subprotocols=["graphql-transport-ws"]).__enter__()
    ws.send(json.dumps({"type": "connection_init", "payload": person.headers}))
    assert json.loads(ws.recv(timeout=20))["type"] == "connection_ack"
    return ws


def test_a_message_that_is_none_of_the_protocol_closes_the_socket_and_is_no_defect(anyone, caplog):
    for message in WRONG:
        ws = opened(anyone)
        ws.send(json.dumps(message))
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=20)
        assert closed.value.rcvd.code == 4400, message
    assert [record.message for record in caplog.records if "defect" in record.message] == []


def asked_twice(person: Caller, payload: dict[str, Any]) -> list[dict[str, Any]]:
    """What comes of the same operation over two sockets."""
    answers = []
    for _ in range(2):
        ws = opened(person)
        ws.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
        answers.append(json.loads(ws.recv(timeout=20))["payload"])
        ws.close()
    return answers


def test_a_key_in_the_extensions_counts_over_a_websocket_too(somebody):
    take = 'mutation { requestTask(input: {langs: ["en"], kind: INITIAL_PROMPT}) { task { id } } }'
    payload = {"query": take, "extensions": {"idempotencyKey": secrets.token_hex(8)}}
    first, again = asked_twice(somebody(), payload)
    assert first["data"]["requestTask"]["task"] is not None
    assert again["data"] == first["data"]
    assert again["extensions"]["idempotency"] == {"replayed": True}


def test_a_stream_without_a_document_is_a_bad_request_and_no_defect(anyone):
    headers = {"accept": "text/event-stream"}
    for response in (
        anyone.http.get(f"{anyone.base}/graphql", headers=headers),
        anyone.http.post(f"{anyone.base}/graphql", json={"query": ""}, headers=headers),
    ):
        (line,) = [each for each in response.text.splitlines() if each.startswith("data: {")]
        assert json.loads(line[6:])["errors"][0]["extensions"] == {"code": "BAD_QUERY"}
    ws = opened(anyone)
    ws.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": None}}))
    assert json.loads(ws.recv(timeout=20))["payload"][0]["extensions"] == {"code": "BAD_QUERY"}
    ws.close()
