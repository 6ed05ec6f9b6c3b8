"""Temporary folders that do not outlive their process for long: what one that was killed left, the next one removes.

A folder is held by a lock for as long as its process lives. Files in it may hold people's words, so they must not lie
about until somebody empties the machine's temporary folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HELD = "held-"
"""In the name of a folder that is locked for as long as its process lives."""


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder, whose name begins with `prefix`; those of dead processes are removed first."""
    prefix += HELD
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        _remove_if_left(left)
    # Under another name until it is held, lest another process takes it for one that was left.
    made = Path(tempfile.mkdtemp(prefix=f".{prefix}"))
    held = _hold(made)
    path = made.rename(made.with_name(made.name[1:]))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(held)


def _hold(path: Path) -> int:
    """Lock a folder.

    Raises:
        OSError: it is locked, gone, somebody else's, or no folder.
    """
    opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        raise
    return opened


def _remove_if_left(path: Path) -> None:
    with suppress(OSError):
        held = _hold(path)
        shutil.rmtree(path, ignore_errors=True)
        os.close(held)
