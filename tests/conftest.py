"""Shared fixtures: the two stores, real ones.

`OA_MONGODB_URI` and `OA_S3_ENDPOINT` point the tests at other servers; without them the embedded servers are started
on loopback for the session. Every test that asks for `store` or `database` gets a bucket or database of its own.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest

from core.objects import ObjectStore
from oa import embedded

# No test asserts a duration, so no example of a property has to be quick either.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

ALONE = "e2e"
"""The folder whose tests start a whole stack: `make test` runs them by themselves, after the others."""
FIRST = ("test_worker_life.py", "test_worker_launchers.py", "test_stage_workers.py")
"""Files that wait for Ray for minutes: begun first, so that the other process tests meanwhile."""
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files before the others, the end-to-end tests behind them."""
    items.sort(key=lambda item: (ALONE in item.path.parts, item.path.name not in FIRST))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real conversation trees beside the project; skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data sets (../shared/data) are not on this machine")
    return SHARED_DATA


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="session")
def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a MongoDB-protocol server."""
    if uri := os.environ.get("OA_MONGODB_URI"):
        yield uri
        return
    port = embedded.free_port()
    process = embedded.start(embedded.document_store_command(tmp_path_factory.mktemp("mongo"), port))
    embedded.wait_for_port(port, process)
    yield f"mongodb://127.0.0.1:{port}"
    stop(process)


@pytest.fixture
async def database(mongodb_uri: str) -> AsyncIterator[object]:
    """An empty, migrated database of its own."""
    from core.database import connect, migrate

    client = connect(mongodb_uri)
    database = client[f"test_{uuid.uuid4().hex[:12]}"]
    await migrate(database)
    yield database
    await client.drop_database(database.name)
    await client.close()


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3-protocol server."""
    if endpoint := os.environ.get("OA_S3_ENDPOINT"):
        yield endpoint
        return
    port = embedded.free_port()
    process = embedded.start(embedded.object_store_command(tmp_path_factory.mktemp("objects"), port))
    embedded.wait_for_port(port, process)
    yield f"http://127.0.0.1:{port}"
    stop(process)


@pytest.fixture
def store(s3_endpoint: str) -> ObjectStore:
    """An empty bucket of its own."""
    store = ObjectStore(f"test-{uuid.uuid4().hex[:12]}", s3_endpoint)
    store.ensure_bucket()
    return store
