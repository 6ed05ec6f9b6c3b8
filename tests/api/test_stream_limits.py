"""Streams: how many a caller and an address may have open, and that who is shut out is so in the middle of one."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from running_api import Caller, eventually, serving
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from api.settings import Settings

BOARD = "subscription { leaderboard(frame: DAY, first: 1) { points } }"
QUEUE = "subscription { moderationQueue(first: 1) { id } }"
PER_CALLER, PER_ADDRESS = 2, 4


@pytest.fixture(scope="module")
def api(settings: Settings) -> Iterator[Caller]:
    """An API with room for few streams, which looks often whether they may go on."""
    own = replace(
        settings, mongodb_database=f"test_streams_{uuid.uuid4().hex[:12]}", streams_per_caller=PER_CALLER,
        streams_per_address=PER_ADDRESS, connection_init_seconds=0.3, stream_check_seconds=0.05, sweep_seconds=0,
    )  # fmt: skip
    with serving(own) as url:
        yield Caller(url)


@pytest.fixture(scope="module")
def admin(api: Caller) -> Caller:
    """An admin."""
    return api.sign_in("root", "ADMIN")


@pytest.fixture
def somebody(api: Caller) -> Callable[..., Caller]:
    """Signs in somebody new, with the roles given."""
    return lambda *roles: api.sign_in(f"user-{uuid.uuid4().hex[:8]}", *roles)


class Events:
    """A subscription by server-sent events."""

    def __init__(self, person: Caller, document: str) -> None:
        self.http = httpx.Client(timeout=20)
        request = self.http.build_request(
            "POST", f"{person.base}/graphql", json={"query": document},
            headers={**person.headers, "accept": "text/event-stream"},
        )  # fmt: skip
        self.lines = self.http.send(request, stream=True).iter_lines()

    def answer(self) -> dict[str, Any]:
        """The next answer."""
        return next(json.loads(line[6:]) for line in self.lines if line.startswith("data: {"))

    def close(self) -> None:
        self.http.close()


class Socket:
    """A subscription over a WebSocket of its own."""

    def __init__(self, person: Caller, document: str) -> None:
        self.ws = opened(person)
        self.say("connection_init", payload=self.credentials(person))
        assert self.hear()["type"] == "connection_ack"
        self.ask("1", document)

    def credentials(self, person: Caller) -> dict[str, str]:
        return person.headers

    def say(self, kind: str, **fields: Any) -> None:
        self.ws.send(json.dumps({"type": kind, **fields}))

    def hear(self) -> dict[str, Any]:
        return json.loads(self.ws.recv(timeout=20))

    def ask(self, name: str, document: str) -> None:
        self.say("subscribe", id=name, payload={"query": document})

    def answer(self) -> dict[str, Any]:
        """The next answer, in the form that server-sent events have."""
        said = self.hear()
        return {"errors": said["payload"]} if said["type"] == "error" else said["payload"]

    def close(self) -> None:
        self.ws.close()


class Acting(Socket):
    """The same of a service, in the name of the person whose id it has."""

    def credentials(self, person: Caller) -> dict[str, str]:
        return {**person.headers, "actAs": person.user_id or ""}


def opened(person: Caller) -> ClientConnection:
    url = person.base.replace("http", "ws", 1) + "/graphql"
    return connect(url, subprotocols=["graphql-transport-ws"]).__enter__()


def code(answer: dict[str, Any]) -> str:
    """The code of the first error, or `OK`."""
    return answer["errors"][0]["extensions"]["code"] if answer.get("errors") else "OK"


@pytest.fixture
def follow() -> Iterator[Callable[..., Any]]:
    """Opens subscriptions; they are closed when the test ends."""
    with contextlib.ExitStack() as stack:

        def begin(kind: type[Events | Socket], person: Caller, document: str = BOARD) -> Any:
            following = kind(person, document)
            stack.callback(following.close)
            return following

        yield begin


def test_a_caller_may_have_some_streams_open_over_whatever_transport(somebody, follow):
    ada = somebody()
    first = follow(Events, ada)
    assert code(first.answer()) == code(follow(Socket, ada).answer()) == "OK"
    for kind in (Events, Socket):
        refused = follow(kind, ada).answer()
        assert code(refused) == "TOO_MANY"
        assert "you have 2 subscriptions open" in refused["errors"][0]["message"]
    assert code(follow(Events, somebody()).answer()) == "OK"
    first.close()
    eventually(lambda: code(follow(Events, ada).answer()) == "OK")


def test_an_address_may_have_more_open_whoever_asks(somebody, follow):
    for person in (somebody(), somebody()):
        for _ in range(PER_CALLER):
            eventually(lambda person=person: code(follow(Events, person).answer()) == "OK")
    refused = follow(Events, somebody()).answer()
    assert code(refused) == "TOO_MANY"
    assert "your address has 4 subscriptions open" in refused["errors"][0]["message"]


def acknowledged(api: Caller) -> ClientConnection | None:
    """An anonymous WebSocket, or None where there is room for none."""
    ws = opened(api)
    try:
        ws.send(json.dumps({"type": "connection_init"}))
        assert json.loads(ws.recv(timeout=20))["type"] == "connection_ack"
    except ConnectionClosed:
        return None
    return ws


def test_an_address_may_hold_so_many_sockets_before_anybody_signs_in(api):
    held = [eventually(lambda: acknowledged(api)) for _ in range(PER_ADDRESS)]
    with pytest.raises(ConnectionClosed) as closed:
        opened(api).recv(timeout=20)
    assert closed.value.rcvd.code == 4429
    assert closed.value.rcvd.reason.startswith("TOO_MANY: your address has 4 WebSockets open")
    held.pop().close()
    held.append(eventually(lambda: acknowledged(api)))
    for ws in held:
        ws.close()


def test_a_socket_that_says_nothing_is_closed(api):
    ws = opened(api)
    with pytest.raises(ConnectionClosed) as closed:
        ws.recv(timeout=20)
    assert closed.value.rcvd.code == 4408


def sign_out(admin: Caller, person: Caller) -> None:
    person.do("signOutEverywhere")


def ban(admin: Caller, person: Caller) -> None:
    admin.do("banUser", userId=person.user_id, reason="spam")


def leave(admin: Caller, person: Caller) -> None:
    name = person.ask("{ viewer { user { displayName } } }")["viewer"]["user"]["displayName"]
    person.do("deleteAccount", confirmName=name)


def demote(admin: Caller, person: Caller) -> None:
    admin.do("setRoles", userId=person.user_id, roles=["CONTRIBUTOR"])


def narrow(admin: Caller, person: Caller) -> None:
    admin.do("setModeratorLanguages", userId=person.user_id, langs=["de"])


@pytest.mark.parametrize(
    ("shut_out", "why"),
    [
        (sign_out, "UNAUTHENTICATED"), (ban, "UNAUTHENTICATED"), (leave, "UNAUTHENTICATED"), (demote, "FORBIDDEN"),
        (narrow, "FORBIDDEN"),
    ],
)  # fmt: skip
def test_who_is_shut_out_hears_nothing_more(admin, somebody, follow, shut_out, why):
    roles = ("MODERATOR",) if why == "FORBIDDEN" else ("CONTRIBUTOR",)
    document = QUEUE if why == "FORBIDDEN" else BOARD
    person = somebody(*roles)
    events, socket = follow(Events, person, document), follow(Socket, person, document)
    assert code(events.answer()) == code(socket.answer()) == "OK"
    shut_out(admin, person)
    assert code(events.answer()) == code(socket.answer()) == why
    assert socket.hear() == {"id": "1", "type": "complete"}
    socket.ask("2", "{ moderationQueue(first: 1) { nodes { id } } }")
    assert code(socket.answer()) == ("OK" if shut_out is narrow else why)


def test_a_role_that_was_given_counts_on_an_open_socket_and_ends_nothing(admin, somebody, follow):
    person = somebody()
    socket = follow(Socket, person)
    assert code(socket.answer()) == "OK"
    admin.do("setRoles", userId=person.user_id, roles=["CONTRIBUTOR", "TRUSTED"])
    socket.ask("2", "{ viewer { roles } }")
    assert socket.answer()["data"]["viewer"]["roles"] == ["CONTRIBUTOR"]  # as far as the token goes
    assert socket.hear() == {"id": "2", "type": "complete"}


def test_the_end_of_a_key_ends_what_it_follows(api, admin, follow):
    about = {"name": "Bot", "kind": "CONFIDENTIAL", "grants": ["CLIENT_CREDENTIALS"], "scopes": ["READ"]}
    made = admin.do("createClient", "client { id }", **about)["client"]
    given = {"clientId": made["id"], "name": "CI", "scopes": ["READ"], "days": 1}
    key = admin.do("createApiKey", "text apiKey { id }", **given)
    service = replace(api, token=key["text"])
    events, socket = follow(Events, service), follow(Socket, service)
    assert code(events.answer()) == code(socket.answer()) == "OK"
    admin.do("revokeApiKey", apiKeyId=key["apiKey"]["id"])
    assert code(events.answer()) == code(socket.answer()) == "UNAUTHENTICATED"


def service_with(api: Caller, admin: Caller, *scopes: str) -> tuple[str, Caller]:
    """A service with an API key of these scopes; its client's id, and itself."""
    about = {"name": "Bot", "kind": "CONFIDENTIAL", "grants": ["CLIENT_CREDENTIALS"], "scopes": scopes}
    client = admin.do("createClient", "client { id }", **about)["client"]["id"]
    text = admin.do("createApiKey", "text", clientId=client, name="CI", scopes=scopes)["text"]
    return client, replace(api, token=text)


def test_a_scope_that_is_taken_from_a_service_ends_what_its_keys_follow(api, admin, follow):
    client, service = service_with(api, admin, "READ", "JOBS")
    events, socket = follow(Events, service), follow(Socket, service)
    assert code(events.answer()) == code(socket.answer()) == "OK"
    admin.do("updateClient", clientId=client, scopes=["JOBS"])
    assert code(events.answer()) == code(socket.answer()) == "FORBIDDEN"
    assert code(follow(Events, service).answer()) == "FORBIDDEN"


def test_a_service_that_may_not_act_for_people_any_more_hears_nothing_more_for_them(api, admin, somebody, follow):
    client, service = service_with(api, admin, "READ", "ACT_AS", "TASKS")
    acting = replace(service, user_id=somebody().user_id)
    socket = follow(Acting, acting, 'subscription { taskAvailable(langs: ["en"]) { kind count } }')
    assert code(socket.answer()) == "OK"
    admin.do("updateClient", clientId=client, scopes=["READ", "TASKS"])
    assert code(socket.answer()) == "FORBIDDEN"
