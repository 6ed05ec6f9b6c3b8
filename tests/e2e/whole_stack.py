"""A running stack as a test holds it: commands, parts, kill -9 of a part, and waiting for a condition."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from oa.client import GraphQLClient
from oa.settings import running

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]


def until(ready: Callable[[], T], seconds: float, what: str) -> T:
    """The first true answer of `ready()`; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := ready()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.1)
    return answer


@dataclass
class Stack:
    """A running `oa up` and how to reach it."""

    var: Path
    environment: dict[str, str] = field(default_factory=dict)

    def oa(self, *arguments: str, module: str = "oa") -> str:
        """Run a command; returns what it printed. A failure fails the test, with its words."""
        command = [sys.executable, "-m", module, *arguments]
        environment = {**os.environ, **self.environment}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, f"{command[2:]} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @property
    def record(self) -> dict[str, Any]:
        """What the supervisor says of itself."""
        record = running(self.var)
        assert record is not None, "no supervisor runs"
        return record

    def pid(self, part: str) -> int:
        """The process of a part, once it is running."""

        def found() -> int | None:
            (it,) = (it for it in self.record["parts"] if it["name"] == part)
            return it["pid"] if it["state"] == "running" else None

        return until(found, 60, f"part {part} to run")

    def processes(self) -> dict[int, str]:
        """Every process that was started with this stack's folder in its environment: its id and its name."""
        found = {}
        for process in psutil.process_iter(["name"]):
            with suppress(psutil.Error):
                if process.environ().get("OA_VAR") == str(self.var) and process.status() != psutil.STATUS_ZOMBIE:
                    found[process.pid] = process.info["name"]
        return found

    def kill(self, part: str) -> None:
        """kill -9 a part, then wait until the supervisor has another in its place."""
        old = self.pid(part)
        psutil.Process(old).kill()
        until(lambda: self.pid(part) != old, 60, f"a new {part}")

    def anyone(self) -> GraphQLClient:
        """A client that nobody has signed in to."""
        return GraphQLClient(self.record["environment"]["OA_API_URL"] + "/graphql")
