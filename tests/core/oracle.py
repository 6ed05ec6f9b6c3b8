"""A second MongoDB-protocol server to hold the store's use against: mongoeco, right where the embedded one is not.

It needs a Python newer than the project's, so it lives in a virtual environment of its own, `.venv-mongoeco`, made on
first use. `python tests/core/oracle.py` makes it and says where.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-mongoeco"
PACKAGE = "mongoeco[wire]==4.11.0"
SERVER = """
import asyncio, sys
from mongoeco.wire.proxy import AsyncMongoEcoProxyServer

async def serve():
    async with AsyncMongoEcoProxyServer(port=int(sys.argv[1])):
        await asyncio.Event().wait()

asyncio.run(serve())
"""


class NoOracle(Exception):
    """The server cannot be had here; the message says why."""


def python() -> Path:
    """The interpreter of `.venv-mongoeco`, with the package in it.

    Raises:
        NoOracle: there is no Python 3.13 or newer, or the package cannot be installed.
    """
    own = FOLDER / "bin" / "python"
    if _runs([str(own), "-c", "import mongoeco, bson"]):
        return own
    new_enough = next((each for each in _interpreters() if _is_new_enough(each)), None)
    if new_enough is None:
        raise NoOracle("mongoeco needs Python 3.13 or newer, and none was found on PATH or under ~/.pyenv")
    shutil.rmtree(FOLDER, ignore_errors=True)
    installed = _runs([new_enough, "-m", "venv", str(FOLDER)]) and _runs(
        [str(own), "-m", "pip", "install", "-q", "--disable-pip-version-check", PACKAGE], seconds=240
    )
    if not installed:
        shutil.rmtree(FOLDER, ignore_errors=True)
        raise NoOracle(f"{PACKAGE} could not be installed into {FOLDER.name}")
    return own


def _interpreters() -> list[str]:
    named = [shutil.which(name) for name in ("python3.14", "python3.13", "python3")]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return [each for each in named if each] + sorted(map(str, pyenv.glob("3.*/bin/python")), reverse=True)


def _is_new_enough(interpreter: str) -> bool:
    return _runs([interpreter, "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 13))"])


def _runs(command: list[str], seconds: float = 60) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=seconds).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def command(port: int) -> list[str]:
    """Arguments that start the server, in memory, on `port` of loopback."""
    return [str(python()), "-c", SERVER, str(port)]


if __name__ == "__main__":
    try:
        print(python())
    except NoOracle as error:
        sys.exit(str(error))
