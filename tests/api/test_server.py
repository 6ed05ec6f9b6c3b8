"""What is bounded before there is a request: its head in bytes and in time, and what stands around its body."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import httpx
import pytest
import uvicorn
from running_api import DEADLINE, eventually
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.sync.client import connect

from api.server import BoundedHeads, options
from oa.embedded import free_port


async def length(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def endless(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.Event().wait()

    return StreamingResponse(pieces())


async def echo(ws: WebSocket) -> None:
    await ws.accept()
    await ws.send_text(await ws.receive_text())
    await ws.close()


class Impatient(BoundedHeads):
    SECONDS = 0.2


def served(settings, http: type[BoundedHeads]) -> Iterator[int]:
    port = free_port()
    routes = [Route("/", length, methods=["GET", "POST"]), Route("/endless", endless), WebSocketRoute("/ws", echo)]
    app = Starlette(routes=routes)
    told = options(settings, "127.0.0.1", port, 1) | {"http": http, "log_level": "critical"}
    server = uvicorn.Server(uvicorn.Config(lambda: app, **told))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started)
    yield port
    server.should_exit = True
    thread.join(DEADLINE)


@pytest.fixture(scope="module")
def port(settings) -> Iterator[int]:
    yield from served(settings, BoundedHeads)


@pytest.fixture(scope="module")
def impatient(settings) -> Iterator[int]:
    yield from served(settings, Impatient)


def told(port: int, *parts: bytes) -> bytes:
    """All that comes back until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except OSError:
            pass  # it was closed meanwhile; what it said first can be read
        found = b""
        try:
            while more := connection.recv(65_536):
                found += more
        except OSError:
            pass
        return found


HEAD = b"POST / HTTP/1.1\r\nhost: x\r\n"
MANY = [b"x: " + b"a" * 1000 + b"\r\n"] * 100


@pytest.mark.parametrize("rest", [[b"x: " + b"a" * 10_000] * 10, MANY, [b"a" * 100_000]])
def test_a_head_without_end_is_refused(port, rest):
    assert told(port, HEAD, *rest).startswith(b"HTTP/1.1 431 ")


def test_an_address_without_end_is_refused(port):
    assert told(port, b"GET /?", b"a" * 100_000).startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))


def test_what_follows_a_body_without_end_is_refused(port):
    trailer = b"x: " + b"a" * 100_000
    found = told(port, HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", *[trailer] * 20)
    assert b"431" in found or not found.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("begun", [b"", b"GET / HT", HEAD, HEAD + b"x: "])
def test_a_head_that_does_not_come_has_an_end(impatient, begun):
    assert told(impatient, begun).startswith(b"HTTP/1.1 408 ")


def test_a_second_request_that_does_not_come_has_an_end_too(impatient):
    found = told(impatient, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", HEAD)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert found.count(b"HTTP/1.1 ") in (1, 2)  # the other head may come while the first is answered


def test_a_second_request_that_does_not_come_puts_nothing_into_the_answer_to_the_first(impatient):
    found = told(impatient, b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n" + HEAD)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert found.endswith(b"\r\n\r\n1\r\na\r\n")


def test_connections_of_proxies_are_kept_longer_than_proxies_keep_them(settings):
    direct, behind = (
        options(replace(settings, trusted_proxies=proxies), "127.0.0.1", 1, 1)["timeout_keep_alive"]
        for proxies in ((), ("10.0.0.0/8",))
    )
    assert direct < 60 < behind


def test_good_requests_are_answered_long_bodies_and_many_on_one_connection(port):
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as http:
        assert http.get("/", headers={"x": "a" * 60_000}).text == "0"
        for size in (0, 1, 70_000, 2_000_000):
            assert http.post("/", content=b"x" * size).text == str(size)
        assert http.post("/", content=(b"x" for _ in range(20_000))).text == "20000"
        for _ in range(3):
            assert http.get("/", headers={"x": "a" * 40_000}).text == "0"


def test_websockets_pass(port, impatient):
    for each in (port, impatient):
        with connect(f"ws://127.0.0.1:{each}/ws") as ws:
            ws.send("hello")
            assert ws.recv(DEADLINE) == "hello"


def test_a_body_may_take_longer_than_a_head(impatient):
    """What a body has is the app's to say."""
    pause = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"a"
        pause.wait(2 * Impatient.SECONDS)
        yield b"b"

    assert httpx.post(f"http://127.0.0.1:{impatient}/", content=slowly(), timeout=DEADLINE).text == "2"
