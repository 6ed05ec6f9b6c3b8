"""One whole stack for this folder's tests, started by `oa up --detach` as a user would, with state of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from whole_stack import ROOT, Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything, on embedded stores and free ports, with short leases; stopped at the end of the session."""
    var = tmp_path_factory.mktemp("stack") / "var"
    environment = {
        "OA_VAR": str(var),
        "OA_COLLECTION_FILE": str(ROOT / "samples" / "collection.json"),
        "OA_SWEEP_SECONDS": "0.5",
        "OA_JOB_BEAT_SECONDS": "0.5",
        "OA_JOB_STALE_SECONDS": "4",
        "CI": "",
    }
    stack = Stack(var, environment)
    stack.oa("up", "--detach")
    yield stack
    stack.oa("down")
