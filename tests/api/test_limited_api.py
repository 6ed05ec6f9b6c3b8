"""Limits as clients meet them: rates and their headers, documents by name, deadlines, and callers who hang up."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import threading
import uuid
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
from auth_site import auth_site
from command_counting import counting
from running_api import Caller, eventually, serving
from websockets.sync.client import connect

from api.leaving import unless_gone
from api.rate import address_of, rate_headers
from core.errors import BadInput
from core.rates import Rate, Verdict
from core.records import User
from graphql_schema.charging import own_bucket, shared_buckets
from graphql_schema.context import Context

SPEC = "application/graphql-response+json"
ASK = "{ viewer { streakDays } }"
TAKE = 'mutation { requestTask(input: {kind: INITIAL_PROMPT, langs: ["en"]}) { userErrors { code } } }'
HASH = hashlib.sha256(ASK.encode()).hexdigest()


@contextmanager
def another(settings, **changed):
    """A caller of an API with stores and settings of its own."""
    name = f"test_limited_{uuid.uuid4().hex[:8]}"
    with serving(replace(settings, mongodb_database=name, sweep_seconds=0, **changed)) as url:
        yield Caller(url)


@pytest.fixture(scope="module")
def limited(settings):
    """An API that allows little."""
    rates = "sign_in=4/3600,request_task=2/3600,generate=1/3600,cost=2000/3600"
    with another(settings, rate_limits=rates, max_cost=1000) as caller:
        yield caller


def test_the_buckets_say_what_is_left_and_then_when_to_come_again(limited):
    for remaining in (3, 2):
        response = limited.post('mutation { developmentSignIn(input: {name: "ada"}) { token } }')
        assert response.headers["ratelimit-limit"] == "4"
        assert response.headers["ratelimit-remaining"] == str(remaining)
        assert 0 < int(response.headers["ratelimit-reset"]) <= 3600
        assert response.headers["ratelimit-policy"] == "4;w=3600;name=sign_in"
        assert "retry-after" not in response.headers
    ada = replace(limited, token=response.json()["data"]["developmentSignIn"]["token"])
    ask = 'mutation { requestTask(input: {kind: INITIAL_PROMPT, langs: ["en"]}) { task { id } } }'
    tasks = [ada.post(ask).json()["data"]["requestTask"]["task"]["id"] for _ in range(2)]
    refused = ada.post(ask, accept=SPEC)
    assert len(set(tasks)) == 2
    assert refused.status_code == 429
    (error,) = refused.json()["errors"]
    assert "data" not in refused.json()
    assert error["extensions"]["code"] == "TOO_MANY"
    assert 0 < error["extensions"]["retryAfter"] <= 1800
    assert int(refused.headers["retry-after"]) >= error["extensions"]["retryAfter"]
    as_json = ada.post(ask)
    assert (as_json.status_code, "retry-after" in as_json.headers) == (200, True)
    assert ada.ask(ASK) == {"viewer": {"streakDays": 0}}, "another bucket"


def test_cost_is_charged_to_who_asks_over_any_transport(limited):
    bob = limited.sign_in("bob")
    page = "{ leaderboard(first: 100, frame: DAY) { points rank level user { id displayName } } }"
    answer = bob.post(page).json()
    assert answer["extensions"]["cost"] == {"requested": 702, "maximum": 1000}
    streamed = bob.http.post(
        f"{bob.base}/graphql", json={"query": page}, headers={**bob.headers, "accept": "text/event-stream"}
    )
    assert "TOO_MANY" not in streamed.text
    with connect(bob.base.replace("http", "ws", 1) + "/graphql", subprotocols=["graphql-transport-ws"]) as ws:
        ws.send(json.dumps({"type": "connection_init", "payload": bob.headers}))
        assert json.loads(ws.recv(timeout=20))["type"] == "connection_ack"
        ws.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": page}}))
        refused = json.loads(ws.recv(timeout=20))
    assert refused["type"] == "error"
    assert refused["payload"][0]["extensions"]["code"] == "TOO_MANY"


def test_what_costs_too_much_is_refused(limited):
    page = "leaderboard(first: 100, frame: DAY) { points rank level user { id displayName } }"
    response = limited.post(f"{{ day: {page} again: {page} }}", accept=SPEC)
    assert response.status_code == 400
    assert response.json()["errors"][0]["extensions"] == {"code": "TOO_COSTLY"}
    assert response.json()["extensions"]["cost"]["maximum"] == 1000


def test_pages_of_other_origins_may_read_the_headers(anyone):
    response = anyone.http.get(
        f"{anyone.base}/graphql", params={"query": ASK}, headers={"origin": "https://app.example.org"}
    )
    exposed = response.headers["access-control-expose-headers"].split(", ")
    assert {"retry-after", "ratelimit-remaining"} <= set(exposed)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "address:192.0.2.1"), ("::ffff:192.0.2.1", "address:192.0.2.1"),
        ("2001:db8:1:2:3::4", "address:2001:db8:1:2::/64"), ("testclient", "address:testclient"),
        (None, "address:"),
    ],
)  # fmt: skip
def test_the_address_that_is_counted(host, address):
    from starlette.requests import HTTPConnection

    scope = {"type": "http", "client": None if host is None else (host, 1234), "headers": []}
    assert address_of(HTTPConnection(scope)) == address


def test_the_headers_tell_of_the_bucket_nearest_its_end():
    far, near = Verdict("cost", Rate(1000, 60), 900, 6), Verdict("generate", Rate(10, 60), 1, 54.2)
    assert rate_headers([far, near], []) == {
        "ratelimit-limit": "10", "ratelimit-remaining": "1", "ratelimit-reset": "55",
        "ratelimit-policy": "10;w=60;name=generate",
    }  # fmt: skip
    assert rate_headers([], [{"extensions": {"retryAfter": 0.2}}, {"message": "other"}]) == {"retry-after": "1"}
    assert rate_headers([], []) == {}


def named(caller: Caller, sha256: str = HASH, query: str | None = None, version: object = 1) -> dict:
    body = {"extensions": {"persistedQuery": {"version": version, "sha256Hash": sha256}}}
    body |= {} if query is None else {"query": query}
    return caller.http.post(f"{caller.base}/graphql", json=body, headers=caller.headers).json()


def test_a_document_is_registered_and_then_only_named(somebody, anyone):
    ada, marked = somebody(), f"{ASK} # {uuid.uuid4()}"
    sha256 = hashlib.sha256(marked.encode()).hexdigest()
    (error,) = named(ada, sha256)["errors"]
    assert error == {"message": "PersistedQueryNotFound", "extensions": {"code": "PERSISTED_QUERY_NOT_FOUND"}}
    assert named(ada, sha256, marked)["data"] == {"viewer": {"streakDays": 0}}
    assert named(ada, sha256)["data"] == {"viewer": {"streakDays": 0}}
    assert named(anyone, sha256)["data"] == {"viewer": None}
    params = {"extensions": json.dumps({"persistedQuery": {"version": 1, "sha256Hash": sha256}})}
    assert ada.http.get(f"{ada.base}/graphql", params=params).json()["data"] == {"viewer": None}
    by_id = {"documentId": f"sha256:{sha256}"}
    assert anyone.http.post(f"{anyone.base}/graphql", json=by_id).json()["data"] == {"viewer": None}
    assert anyone.http.get(f"{anyone.base}/graphql", params=by_id).json()["data"] == {"viewer": None}
    streamed = {**ada.headers, "accept": "text/event-stream"}
    assert '"streakDays":0' in ada.http.post(f"{ada.base}/graphql", json=by_id, headers=streamed).text


def test_what_is_wrong_or_anonymous_is_not_registered(somebody, anyone):
    for caller, text in ((anyone, f"{ASK} # {uuid.uuid4()}"), (somebody(), "{ nothing }"), (somebody(), "{")):
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        named(caller, sha256, text)
        (error,) = named(caller, sha256)["errors"]
        assert error["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize(
    ("sha256", "query", "version"),
    [("0" * 64, ASK, 1), (HASH, ASK + " ", 1), ("short", None, 1), (HASH, None, 2), ({"$ne": 1}, None, 1)],
)
def test_names_of_another_form_are_refused(anyone, sha256, query, version):
    (error,) = named(anyone, sha256, query, version)["errors"]
    assert error["extensions"]["code"] == "BAD_INPUT"


@pytest.mark.parametrize("name", ["nothing", "sha256:0", 7, {"$gt": ""}])
def test_ids_that_name_nothing(anyone, name):
    (error,) = anyone.http.post(f"{anyone.base}/graphql", json={"documentId": name}).json()["errors"]
    assert error["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"


SIGN_IN = "mutation SignIn($input: DevelopmentSignInInput!) { developmentSignIn(input: $input) { token } }"


@pytest.mark.parametrize("form", ["folder", "file"])
def test_with_a_list_only_the_documents_on_it_run(settings, tmp_path, form):
    path = tmp_path if form == "folder" else tmp_path / "documents.json"
    if form == "folder":
        (tmp_path / "streak.graphql").write_text(ASK)
        (tmp_path / "signIn.graphql").write_text(SIGN_IN)
    else:
        path.write_text(json.dumps({"streak": ASK, "signIn": SIGN_IN}))
    with another(settings, documents=path, rate_limits="off") as caller:
        url = f"{caller.base}/graphql"
        token = caller.ask(SIGN_IN, input={"name": "ada"})["developmentSignIn"]["token"]
        ada = replace(caller, token=token)
        assert ada.ask(ASK) == {"viewer": {"streakDays": 0}}
        for body in ({"documentId": "streak"}, {"documentId": f"sha256:{HASH}"}):
            assert caller.http.post(url, json=body).json()["data"] == {"viewer": None}
        assert named(ada)["data"] == {"viewer": {"streakDays": 0}}
        other = ASK + " "
        refusals = [
            ada.post(other).json(),
            ada.post("{ __schema { types { name } } }").json(),
            named(ada, hashlib.sha256(other.encode()).hexdigest(), other),
            named(ada, "0" * 64),
            caller.http.post(url, json={"documentId": "other"}).json(),
        ]
        assert [each["errors"][0]["extensions"]["code"] for each in refusals] == ["FORBIDDEN"] * 5
        with connect(caller.base.replace("http", "ws", 1) + "/graphql", subprotocols=["graphql-transport-ws"]) as ws:
            ws.send(json.dumps({"type": "connection_init"}))
            ws.recv(timeout=20)
            for number, (document, kind) in enumerate(((ASK, "next"), (other, "error"))):
                ws.send(json.dumps({"type": "subscribe", "id": str(number), "payload": {"query": document}}))
                assert json.loads(ws.recv(timeout=20))["type"] == kind
                _ = ws.recv(timeout=20) if kind == "next" else None


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"a": 1}', "{"])
def test_a_list_of_another_form_stops_the_start(tmp_path, text):
    from graphql_schema.persisted import read_allow_list

    path = tmp_path / "documents.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInput, match="must be a folder of"):
        read_allow_list(path)


@pytest.fixture
def slow(monkeypatch):
    """The resolver of `viewer`'s place on the leaderboard takes for ever; says when it began and when it was ended."""
    seen = {"began": threading.Event(), "ended": threading.Event()}

    async def for_ever(*_, **__):
        seen["began"].set()
        try:
            await asyncio.Event().wait()
        finally:
            seen["ended"].set()

    import api.services

    monkeypatch.setattr(api.services, "leaderboard", for_ever)
    return seen


SLOW = "{ leaderboard(first: 1, frame: DAY) { points } }"


def test_an_operation_that_takes_too_long_is_stopped(settings, slow):
    with another(settings, operation_seconds=0.3) as caller:
        response = caller.post(SLOW, accept=SPEC)
        assert response.status_code == 504
        (error,) = response.json()["errors"]
        assert error["extensions"]["code"] == "DEADLINE"
        assert "longer than 0.3 s" in error["message"]
        assert slow["ended"].is_set()
        streamed = caller.http.post(
            f"{caller.base}/graphql", json={"query": SLOW}, headers={"accept": "text/event-stream"}
        )
        assert '"DEADLINE"' in streamed.text


def test_a_subscription_may_last_longer_than_an_operation(settings, somebody, slow):
    ada, bob = somebody(), somebody()
    body = {"query": 'subscription { taskAvailable(langs: ["nl"]) { kind } }'}
    headers = {**ada.headers, "accept": "text/event-stream"}
    with (
        serving(replace(settings, operation_seconds=0.001, sweep_seconds=0)) as hurried,
        ada.http.stream("POST", f"{hurried}/graphql", json=body, headers=headers) as response,
    ):
        events = (line for line in response.iter_lines() if line.startswith("data: {"))
        assert "taskAvailable" in next(events)
        assert replace(ada, base=hurried).refused(SLOW)["extensions"]["code"] == "DEADLINE"
        task = bob.do("requestTask", "task { id }", langs=["nl"], kind="INITIAL_PROMPT")["task"]
        bob.do("submitPrompt", taskId=task["id"], text="Een vraag?")
        assert "LABEL_INITIAL_PROMPT" in next(events)


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_who_hangs_up_ends_what_was_asked_for(settings, slow, stream):
    with another(settings, operation_seconds=600) as caller:
        headers = {"accept": "text/event-stream"} if stream else {}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{caller.base}/graphql", json={"query": SLOW}, headers=headers, timeout=1)
        assert slow["began"].is_set()
        eventually(slow["ended"].is_set)
        assert caller.ask(ASK) == {"viewer": None}, "the API goes on"


async def test_work_is_awaited_while_its_caller_is_there_and_ended_when_not():
    there, ended = asyncio.Event(), []

    async def receive():
        await there.wait()
        return {"type": "http.disconnect"}

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def quick():
        return 7

    async def broken():
        raise BadInput("as it was")

    assert await unless_gone(quick(), receive) == 7
    with pytest.raises(BadInput, match="as it was"):
        await unless_gone(broken(), receive)
    working = asyncio.ensure_future(unless_gone(work(), receive))
    await asyncio.sleep(0)
    there.set()
    assert await working is None
    assert ended == [True]


def test_a_rate_that_no_operation_fits_in_stops_the_start(settings):
    from api.services import rates_of

    with pytest.raises(BadInput, match="OA_MAX_COST is 10000"):
        rates_of(replace(settings, rate_limits="cost=9999/60"))
    assert rates_of(replace(settings, rate_limits="cost=10000/60"))["cost"] == Rate(10_000, 60)
    assert rates_of(replace(settings, rate_limits="off")) == {}


def test_a_connection_that_lasts_does_not_gather_verdicts():
    assert Context(services=None, verdicts=None).for_operation().verdicts is None


def test_what_is_refused_is_charged_for_as_much_as_it_costs(settings):
    with another(settings, rate_limits="cost=1000/3600", max_cost=1000) as caller:
        ada = caller.sign_in("ada")
        wrong = ["{ nothing }", "{ viewer {", "query A { viewer { streakDays } } query B { viewer { streakDays } }"]
        codes = [error_code(caller.post(document)) for document in wrong * 3]
        assert set(codes) == {"BAD_QUERY"}
        assert "TOO_MANY" in [error_code(caller.post("{ nothing }")) for _ in range(4)]
        assert ada.post(ASK).json()["data"] == {"viewer": {"streakDays": 0}}, "others are not charged"


def test_documents_that_nobody_registered_cannot_be_asked_for_for_ever(settings):
    with another(settings, rate_limits="cost=1000/3600", max_cost=1000) as caller:
        asked = [{"extensions": {"persistedQuery": {"version": 1, "sha256Hash": f"{n:064x}"}}} for n in range(12)]
        answers = [caller.http.post(f"{caller.base}/graphql", json=each) for each in asked]
        assert [error_code(each) for each in answers] == ["PERSISTED_QUERY_NOT_FOUND"] * 10 + ["TOO_MANY"] * 2


def test_credentials_cannot_be_guessed_for_ever(settings):
    with another(settings, rate_limits="cost=1000/3600", max_cost=1000) as caller:
        answers = [caller.post(ASK, authorization=f"Bearer oa_{number:040d}") for number in range(12)]
        assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2
        assert int(answers[-1].headers["retry-after"]) > 0


def test_a_body_that_comes_slowly_has_an_end(settings):
    with another(settings, body_seconds=0.3) as caller:
        url = httpx.URL(caller.base)
        with socket.create_connection((url.host, url.port), 20) as connection:
            head = f"POST /graphql HTTP/1.1\r\nHost: {url.host}\r\nContent-Type: application/json\r\nContent-Length: 99"
            connection.sendall(f"{head}\r\n\r\n{{".encode())
            answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"DEADLINE" in answer


def error_code(response):
    (error,) = response.json()["errors"]
    return error["extensions"]["code"]


def test_new_accounts_have_less_room_than_trusted_ones(settings):
    with another(settings, rate_limits="request_task=2/3600") as caller:
        for name, roles, most in (("ada", (), 2), ("bob", ("CONTRIBUTOR", "TRUSTED"), 4)):
            person = caller.sign_in(name, *roles)
            answers = [person.post(TAKE) for _ in range(most + 1)]
            assert ["errors" in each.json() for each in answers] == [False] * most + [True]
            kind = "request_task" if most == 2 else "request_task_trusted"
            for answer in (answers[most - 1], answers[most]):
                assert answer.headers["ratelimit-policy"] == f"{most};w=3600;name={kind}"
                assert answer.headers["ratelimit-remaining"] == "0"
            assert int(answers[most].headers["retry-after"]) > 0


def test_all_behind_one_address_share_a_bucket_beside_their_own(settings):
    with another(settings, rate_limits="request_task_address=3/3600") as caller:
        shared([caller.sign_in("ada"), caller.sign_in("bob")], "request_task_address")


def test_all_who_come_with_one_app_share_a_bucket_beside_their_own(settings):
    with auth_site(settings, rate_limits="request_task_client=3/3600") as site:
        client = site.client(scopes=["read", "tasks"])[0]
        shared([site.app(name, "read tasks", client=client) for name in ("ada", "bob")], "request_task_client")


def shared(people: list[Caller], bucket: str) -> None:
    """Check that two people together get what a bucket of three holds."""
    answers = [people[turn].post(TAKE, accept=SPEC) for turn in (0, 1, 0, 1, 0)]
    assert [each.status_code for each in answers] == [200] * 3 + [429] * 2
    for refused in answers[3:]:
        assert error_code(refused) == "TOO_MANY"
        assert f"{bucket}: 3 are allowed" in refused.json()["errors"][0]["message"]
        assert refused.headers["ratelimit-policy"] == f"3;w=3600;name={bucket}"
        assert refused.headers["ratelimit-remaining"] == "0"
        assert 0 < int(refused.headers["retry-after"]) <= 1201


def test_what_is_counted_by_person_and_address_costs_a_command_for_each_count_of_the_person(settings):
    with counting() as counts, another(settings, rate_limits="") as caller:
        ada = caller.sign_in("ada")
        for document, counted in ((ASK, 1), (TAKE, 2)):
            sent = []
            for _ in range(10):
                request = uuid.uuid4().hex
                assert ada.post(document, x_request_id=request).status_code == 200
                sent.append(sum("rate_buckets" in each for each in counts.commands.pop(request)))
            print(document, sent)
            assert sum(sent[1:]) == 9 * counted, "the first of an address draws a block for many"


def test_a_service_is_counted_as_an_app_and_not_by_the_place_that_it_asks_from():
    person = User(id="ada", auth_method="x", subject="ada", display_name="ada")
    service = replace(person, id="bot", roles=("service",))

    def buckets(action: str = "cost", **given):
        context = Context(services=None, address="address:192.0.2.1", **given)
        return [own_bucket(context, action), *shared_buckets(context, action)]

    at = "address:192.0.2.1"
    assert buckets() == [(at, "cost")]
    assert buckets(viewer=person) == [("user:ada", "cost"), (at, "cost_address")]
    assert buckets(viewer=person, client_id="c") == [
        ("user:ada", "cost"), ("client:c", "cost_client"), (at, "cost_address"),
    ]  # fmt: skip
    assert buckets(viewer=person, actor=service, client_id="c") == [("user:ada", "cost"), ("client:c", "cost_client")]
    assert buckets(viewer=service, client_id="c") == [("user:bot", "cost_trusted"), ("client:c", "cost_client")]
    assert buckets("sign_in", viewer=person, client_id="c") == [(at, "sign_in")]
