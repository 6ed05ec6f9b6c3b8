"""Where the running stack is: the environment first, then what `oa up` wrote down.

Knows the folder of local state, the file `run.json` in it and the lock that tells a live supervisor from a dead one's
leftovers. So `oa import` in a second terminal needs no addresses. Does not know what the addresses are for.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson

from core.errors import Conflict

LOCK = "run.lock"
RUN = "run.json"


def var_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of local state: `OA_VAR`, or `var` in the working directory."""
    return Path(environ.get("OA_VAR") or "var").absolute()


def settings(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`environ`, completed with the addresses of the stack that `oa up` runs on the same `OA_VAR`, if one runs.

    What the environment says wins. Once it names a store, the other store's address is not filled in either: half of
    one stack with half of another is nobody's intention.
    """
    given = {name: value for name, value in environ.items() if value}
    found = running(var_folder(environ))
    if found is None or any(name in given for name in ("OA_MONGODB_URI", "OA_S3_ENDPOINT")):
        return given
    return {**found["environment"], **given}


def running(var: Path) -> dict[str, Any] | None:
    """What the live supervisor of `var` wrote to `run.json`; None when none runs (a dead one holds no lock)."""
    if not is_locked(var):
        return None
    try:
        value: dict[str, Any] = orjson.loads((var / RUN).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return value


def is_locked(var: Path) -> bool:
    """Whether a live supervisor holds the lock of `var`."""
    try:
        with (var / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def exclusive(var: Path) -> Iterator[None]:
    """Hold the lock of `var`. The kernel lets go of it when this process ends, however it ends.

    Raises:
        Conflict: another supervisor holds it.
    """
    var.mkdir(parents=True, exist_ok=True)
    with (var / LOCK).open("ab") as file:
        if not _taken(file):
            found = running(var) or {}
            who = f" (process {found['pid']})" if "pid" in found else ""
            raise Conflict(
                f"`oa up` runs already on {var}{who}; see `oa status`, stop it with `oa down`, or set OA_VAR to "
                "another folder"
            )
        yield


def _taken(file: IO[bytes]) -> bool:
    """Take the exclusive lock; tries for half a second, because whoever only looks holds it for a moment too."""
    for _ in range(10):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def write_run(var: Path, value: Mapping[str, Any]) -> None:
    """Replace `run.json` whole; private to this user."""
    partial = var / f".{RUN}.part"
    partial.touch(mode=0o600)
    partial.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2))
    partial.replace(var / RUN)
