"""What the serving tests run on: published tiny models, nodes that serve them, and waiting for a condition."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from core import layout, manifest
from core.objects import ObjectStore
from serving.options import EngineOptions
from serving.requests import Event
from serving.server import create_app
from serving.settings import ServingSettings

SMALL = EngineOptions(threads=1, slots=4, queue=16, kv_bytes=32 << 20, prefix_bytes=4 << 20)


def wait_for(condition: Callable[[], Any], seconds: float = 20.0, what: str = "the condition") -> Any:
    """The first true value of `condition()`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds:.0f} s")
        time.sleep(0.01)
    return value


@dataclass
class Reader:
    """Collects one reply's events."""

    events: list[Event] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if event.last:
            self.done.set()

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events)

    def wait(self) -> Event:
        """The last event."""
        assert self.done.wait(30), "the reply did not end"
        return self.events[-1]

    def began(self) -> bool:
        return bool(self.events)


def publish(store: ObjectStore, tiny: Path, name: str, version: str) -> None:
    """Publish the small model as a version, as an export stage does; `version` makes its bytes differ."""
    staging = tiny / f"staging-{time.monotonic_ns()}"
    shutil.copytree(tiny / "onnx", staging / "onnx")
    (staging / "card.md").write_text(f"# {name} {version}\n")
    try:
        manifest.publish(store, staging, layout.model(name, version), {"format": 1, "name": name, "version": version})
    finally:
        shutil.rmtree(staging)


def promote(store: ObjectStore, name: str, version: str) -> None:
    store.put_json(layout.promoted(name), {"version": version, "previous": None, "at": None, "by": "test"})


@dataclass
class Node:
    """A serving node that runs in a thread of this process."""

    url: str

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=10)

    def post(self, body: Any, **headers: str) -> httpx.Response:
        return httpx.post(self.url + "/v1/chat/completions", json=body, headers=headers, timeout=60)

    def wait_ready(self, label: str) -> None:
        wait_for(lambda: label in self.get("/readyz").json()["models"], what=f"{label} ready")

    def count(self, line: str) -> float:
        """The value of a line of `/metrics`, 0 where there is none."""
        lines = (item.rsplit(" ", 1) for item in self.get("/metrics").text.splitlines())
        return next((float(value) for name, value in lines if name == line), 0.0)

    def loads(self) -> list[dict[str, int]]:
        return list(self.get("/readyz").json()["models"].values())


@contextmanager
def running(settings: ServingSettings, store: ObjectStore) -> Iterator[Node]:
    """A node that follows `store`."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings, store), log_level="warning", timeout_graceful_shutdown=5)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started, what="the server")
        yield Node(f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(20)
