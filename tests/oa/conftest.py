"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from watched import Stack


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Something to run in a folder of its own; whatever of it is left after the test is killed."""
    stack = Stack(tmp_path)
    yield stack
    for process in stack.alive():
        with suppress(psutil.NoSuchProcess):  # it may end by itself meanwhile
            process.kill()
    if stack.process is not None:
        stack.process.wait(10)
