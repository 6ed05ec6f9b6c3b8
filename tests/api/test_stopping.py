"""A real server process is told to stop in the middle of things; and what it wrote meanwhile holds no secret."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import pytest
from running_api import DEADLINE, Caller, eventually
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from oa.embedded import free_port

FOLLOW = 'subscription { taskAvailable(langs: ["en"]) { kind count } }'


class Server:
    """The app under uvicorn, in a process of its own; `log` is all that it wrote."""

    def __init__(self, folder: Path, grace: float, **environment: str) -> None:
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        self.file = folder / "log"
        command = [sys.executable, "-m", "api.server", "--port", str(port), "--grace", str(grace)]
        with self.file.open("wb") as log:
            env = {**os.environ, "OA_MODE": "embedded", "OA_VAR": str(folder), **environment}
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        eventually(lambda: self.answers() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.base}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    @property
    def log(self) -> str:
        return self.file.read_text()


@pytest.fixture
def server(settings, tmp_path):
    made = []

    def start(grace: int = 15, **environment: str) -> Server:
        stores = {
            "OA_MONGODB_URI": settings.mongodb_uri, "OA_MONGODB_DATABASE": f"test_stop_{uuid.uuid4().hex[:8]}",
            "OA_S3_ENDPOINT": settings.s3_endpoint, "OA_S3_BUCKET": settings.s3_bucket, "OA_SWEEP_SECONDS": "0",
        }  # fmt: skip
        made.append(Server(tmp_path, grace, **stores, **environment))
        return made[-1]

    yield start
    for each in made:
        each.process.kill()
        each.process.wait(DEADLINE)


def until_closed(ws):
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield json.loads(ws.recv(DEADLINE))


def half_a_request(base: str, token: str) -> tuple[socket.socket, bytes]:
    """A request whose second half is still to come."""
    body = json.dumps({"query": "{ viewer { streakDays } }"}).encode()
    connection = socket.create_connection(("127.0.0.1", int(base.rpartition(":")[2])), DEADLINE)
    head = (
        f"POST /graphql HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {token}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    connection.sendall(head.encode() + body[:10])
    return connection, body[10:]


def test_a_server_that_stops_is_not_ready_ends_streams_and_finishes_what_is_under_way(server):
    running = server(OA_DRAIN_NOTICE_SECONDS="1")
    ada = Caller(running.base).sign_in("ada")
    kept = httpx.Client(timeout=DEADLINE)
    assert kept.get(f"{running.base}/readyz").status_code == 200
    address = running.base.replace("http", "ws", 1) + "/graphql"
    stream = {**ada.headers, "accept": "text/event-stream"}
    with (
        ada.http.stream("POST", f"{running.base}/graphql", json={"query": FOLLOW}, headers=stream) as response,
        connect(address, subprotocols=["graphql-transport-ws"]) as ws,
    ):
        lines = response.iter_lines()
        assert any("taskAvailable" in line for line in lines)
        ws.send(json.dumps({"type": "connection_init", "payload": ada.headers}))
        ws.recv(DEADLINE)
        ws.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": FOLLOW}}))
        assert json.loads(ws.recv(DEADLINE))["type"] == "next"
        connection, rest = half_a_request(running.base, ada.token)
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: kept.get(f"{running.base}/readyz").json() == {"status": "stopping"})
        assert ada.ask("{ viewer { streakDays } }") == {"viewer": {"streakDays": 0}}, "it serves on meanwhile"
        last = [json.loads(line[6:]) for line in lines if line.startswith("data: {")][-1]
        assert last["errors"][0]["extensions"] == {"code": "UNAVAILABLE", "retryAfter": 1.0}
        said = list(until_closed(ws))
        assert ws.close_code == 1012
    assert [each["type"] for each in said] in (["next", "complete"], ["error"], [])
    connection.sendall(rest)
    answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert b" 200 " in answer.split(b"\r\n", 1)[0]
    assert b'"streakDays":0' in answer
    assert running.process.wait(DEADLINE) in (0, -signal.SIGTERM)
    assert "Traceback" not in running.log
    assert '"trace"' not in running.log


def test_a_request_that_never_ends_does_not_keep_the_server(server):
    running = server(grace=1)
    ada = Caller(running.base).sign_in("ada")
    connection, _ = half_a_request(running.base, ada.token)
    running.process.send_signal(signal.SIGTERM)
    running.process.wait(DEADLINE)
    connection.close()


PASSWORDS = ("hush-password-1", "hush-token-22222222", "hush-query-3", "hush-text-4", "hush-cookie-5")


def test_no_secret_that_is_sent_anywhere_is_written_down(server):
    running = server(OA_LOG_LEVEL="DEBUG", OA_SERVING_KEY="hush-serving-key-6-and-more")
    ada = Caller(running.base).sign_in("ada")
    url = f"{running.base}/graphql"
    password, token, query, text, cookie = PASSWORDS
    tries = [
        {"headers": {"authorization": f"Bearer {token}"}},
        {"headers": {"authorization": f"Basic {token}"}},
        {"headers": {"cookie": f"session={cookie}"}},
        {"headers": {"x-request-id": f"{token}!", "traceparent": token, "x-act-as": token, "host": "127.0.0.1"}},
        {"headers": {"origin": f"https://{password}.example"}},
        {"params": {"access_token": query}},
        {"params": {"anything": query}},
        {"json": {"query": f'mutation {{ developmentSignIn(input: {{name: "{text}"}}) {{ nothing }} }}'}},
        {"json": {"query": "query ($a: Int!) { node(id: $a) { id } }", "variables": {"a": text}}},
        {"content": text, "headers": {"content-type": "application/json"}},
    ]
    for each in tries:
        if "json" not in each and "content" not in each:
            each["json"] = {"query": "{ viewer { streakDays } }"}
        httpx.post(url, **{"timeout": DEADLINE, **each})
    for path in ("/oauth/token", "/sign-in/letter", "/oauth/introspect", "/oauth/revoke"):
        form = {"client_secret": password, "code": token, "refresh_token": token, "token": token, "email": text}
        httpx.post(running.base + path, data=form, timeout=DEADLINE)
    for path in ("/oauth/authorize", "/sign-in/letter/open", "/device", "/sign-in/with/none/back"):
        httpx.get(running.base + path, params={"code": token, "state": query, "token": token}, timeout=DEADLINE)
    ada.ask("{ viewer { streakDays } }")
    key = (Path(running.file).parent / "keys" / "token.pem").read_text().splitlines()[1]
    running.process.send_signal(signal.SIGTERM)
    running.process.wait(DEADLINE)
    written = running.log
    assert written.count('"message":"request"') >= len(tries)
    for secret in (*PASSWORDS, ada.token, ada.token.rpartition(".")[2], "hush-serving-key-6", key):
        assert secret not in written, next(line for line in written.splitlines() if secret in line)
    ours = [line for line in written.splitlines() if line.startswith("{")]
    assert all(json.loads(line)["level"] for line in ours)
