"""The two embedded stores as child processes: nx-27017 (MongoDB protocol, `oa.document_server`) and localbucket (S3).

Knows how to start each on a loopback port, how to tell that it answers, and nothing of who restarts it. Threat: the
embedded object store checks no credentials and the document store none either, so both bind 127.0.0.1 only.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from core.errors import OaError, Unavailable

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that was free on loopback a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def check_port(port: int) -> None:
    """Raise `OaError` (code `PORT_IN_USE`) when something listens on `port` of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((HOST, port)) == 0:
            raise OaError(
                f"port {port} on {HOST} is in use; stop what listens there or name another", code="PORT_IN_USE"
            )


def document_store_command(folder: Path, port: int) -> list[str]:
    """Arguments that start the MongoDB-protocol server with its data under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        sys.executable, "-m", "oa.document_server", "--host", HOST, "--port", str(port), "--data-dir", str(folder),
        "--pid-file", str(folder / "server.pid"), "--log-file", str(folder / "server.log"),
    ]  # fmt: skip


def object_store_command(folder: Path, port: int) -> list[str]:
    """Arguments that start the S3-protocol server with its buckets under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_script("localbucket"), "--host", HOST, "--port", str(port), str(folder)]


def _script(name: str) -> str:
    """The console script `name` of this interpreter's environment."""
    return str(Path(sys.executable).with_name(name))


def start(command: list[str], output: IO[bytes] | int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start a child whose output goes to `output`."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)


def wait_for_port(port: int, process: subprocess.Popen[bytes] | None = None, seconds: float = 30.0) -> None:
    """Return when something accepts connections on `port` of loopback.

    Raises:
        Unavailable: the process ended first, or `seconds` passed.
    """

    def accepts() -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((HOST, port)) == 0

    wait_until(accepts, process, seconds, f"nothing accepts connections on port {port}")


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes] | None, seconds: float, otherwise: str
) -> None:
    """Return when `ready()`; raise `Unavailable(otherwise)` when the process ends first or `seconds` pass."""
    deadline = time.monotonic() + seconds
    while not ready():
        if process is not None and process.poll() is not None:
            raise Unavailable(f"{otherwise}: the process ended with code {process.returncode}")
        if time.monotonic() > deadline:
            raise Unavailable(f"{otherwise} after {seconds:.0f} s")
        time.sleep(0.05)
