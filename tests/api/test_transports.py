"""GraphQL over HTTP, server-sent events and WebSocket, as clients meet it."""

from __future__ import annotations

import gc
import json
from types import AsyncGeneratorType

import httpx
import pytest
from running_api import Caller, eventually
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from oa.client import GraphQLClient

SPEC = "application/graphql-response+json"
AVAILABLE = 'subscription { taskAvailable(langs: ["%s"]) { kind count } }'


def open_prompt(person: Caller, lang: str) -> str:
    """Somebody writes a prompt in `lang`; a review of it is then open to others."""
    task = person.do("requestTask", "task { id }", langs=[lang], kind="INITIAL_PROMPT")["task"]
    payload = person.do("submitPrompt", "message { id }", taskId=task["id"], text=f"A prompt in {lang}?")
    return payload["message"]["id"]


def test_json_is_answered_with_200_even_when_the_document_is_wrong(anyone):
    response = anyone.post("{ nothing }")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    assert response.json()["errors"][0]["extensions"] == {"code": "BAD_QUERY"}


@pytest.mark.parametrize("document", ["{ nothing }", "{ node(id: 3) }", "{", "", "{ viewer { roles } } }"])
def test_the_drafts_media_type_says_400_and_has_no_data_when_nothing_was_executed(anyone, document):
    response = anyone.post(document, accept=SPEC)
    assert response.status_code == 400
    assert "data" not in response.json()
    assert response.json()["errors"][0]["extensions"]["code"] == "BAD_QUERY"


def test_the_drafts_media_type_says_200_when_a_field_failed(anyone):
    response = anyone.post('{ node(id: "x") { id } }', accept=f"{SPEC}, application/json;q=0.5")
    assert response.status_code == 200
    assert response.headers["content-type"] == SPEC
    assert response.json()["data"] == {"node": None}
    assert response.json()["errors"][0]["extensions"] == {"code": "BAD_INPUT", "path": ["id"]}


def test_get_is_for_queries_only(anyone):
    def get(document: str, **headers: str) -> httpx.Response:
        return anyone.http.get(f"{anyone.base}/graphql", params={"query": document}, headers=headers)

    assert get("{ viewer { streakDays } }").json()["data"] == {"viewer": None}
    mutation = 'mutation { developmentSignIn(input: {name: "x"}) { token } }'
    assert get(mutation).status_code == 405
    streamed = get(mutation, accept="text/event-stream")
    assert "token" not in streamed.text
    assert "BAD_QUERY" in streamed.text


def test_other_methods_and_other_bodies_are_refused(anyone):
    url = f"{anyone.base}/graphql"
    assert anyone.http.put(url, json={"query": "{ viewer { roles } }"}).status_code == 405
    for content, kind, status in ((b"a=x", "application/x-www-form-urlencoded", 415), (b"{", "application/json", 400)):
        response = anyone.http.post(url, content=content, headers={"content-type": kind})
        assert response.status_code == status
        assert response.json()["errors"][0]["extensions"]["code"] == "BAD_QUERY"
    batch = anyone.http.post(url, json=[{"query": "{ viewer { roles } }"}] * 2)
    assert batch.status_code == 400
    upload = anyone.http.post(url, files={"0": b"x"}, data={"operations": "{}", "map": "{}"})
    assert upload.status_code == 415


def test_a_body_that_is_too_big_is_refused(anyone):
    assert anyone.post("{ viewer { roles } }" + " " * 70_000).status_code == 413


def test_a_document_of_too_many_tokens_is_refused_before_it_is_validated(anyone):
    error = anyone.refused("{ " + "a " * 2000 + "}")
    assert "1000 tokens" in error["message"]
    assert error["extensions"] == {"code": "BAD_QUERY"}


def test_requests_are_named_and_a_harmless_given_name_is_kept(anyone):
    assert len(anyone.post("{ viewer { roles } }").headers["x-request-id"]) == 36
    given = anyone.post("{ viewer { roles } }", x_request_id="from-a-proxy-0001")
    assert given.headers["x-request-id"] == "from-a-proxy-0001"
    assert anyone.post("{ viewer { roles } }", x_request_id="<script>").headers["x-request-id"] != "<script>"


def test_pages_of_allowed_origins_may_call_and_others_may_not(anyone):
    wanted = "authorization,content-type,apollo-require-preflight"
    asked = {"access-control-request-method": "POST", "access-control-request-headers": wanted}

    def preflight(origin: str) -> httpx.Response:
        return anyone.http.options(f"{anyone.base}/graphql", headers={**asked, "origin": origin})

    assert preflight("https://app.example.org").headers["access-control-allow-origin"] == "https://app.example.org"
    assert preflight("https://app.example.org").status_code == 200
    assert "access-control-allow-origin" not in preflight("https://evil.example").headers


def test_health_and_readiness(anyone):
    assert anyone.http.get(f"{anyone.base}/healthz").json() == {"status": "ok"}
    ready = anyone.http.get(f"{anyone.base}/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")


def events(response: httpx.Response):
    """(event, parsed data) of a stream of server-sent events."""
    event = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            event = line[7:]
        elif line.startswith("data: ") and line[6:]:
            yield event, json.loads(line[6:])
        elif line.startswith("data:"):
            yield event, None


def stream(person: Caller, document: str):
    headers = {**person.headers, "accept": "text/event-stream"}
    return person.http.stream("POST", f"{person.base}/graphql", json={"query": document}, headers=headers)


def test_a_subscription_over_server_sent_events_says_what_changes(somebody):
    ada, bob = somebody(), somebody()
    with stream(ada, AVAILABLE % "it") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        seen = events(response)
        event, first = next(seen)
        assert event == "next"
        open_prompt(bob, "it")
        for _, data in seen:
            kinds = {each["kind"]: each["count"] for each in data["data"]["taskAvailable"]}
            if "LABEL_INITIAL_PROMPT" in kinds:
                break
    assert first != data
    assert kinds["LABEL_INITIAL_PROMPT"] == 1


def test_a_subscription_that_wants_one_answer_is_told_where_it_goes(somebody):
    response = somebody().post(AVAILABLE % "en")
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == "BAD_QUERY"
    assert error["message"].startswith("a subscription is answered as text/event-stream")


def test_a_query_over_server_sent_events_is_one_event_and_complete(somebody):
    with stream(somebody(), "{ viewer { streakDays } }") as response:
        (event, answer), end = list(events(response))
    assert (event, answer["data"], end) == ("next", {"viewer": {"streakDays": 0}}, ("complete", None))


def test_a_wrong_document_over_server_sent_events_is_one_event_and_complete(anyone):
    for document in ("{", "{ nothing }", AVAILABLE % "en"):
        with stream(anyone, document) as response:
            (event, data), (last, _) = list(events(response))
        assert (event, last) == ("next", "complete")
        assert data["errors"][0]["extensions"]["code"] in ("BAD_QUERY", "UNAUTHENTICATED")


def socket(person: Caller, protocol: str = "graphql-transport-ws", **options):
    return connect(person.base.replace("http", "ws", 1) + "/graphql", subprotocols=[protocol], **options)


def say(ws, kind: str, **fields):
    ws.send(json.dumps({"type": kind, **fields}))


def hear(ws):
    return json.loads(ws.recv(timeout=20))


def test_a_subscription_over_websocket_says_the_same(somebody):
    ada, bob = somebody(), somebody()
    client = GraphQLClient(f"{ada.base}/graphql", ada.token)
    for number, data in enumerate(client.subscribe(AVAILABLE % "pl")):
        if number == 0:
            open_prompt(bob, "pl")
        kinds = {each["kind"]: each["count"] for each in data["taskAvailable"]}
        if "LABEL_INITIAL_PROMPT" in kinds:
            break
    assert number > 0
    assert kinds["LABEL_INITIAL_PROMPT"] == 1


def test_queries_mutations_and_errors_over_one_websocket(somebody):
    ada = somebody()
    with socket(ada) as ws:
        say(ws, "connection_init", payload=ada.headers)
        ack = hear(ws)
        assert ack["type"] == "connection_ack"
        assert ack["payload"]["expiresAt"] > 0
        say(ws, "subscribe", id="1", payload={"query": "{ viewer { user { id } } }"})
        assert hear(ws)["payload"]["data"]["viewer"]["user"]["id"] == ada.user_id
        assert hear(ws) == {"id": "1", "type": "complete"}
        for number, document in enumerate(("{", "{ nothing }"), start=2):
            say(ws, "subscribe", id=str(number), payload={"query": document})
            answer = hear(ws)
            assert (answer["type"], answer["id"]) == ("error", str(number))
            assert answer["payload"][0]["extensions"] == {"code": "BAD_QUERY"}
        say(ws, "ping")
        assert hear(ws)["type"] == "pong"


def test_a_subscription_is_cancelled_by_complete_and_its_id_is_free_again(somebody):
    ada = somebody()
    with socket(ada) as ws:
        say(ws, "connection_init", payload=ada.headers)
        hear(ws)
        for _ in range(2):
            say(ws, "subscribe", id="same", payload={"query": AVAILABLE % "sv"})
            assert hear(ws)["type"] == "next"
            say(ws, "complete", id="same")


def test_the_legacy_protocol_is_off(anyone):
    with socket(anyone, "graphql-ws") as ws, pytest.raises(ConnectionClosed) as closed:
        ws.recv(timeout=20)
    assert closed.value.rcvd.code == 4406


def test_operations_before_connection_init_are_refused(somebody):
    with socket(somebody()) as ws:
        say(ws, "subscribe", id="1", payload={"query": "{ viewer { streakDays } }"})
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=20)
    assert closed.value.rcvd.code == 4401


@pytest.mark.parametrize("authorization", ["Bearer nonsense", "Basic abc", "Bearer ", 7])
def test_bad_credentials_in_connection_init_close_the_socket(anyone, authorization):
    with socket(anyone) as ws:
        say(ws, "connection_init", payload={"authorization": authorization})
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=20)
    assert closed.value.rcvd.code == 4403
    assert closed.value.rcvd.reason.startswith("UNAUTHENTICATED: ")


def test_an_anonymous_socket_may_ask_what_anyone_may(anyone):
    with socket(anyone) as ws:
        say(ws, "connection_init")
        assert hear(ws)["type"] == "connection_ack"
        say(ws, "subscribe", id="1", payload={"query": "{ viewer { streakDays } }"})
        assert hear(ws)["payload"]["data"] == {"viewer": None}
        hear(ws)
        say(ws, "subscribe", id="2", payload={"query": AVAILABLE % "en"})
        assert hear(ws)["payload"][0]["extensions"]["code"] == "UNAUTHENTICATED"


def test_a_message_that_is_too_big_closes_the_socket(anyone):
    with socket(anyone) as ws:
        say(ws, "connection_init", payload={"padding": "x" * 70_000})
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=20)
    assert closed.value.rcvd.code == 1009


def test_a_page_on_another_site_cannot_open_a_socket(anyone):
    with pytest.raises(InvalidStatus) as refused:
        socket(anyone, origin="https://evil.example")
    assert refused.value.response.status_code == 403
    with socket(anyone, origin="https://app.example.org") as ws:
        say(ws, "connection_init")
        assert hear(ws)["type"] == "connection_ack"


def test_a_closed_socket_ends_its_subscriptions(somebody):
    ada = somebody()
    with socket(ada) as ws:
        say(ws, "connection_init", payload=ada.headers)
        hear(ws)
        for number in range(5):
            say(ws, "subscribe", id=str(number), payload={"query": AVAILABLE % "fi"})
            assert hear(ws)["type"] == "next"
        assert running_subscriptions() >= 5
    eventually(lambda: running_subscriptions() == 0)


def running_subscriptions() -> int:
    """Subscriptions that have not ended, of the API in this process."""
    generators = [each for each in gc.get_objects() if type(each) is AsyncGeneratorType]
    return sum(each.__name__ == "task_available" and each.ag_frame is not None for each in generators)
