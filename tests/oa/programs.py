"""Small programs that the supervisor's tests keep running. `python programs.py stack FOLDER` runs them under it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ME = str(Path(__file__).resolve())


def listen(port: int) -> None:
    """Answer HTTP with 200, one connection at a time."""
    with socket.create_server(("127.0.0.1", port)) as server:
        print("listening", flush=True)
        while True:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def family(folder: Path) -> None:
    """Start a child in a session of its own whose own child outlives it, as a cluster's daemons do; then wait."""
    subprocess.Popen([sys.executable, ME, "orphan", str(folder)], start_new_session=True).wait()
    time.sleep(3600)


def orphan(folder: Path) -> None:
    """Leave behind a process that ignores SIGTERM, and end."""
    child = subprocess.Popen([sys.executable, ME, "stubborn", str(folder)], start_new_session=True)
    (folder / "orphan.pid").write_text(str(child.pid))


def stubborn(folder: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / "stubborn.ready").touch()
    time.sleep(3600)


def crash(folder: Path) -> None:
    """End at once with exit code 3."""
    print(f"crash in {folder}", flush=True)
    sys.exit(3)


def stack(folder: Path) -> None:
    """The supervisor over `listen`, `family`, `crash`, and a part that cannot run here."""
    from rich.console import Console

    from oa import up
    from oa.embedded import free_port
    from oa.health import answers
    from oa.settings import exclusive
    from oa.stack import Plan
    from oa.supervisor import Part, Policy

    port = int(os.environ.get("LISTEN_PORT") or free_port())
    program = [sys.executable, ME]
    parts = [
        Part("listen", [*program, "listen", str(port)], answers(port, "/"), f"http://127.0.0.1:{port}"),
        Part("family", [*program, "family", str(folder)], needs=("listen",)),
        Part("absent", ["nothing"], missing="nothing is not installed"),
        Part("crash", [*program, "crash", str(folder)], answers(free_port(), "/"), needs=("listen",)),
    ]
    wanted = os.environ.get("PARTS", "listen,family,absent").split(",")
    chosen = [part for part in parts if part.name in wanted]
    policy = Policy(first_delay=0.05, last_delay=0.4, start=20, silent=1.5, interval=0.1, grace=0.5)
    with exclusive(folder):
        up.run_stack(folder, Plan(chosen, {"OA_VAR": str(folder)}), Console(no_color=True, width=200), policy)


if __name__ == "__main__":
    name, argument = sys.argv[1:3]
    {"listen": lambda: listen(int(argument))}.get(name, lambda: globals()[name](Path(argument)))()
