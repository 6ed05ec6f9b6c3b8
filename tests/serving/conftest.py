"""A real small model for the serving tests, engines over it, and nodes that serve it over HTTP."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_model
from serving_kit import SMALL, Node, Reader, promote, publish, running

from core.objects import ObjectStore
from serving.engine import Engine
from serving.model_files import ModelFiles
from serving.requests import Request
from serving.settings import ServingSettings


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


@pytest.fixture
def ask() -> Callable[..., Reader]:
    """Submit a request and get its reader; `reader.ticket` cancels it."""

    def submit(engine: Engine, request: Request) -> Reader:
        reader = Reader()
        reader.ticket = engine.submit(request, reader)  # type: ignore[attr-defined]
        return reader

    return submit


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
