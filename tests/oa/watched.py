"""A stack of small real programs under the real supervisor, in a process of its own that a test may kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

MARK = "OA_TEST_MARK"


def until(met: Callable[[], Any], seconds: float = 30.0, what: str = "it") -> Any:
    """What `met` returns once that is true; fails when `seconds` pass."""
    deadline = time.monotonic() + seconds
    while not (found := met()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)
    return found


class Stack:
    """`program` run with arguments in a folder of its own, all of its processes marked by an environment variable."""

    def __init__(self, folder: Path) -> None:
        self.var = folder
        self.mark = uuid.uuid4().hex
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "output.txt"

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OA_")}
        marked = {**inherited, MARK: self.mark, "OA_VAR": str(self.var), **environment}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *command], stdout=output, stderr=subprocess.STDOUT, env=marked, start_new_session=True
            )
        return self.process

    def run(self) -> dict[str, Any]:
        try:
            return json.loads((self.var / "run.json").read_bytes())
        except FileNotFoundError:
            return {"parts": [], "settled": False}

    def part(self, name: str) -> dict[str, Any]:
        return next((part for part in self.run()["parts"] if part["name"] == name), {})

    def settle(self) -> None:
        until(lambda: self.run()["settled"] or self.process.poll() is not None, what="a settled stack")
        assert self.process.poll() is None, self.log.read_text()

    def alive(self) -> list[psutil.Process]:
        """Every process of the machine that carries this stack's mark."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == self.mark
        except psutil.Error:
            return False

    def none_left(self) -> None:
        until(lambda: not self.alive(), what=f"the end of {self.alive()}")
