"""A worker's end of its driver process: start it, give it orders, hear its answers, kill it.

Knows the pipe and the forms on it (`jobs.driver`); knows nothing of claims or results.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import subprocess
import sys
import threading
from typing import IO, Any

from core.errors import OaError
from jobs.driver import Setup

log = logging.getLogger("oa.jobs")
_ENDED: dict[str, Any] = {"event": "ended"}


class DriverProcess:
    """One driver at a time; `start` makes another when the last one is gone.

    Args:
        setup: what the driver needs to know.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._ready, self._dashboard = False, ""

    @property
    def dashboard(self) -> str:
        """URL of the dashboard of the cluster that a ready driver holds; empty when there is none."""
        return self._dashboard

    def start(self) -> None:
        """Start the driver unless it runs; returns before it is ready.

        Call it from the main thread: the kernel ends the driver with the thread that started it.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.kill()
        self._answers, self._ready = queue.Queue(), False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobs.driver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._write(self._setup.to_json())
        reader = threading.Thread(target=_read, args=(self._process.stdout, self._answers), name="driver", daemon=True)
        reader.start()

    def wait_ready(self, stop: threading.Event) -> bool:
        """Start the driver and return True when it holds Ray; False when `stop` is set before.

        Raises:
            OaError: it could not connect to Ray.
        """
        self.start()
        while not self._ready:
            if stop.is_set():
                return False
            ended = self.answer(seconds=0.2)
            if ended is not None:
                raise OaError(ended["error"]["message"], code="UNAVAILABLE")
        return True

    def send(self, job_id: str, attempt: int) -> None:
        """Give it one attempt to run; a driver that is gone is noticed by `answer`."""
        self._write(json.dumps({"job_id": job_id, "attempt": attempt}))

    def answer(self, seconds: float) -> dict[str, Any] | None:
        """Wait up to `seconds` for the end of the attempt: `{"error": None | {"code", "message"}}`, or None.

        Raises:
            OaError: the driver could not connect to Ray.
        """
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            return None
        if answer["event"] == "ready":
            self._on_ready(answer)
            return None
        if answer["event"] == "ended":
            code = self._process.wait() if self._process else None
            return {"error": {"code": "UNAVAILABLE", "message": f"the process that holds Ray ended with code {code}"}}
        return answer

    def kill(self) -> None:
        """Kill the driver and, with it, a local Ray cluster; returns when it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                _close(pipe)

    def _on_ready(self, answer: dict[str, Any]) -> None:
        if answer["error"]:
            self.kill()
            raise OaError(answer["error"]["message"], code=answer["error"]["code"])
        self._ready, self._dashboard = True, answer["dashboard"]
        log.info("Ray is ready: %g cores%s", answer["cores"], f", {answer['dashboard']}" if answer["dashboard"] else "")

    def _write(self, line: str) -> None:
        pipe = self._process.stdin if self._process else None
        if pipe is None:
            return
        with contextlib.suppress(BrokenPipeError):  # it is gone; the reader says so
            pipe.write(line + "\n")
            pipe.flush()


def _read(pipe: IO[str] | None, answers: queue.Queue[dict[str, Any]]) -> None:
    with contextlib.suppress(ValueError):  # closed by `kill`
        for line in pipe or ():
            answers.put(json.loads(line))
    answers.put(_ENDED)


def _close(pipe: IO[str]) -> None:
    with contextlib.suppress(OSError):  # what was still in the buffer has no reader
        pipe.close()
