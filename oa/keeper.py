"""One small process between the supervisor and each part: it ends the part's whole tree, whatever happens.

Started as `python -m oa.keeper FD GRACE COMMAND...`, in a session of its own. `FD` is one end of a socket pair. The
keeper writes the part's process id to it; when the other end closes, because the supervisor wants the part to stop or
because it was killed, the keeper ends the part. A part may start processes with sessions of their own (Ray does): the
keeper adopts orphans, so all of them stay its descendants, and it leaves only when none is left. If the keeper itself
is killed, the kernel kills the part.

Imports the standard library only, to be small. Does not know what the part is.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable

from oa import processes

TICK = 0.05
"""Seconds between looks at the processes while a tree is being ended."""
AFTER = 3.0
"""Seconds between asking what a part left behind to end and killing it; less where the grace is less."""


class Keeper:
    """The part's process, the socket to the supervisor, and how the part ended."""

    def __init__(self, control: socket.socket, grace: float, command: list[str]) -> None:
        self.control = control
        self.grace = grace
        self.command = command
        self.child = 0
        self.code: int | None = None
        self.hurry = False

    def run(self) -> int:
        """Start the part, wait for its end or for the supervisor's, leave nothing behind; returns its exit code."""
        wake, signalled = os.pipe()
        os.set_blocking(signalled, False)
        signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._no_more_grace)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.child = self._start()
        self.control.sendall(f"{self.child}\n".encode())
        while self.code is None and not self.hurry:
            ready, _, _ = select.select([wake, control := self.control.fileno()], [], [])
            self._reap()
            if wake in ready:
                os.read(wake, 512)
            if control in ready and self._is_closed():
                break
        self._end()
        return self.code if self.code is not None else 128 + signal.SIGKILL

    def _start(self) -> int:
        child = os.fork()
        if child:
            return child
        processes.die_with_parent()
        for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execvp(self.command[0], self.command)  # noqa: S606 - no shell is meant
        except OSError as error:
            print(f"cannot start {self.command[0]}: {error}", file=sys.stderr, flush=True)
            os._exit(127)

    def _no_more_grace(self, *_: object) -> None:
        self.hurry = True

    def _is_closed(self) -> bool:
        try:
            return not self.control.recv(64)
        except ConnectionError:
            return True

    def _reap(self) -> None:
        """Collect every child that ended: the part, and orphans that became children of this process."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                code = os.waitstatus_to_exitcode(status)
                self.code = code if code >= 0 else 128 - code

    def _end(self) -> None:
        if self.code is None:
            processes.send({self.child}, signal.SIGTERM)
            self._wait(lambda: self.code is not None, self.grace)
        if left := processes.descendants(os.getpid()):
            processes.send(left, signal.SIGTERM)
            self._wait(lambda: not processes.descendants(os.getpid()), min(AFTER, self.grace))
        while left := processes.descendants(os.getpid()):
            processes.send(left, signal.SIGKILL)
            self._wait(lambda: False, TICK)
        self._reap()

    def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.hurry or seconds == TICK:
            self._reap()
            if done() or time.monotonic() > deadline:
                return
            time.sleep(TICK)


def main(arguments: list[str]) -> int:
    """Keep `arguments[2:]`, controlled by file descriptor `arguments[0]`, with `arguments[1]` seconds of grace."""
    os.set_inheritable(int(arguments[0]), False)
    processes.adopt_orphans()
    with socket.socket(fileno=int(arguments[0])) as control:
        return Keeper(control, float(arguments[1]), arguments[2:]).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
