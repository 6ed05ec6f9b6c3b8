"""A real small model for the serving tests, engines over it, and nodes that serve it over HTTP."""

from __future__ import annotations

import hashlib
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import tiny_model
import uvicorn

from core import layout, manifest
from core.objects import ObjectStore
from serving.engine import Engine
from serving.model_files import ModelFiles
from serving.options import EngineOptions
from serving.requests import Event, Request
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


@pytest.fixture(scope="session")
def tiny(request: pytest.FixtureRequest) -> Path:
    """Folder with `hf/` and `onnx/` of the small model; built once for each state of the code that builds it."""
    version = hashlib.sha256(Path(tiny_model.__file__).read_bytes()).hexdigest()[:16]
    folder = Path(request.config.cache.mkdir("serving-tiny")) / version
    if not (folder / "done").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        tiny_model.build(folder)
        (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def files(tiny: Path) -> ModelFiles:
    return ModelFiles(tiny / "onnx")


@pytest.fixture
def make_engine(files: ModelFiles) -> Iterator[Callable[..., Engine]]:
    """Engines with options of one's own; closed at the end."""
    engines = []

    def make(observer: Any = None, **options: Any) -> Engine:
        engines.append(Engine(files, replace(SMALL, **options), observer))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


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


@pytest.fixture
def ask() -> Callable[..., Reader]:
    """Submit a request and get its reader; `reader.ticket` cancels it."""

    def submit(engine: Engine, request: Request) -> Reader:
        reader = Reader()
        reader.ticket = engine.submit(request, reader)  # type: ignore[attr-defined]
        return reader

    return submit


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


@pytest.fixture
def start_node(store: ObjectStore, tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Start nodes that follow the test's object store; stopped at the end."""
    with ExitStack() as nodes:

        def start(*, engine: dict[str, Any] | None = None, follow: ObjectStore | None = None, **settings: Any) -> Node:
            chosen = ServingSettings(
                cache=tmp_path / "models", poll_seconds=0.05, engine=replace(SMALL, **(engine or {})), **settings
            )
            return nodes.enter_context(running(chosen, follow or store))

        yield start


@pytest.fixture
def node(store: ObjectStore, tiny: Path, start_node: Callable[..., Node]) -> Node:
    """A node that serves `assistant@v1`."""
    publish(store, tiny, "assistant", "v1")
    promote(store, "assistant", "v1")
    node = start_node()
    node.wait_ready("assistant@v1")
    return node
