"""Process trees: who descends from whom, ending a whole tree, dying with the parent.

Knows /proc (Linux) and `ps` (elsewhere) and the two Linux process controls that make trees hold together. Standard
library only and imports nothing of the project: every keeper loads it, so it is small and quick.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent ends, so that none escapes. Linux only."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends. Linux only; survives exec."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


@dataclass(frozen=True)
class Entry:
    """One process of the process table: its parent, its process group, whether it has ended and waits to be read."""

    parent: int
    group: int
    zombie: bool


def table() -> dict[int, Entry]:
    """Every process, by process id."""
    return _from_proc() if Path("/proc/self/stat").exists() else _from_ps()


def _from_proc() -> dict[int, Entry]:
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            # pid (command, which may hold anything) state ppid pgrp ...
            state, parent, group = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:3]
            found[int(folder.name)] = Entry(int(parent), int(group), state in "ZX")
    return found


def _from_ps() -> dict[int, Entry]:
    output = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,pgid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in output.stdout.splitlines()]
    return {int(pid): Entry(int(parent), int(group), state[0] in "ZX") for pid, parent, group, state in rows}


def descendants(root: int) -> set[int]:
    """Live processes that descend from `root`, or are in the process group that it leads; without `root` itself."""
    known = table()
    children: dict[int, list[int]] = {}
    for pid, entry in known.items():
        children.setdefault(entry.parent, []).append(pid)
    found: set[int] = set()
    waiting = [root, *(pid for pid, entry in known.items() if entry.group == root)]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting += [child for child in children.get(pid, ()) if child not in found]
    return {pid for pid in found - {root} if pid in known and not known[pid].zombie}


def send(pids: set[int], number: signal.Signals) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def reap(keep: set[int]) -> None:
    """Read the end of every child of this process that has ended, but for those in `keep`, which others read."""
    for pid, entry in table().items():
        if entry.zombie and entry.parent == os.getpid() and pid not in keep:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
