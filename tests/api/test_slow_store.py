"""A document store that takes every call and answers none: each call ends in its time, with a word that says so."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from running_api import Caller, eventually, serving
from stalling_proxy import StallingProxy
from websockets.sync.client import connect


@pytest.fixture
def proxy(mongodb_uri):
    address = urlsplit(mongodb_uri)
    with StallingProxy(address.hostname, address.port).running() as proxy:
        yield proxy


def test_a_store_that_is_silent_is_said_not_to_answer(settings, proxy):
    mine = replace(
        settings, mongodb_uri=f"mongodb://127.0.0.1:{proxy.port}", database_seconds=0.3, operation_seconds=60,
        mongodb_database=f"test_silent_{uuid.uuid4().hex[:8]}", stream_check_seconds=0.05,
    )  # fmt: skip
    with serving(mine) as url:
        anyone = Caller(url)
        ada = anyone.sign_in("ada")
        task = ada.do("requestTask", "task { id }", langs=["en"], kind="INITIAL_PROMPT")["task"]["id"]
        skip = "mutation ($id: ID!) { skipTask(input: {taskId: $id}) { userErrors { code } } }"
        board = "leaderboard(frame: DAY, first: 1) { points }"
        with connect(url.replace("http", "ws", 1) + "/graphql", subprotocols=["graphql-transport-ws"]) as ws:
            ws.send(json.dumps({"type": "connection_init", "payload": ada.headers}))
            assert json.loads(ws.recv(timeout=20))["type"] == "connection_ack"
            ws.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": f"subscription {{ {board} }}"}}))
            assert json.loads(ws.recv(timeout=20))["type"] == "next"
            proxy.stall()
            asks = [
                (anyone, f"{{ {board} }}", None, 200),
                (ada, f"{{ {board} }}", None, 503),
                (ada, skip, {"id": task}, 503),
            ]
            with ThreadPoolExecutor() as pool:
                answers = list(pool.map(lambda each: each[0].post(each[1], each[2]), asks))
            for answer, (_, _, _, status) in zip(answers, asks, strict=True):
                assert answer.status_code == status
                (error,) = answer.json()["errors"]
                assert error["extensions"] == {"code": "UNAVAILABLE", "retryAfter": 2.0}
                assert error["message"].startswith("the document store does not answer")
                assert str(proxy.port) not in answer.text
            ended = json.loads(ws.recv(timeout=20))
            assert ended["payload"]["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
            ready = anyone.http.get(f"{url}/readyz")
            assert (ready.status_code, ready.json()["document_store"]) == (503, "does not answer")
        proxy.go_on()
        eventually(lambda: "errors" not in ada.post(f"{{ {board} }}").json())
        ada.do("skipTask", taskId=task)
