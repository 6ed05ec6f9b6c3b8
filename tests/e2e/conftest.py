"""One whole stack for this folder's tests, started by `oa up --detach` as a user would, with state of its own.

It ends by a kill -9 of its supervisor, after which nothing of it may be left: no store, no Ray.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from whole_stack import ROOT, Stack, until


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything, on embedded stores and free ports, with short leases."""
    var = tmp_path_factory.mktemp("stack") / "var"
    environment = {
        "OA_VAR": str(var),
        "OA_COLLECTION_FILE": str(ROOT / "samples" / "collection.json"),
        "OA_SWEEP_SECONDS": "0.5",
        "OA_SCORE_SECONDS": "1",
        "OA_JOB_BEAT_SECONDS": "0.5",
        "OA_JOB_STALE_SECONDS": "4",
        "CI": "",
        "COLUMNS": "120",
    }
    stack = Stack(var, environment)
    stack.oa("up", "--detach")
    yield stack
    assert any("ray" in name for name in stack.processes().values())
    os.kill(stack.record["pid"], signal.SIGKILL)
    until(lambda: not stack.processes(), 30, "the end of everything that the killed supervisor had started")
