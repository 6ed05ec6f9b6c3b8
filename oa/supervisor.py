"""Keeps parts running: starts them in order, restarts what dies or hangs, leaves nothing behind.

Knows parts only as commands with a health check. Each runs under a keeper (`oa.keeper`) that ends its whole process
tree when the part must stop or when this process is killed, however it is killed. Does not know what the parts are
(`oa.stack`) or how a person calls it (`oa.up`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from core.errors import OaError
from oa import processes
from oa.health import Check

STARTING_PAUSE = 0.1
"""Seconds between health checks of a part that has not answered yet."""
LINE_LIMIT = 1 << 20
"""Bytes of one log line; a longer one is cut."""


@dataclass(frozen=True)
class Part:
    """One program to keep running.

    Attributes:
        name: short, unique.
        command: program and arguments.
        check: whether it answers; None: it is well as long as it runs.
        address: where it is found, for people; empty if nowhere.
        needs: names of parts that must have been well before this one starts.
        prepare: blocking call made once, when the part is well for the first time (make the bucket).
        missing: why it cannot run here; such a part is shown and not started.
    """

    name: str
    command: Sequence[str]
    check: Check | None = None
    address: str = ""
    needs: tuple[str, ...] = ()
    prepare: Callable[[], None] | None = None
    missing: str = ""


class State(StrEnum):
    """Where a part is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPED = "stopped"
    MISSING = "missing"


@dataclass
class Status:
    """What is known of one part. `pid` is the part's own, not its keeper's; `exit_code` is the last one."""

    part: Part
    state: State = State.WAITING
    pid: int | None = None
    restarts: int = 0
    exit_code: int | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event, repr=False)


@dataclass(frozen=True)
class Policy:
    """How patient the supervisor is; all in seconds.

    A part that ends is started again after `first_delay`, then twice as long each time up to `last_delay`; one that
    ran for `steady` starts over with `first_delay`. One that does not answer for `start` after its start, or for
    `silent` later, is ended and started again. `grace` is what it gets between being asked to end and being killed.
    """

    first_delay: float = 0.5
    last_delay: float = 30.0
    steady: float = 60.0
    start: float = 180.0
    silent: float = 60.0
    interval: float = 1.0
    grace: float = 10.0

    def delay(self, failures: int) -> float:
        """Wait before the restart after `failures` (from 1) ends in a row."""
        return float(min(self.first_delay * 2 ** min(failures - 1, 30), self.last_delay))


Say = Callable[[str, str], None]
"""Shows one line: the part's name, the text."""


class Supervisor:
    """Runs `parts` until asked to stop.

    Args:
        parts: what to run; `needs` name others of them.
        environment: of every part.
        say: shows a line of a part, or of the supervisor itself (named `oa`).
        changed: called after every change of a part's state.
        policy: how patient to be.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        environment: Mapping[str, str],
        say: Say,
        changed: Callable[[], None] = lambda: None,
        policy: Policy | None = None,
    ) -> None:
        self.statuses = {part.name: Status(part) for part in parts}
        self.environment = dict(environment)
        self.say = say
        self.changed = changed
        self.policy = policy or Policy()
        self.stopping = asyncio.Event()
        self._keepers: dict[int, asyncio.subprocess.Process] = {}
        self._starting = asyncio.Lock()

    async def run(self) -> None:
        """Start everything, keep it running, return when all parts have ended after a stop."""
        processes.adopt_orphans()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop)
        async with asyncio.TaskGroup() as group:
            for status in self.statuses.values():
                group.create_task(self._keep(status))

    def stop(self) -> None:
        """Ask every part to end; asked a second time, end them without grace."""
        if self.stopping.is_set():
            self.say("oa", "stopping at once")
            for keeper in self._keepers.values():
                keeper.terminate()
            return
        self.say("oa", "stopping; once more to stop at once")
        self.stopping.set()

    def settled(self) -> bool:
        """Whether every part that can run is well."""
        return all(status.ready.is_set() for status in self.statuses.values() if status.state != State.MISSING)

    async def _keep(self, status: Status) -> None:
        if reason := self._missing(status.part):
            self.say(status.part.name, f"not started: {reason}")
            self._set(status, State.MISSING)
            return
        for need in status.part.needs:
            await self._unless_stopping(self.statuses[need].ready.wait())
        failures = 0
        while not self.stopping.is_set():
            began = time.monotonic()
            status.exit_code = await self._run_once(status)
            if self.stopping.is_set():
                break
            failures = 1 if time.monotonic() - began > self.policy.steady else failures + 1
            delay = self.policy.delay(failures)
            status.restarts += 1
            # Said before it shows: who sees the count finds the line.
            self.say(
                status.part.name,
                f"ended with {_ending(status.exit_code)}; restart {status.restarts} in {delay:g} s",
            )
            self._set(status, State.RESTARTING)
            await self._unless_stopping(asyncio.sleep(delay))
        self._set(status, State.STOPPED)

    def _missing(self, part: Part) -> str:
        """Why `part` cannot run, itself or for want of another; empty if it can."""
        reasons = (f"needs {need}, which cannot run here" for need in part.needs if self._missing_need(need))
        return part.missing or next(reasons, "")

    def _missing_need(self, name: str) -> bool:
        return name not in self.statuses or bool(self._missing(self.statuses[name].part))

    async def _run_once(self, status: Status) -> int:
        """Start the part, follow its output and health until it ends; returns its exit code."""
        ours, keepers = socket.socketpair()
        # A pipe of our own: with asyncio's, `wait` would wait for the pipe's end too, and a killed keeper's orphans
        # hold that open.
        output, theirs = os.pipe()
        async with self._starting:
            keeper = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "oa.keeper", str(keepers.fileno()), str(self.policy.grace)),
                *status.part.command,
                stdin=asyncio.subprocess.DEVNULL, stdout=theirs, stderr=asyncio.subprocess.STDOUT,
                env=self.environment, pass_fds=(keepers.fileno(),), start_new_session=True,
            )  # fmt: skip
            self._keepers[keeper.pid] = keeper
        keepers.close()
        os.close(theirs)
        helpers = [asyncio.create_task(self._follow(status, ours)), asyncio.create_task(self._watch(status, ours))]
        reading = asyncio.create_task(self._read(status.part.name, output))
        try:
            code = await keeper.wait()
        finally:
            for helper in helpers:
                helper.cancel()
            ours.close()
            await self._forget(keeper.pid)
        await reading  # last: what a killed keeper left behind has held the output open until now
        status.pid = None
        return code

    async def _follow(self, status: Status, ours: socket.socket) -> None:
        """Learn the part's process id; close the keeper's socket when all must stop."""
        ours.setblocking(False)
        line = await asyncio.get_running_loop().sock_recv(ours, 64)
        status.pid = int(line) if line.strip() else None
        self._set(status, State.STARTING)
        await self.stopping.wait()
        _end(ours)

    async def _watch(self, status: Status, ours: socket.socket) -> None:
        """Note when the part is well; have it ended when it was not for too long."""
        seen, patience, pause = time.monotonic(), self.policy.start, STARTING_PAUSE
        while time.monotonic() - seen < patience:
            if await self._is_well(status):
                seen, patience, pause = time.monotonic(), self.policy.silent, self.policy.interval
            await asyncio.sleep(pause)
        self.say(status.part.name, f"has not answered for {patience:g} s: ended")
        _end(ours)

    async def _is_well(self, status: Status) -> bool:
        part = status.part
        if status.pid is None or not (part.check is None or await part.check()):
            return False
        if status.state == State.RUNNING:
            return True
        try:
            if part.prepare is not None and not status.ready.is_set():
                await asyncio.to_thread(part.prepare)
        except OaError as error:
            self.say(part.name, f"answers, but: {error.message}")
            return False
        status.ready.set()
        self.say(part.name, f"runs{f' at {part.address}' if part.address else ''} (process {status.pid})")
        self._set(status, State.RUNNING)
        return True

    async def _read(self, name: str, output: int) -> None:
        """Show each line that the part writes until nobody holds the other end of its output."""
        reader = asyncio.StreamReader(LINE_LIMIT)
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(output, "rb", 0))
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError as last:
                line = last.partial
            except asyncio.LimitOverrunError as long:
                line = await reader.readexactly(long.consumed)
            if not line:
                return
            self.say(name, line.decode(errors="replace").rstrip())

    async def _forget(self, pid: int) -> None:
        """Strike a keeper that ended; if it was killed, end what it kept, which is now this process's child."""
        async with self._starting:
            del self._keepers[pid]
            kept = {child for keeper in self._keepers for child in (keeper, *processes.descendants(keeper))}
            while left := {one for one in processes.descendants(os.getpid()) - kept if not _in_our_group(one)}:
                processes.send(left, signal.SIGKILL)
                await asyncio.sleep(0.02)
            processes.reap(set(self._keepers))

    async def _unless_stopping(self, waiting: Awaitable[object]) -> None:
        """Await `waiting`, or the stop if that comes first."""
        tasks = [asyncio.ensure_future(waiting), asyncio.create_task(self.stopping.wait())]
        _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()

    def _set(self, status: Status, state: State) -> None:
        status.state = state
        self.changed()


def _in_our_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == os.getpgrp()
    except ProcessLookupError:
        return True


def _end(ours: socket.socket) -> None:
    """Close this side for writing: the keeper sees the end and ends its part."""
    try:
        ours.shutdown(socket.SHUT_WR)
    except OSError:  # the keeper has ended already
        return


def _ending(code: int | None) -> str:
    """`exit code 3`, or `signal 9` where a signal ended it."""
    if code is None:
        return "no exit code"
    number = -code if code < 0 else code - 128
    return f"signal {number}" if number > 0 else f"exit code {code}"
