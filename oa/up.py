"""`oa up`, `oa down`, `oa status`: the stack of one machine, from a person's side.

Knows the options, the terminal, and the file `run.json` that tells other commands where the stack is. What the parts
are is in `oa.stack`, how they are kept running in `oa.supervisor`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from core.errors import CODES, OaError, Unavailable
from oa.settings import RUN, exclusive, is_locked, running, var_folder, write_run
from oa.stack import PREFERRED, Plan, check_settings, ensure_bucket, plan
from oa.supervisor import Policy, Status, Supervisor
from oa.terminal import Lines, lists, parts_table

DETACH_SECONDS = 240
"""How long `oa up --detach` waits for every part to be well."""

Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Port to use; an error if it is taken.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def up_command(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when all is up; `oa down` stops it.")] = False,
    only: Annotated[str, typer.Option(help=f"Comma-separated parts to run, of {', '.join(PREFERRED)}.")] = "",
    documents_port: Port = None,
    objects_port: Port = None,
    api_port: Port = None,
    serving_port: Port = None,
    dashboard_port: Port = None,
) -> None:
    """Start and watch the whole stack on this machine: both stores, the API, a serving node, a jobs worker.

    Everything listens on loopback. A part that ends is started again. Ctrl-C stops all of it. Given OA_MONGODB_URI or
    OA_S3_ENDPOINT, those are used instead of embedded stores; given OA_RAY_ADDRESS, the worker uses that cluster.
    State is kept in OA_VAR (`var`).
    """
    var = var_folder()
    if detach:
        _detach(var)
        return
    names = frozenset(name.strip() for name in only.split(",") if name.strip()) or frozenset(PREFERRED)
    ports = dict(zip(PREFERRED, (documents_port, objects_port, api_port, serving_port, dashboard_port), strict=True))
    with exclusive(var):
        try:
            run_stack(var, plan(var, os.environ, ports, names), Console())
        finally:
            with suppress(FileNotFoundError):
                (var / RUN).unlink()


def run_stack(var: Path, what: Plan, console: Console, policy: Policy | None = None) -> None:
    """Run a plan in the foreground until SIGINT, SIGTERM or SIGHUP; `run.json` follows every change."""
    check_settings(what)
    if "objects" in what.given:
        ensure_bucket(what.environment)
    lines = Lines(var / "logs", console)
    record = Record(var, what)
    environment = {**os.environ, **what.environment, "PYTHONUNBUFFERED": "1"}

    def say(name: str, text: str) -> None:
        # What parts say while they are ended (one prints a page of traceback) is of interest in their logs only.
        lines.say(name, text, show=name == "oa" or not supervisor.stopping.is_set())

    supervisor = Supervisor(what.parts, environment, say, lambda: record.write(supervisor), policy)
    record.shown = lambda: console.print(parts_table(record.parts(supervisor), what.given))
    record.write(supervisor)
    asyncio.run(supervisor.run())
    lines.say("oa", "stopped")


class Record:
    """Keeps `run.json` in step with the supervisor and shows the table when everything is well for the first time."""

    def __init__(self, var: Path, what: Plan) -> None:
        self.var = var
        self.what = what
        self.began = datetime.now(UTC).isoformat(timespec="seconds")
        self.shown: Any = None

    def parts(self, supervisor: Supervisor) -> list[dict[str, Any]]:
        """Every part as plain data."""
        return [_plain(status) for status in supervisor.statuses.values()]

    def write(self, supervisor: Supervisor) -> None:
        """Write `run.json`; show the table when all is well for the first time."""
        settled = supervisor.settled()
        about = {"format": 1, "pid": os.getpid(), "started_at": self.began, "settled": settled}
        details = {"environment": self.what.environment, "given": self.what.given, "parts": self.parts(supervisor)}
        write_run(self.var, {**about, **details})
        if settled and self.shown is not None:
            self.shown()
            self.shown = None


def _plain(status: Status) -> dict[str, Any]:
    part = {"name": status.part.name, "address": status.part.address, "missing": status.part.missing}
    now = {"state": status.state, "pid": status.pid, "restarts": status.restarts, "exit_code": status.exit_code}
    return {**part, **now}


def _detach(var: Path) -> None:
    """Start the same command without `--detach` in a session of its own; return when every part is well."""
    if is_locked(var):
        with exclusive(var):  # raises, and says who holds it
            return
    log = var / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--detach", "-d")]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "oa", *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + DETACH_SECONDS
    with Console().status("starting") as shown:
        while not ((found := running(var)) and found["settled"]):
            if process.poll() is not None:
                raise _end(process.returncode, _last_line(log))
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"not every part is well after {DETACH_SECONDS} s; the rest runs on; see `oa status` and {log}"
                )
            shown.update(f"starting: {_waited_for(found)}")
            time.sleep(0.1)
    _show(found, as_json=False)


def _waited_for(found: Mapping[str, Any] | None) -> str:
    """The parts that are not yet well."""
    parts = found["parts"] if found else ()
    return ", ".join(part["name"] for part in parts if part["state"] not in ("running", "missing"))


def _end(exit_code: int, last: str) -> OaError:
    """Why a detached `oa up` ended: its own error where it said one, else what it said last."""
    code, said, message = last.removeprefix("error ").partition(": ")
    if last.startswith("error ") and said and code in CODES:
        return OaError(message, code=code)
    return Unavailable(f"`oa up` ended with exit code {exit_code}: {last}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def down_command() -> None:
    """Stop what `oa up` started, and wait until nothing of it is left."""
    var = var_folder()
    found = running(var)
    if found is None:
        print(f"nothing runs on {var}")
        return
    os.kill(found["pid"], signal.SIGTERM)
    deadline = time.monotonic() + Policy().grace + 20
    while is_locked(var):
        if time.monotonic() > deadline:
            raise Unavailable(f"process {found['pid']} was asked to stop and still runs; see {var / 'logs'}")
        time.sleep(0.05)
    print("stopped")


def status_command(json: AsJson = False) -> None:
    """Show what runs, where, and how often it was restarted. Exit code 1 when nothing runs or a part is not well."""
    var = var_folder()
    found = running(var)
    if found is None:
        print(orjson.dumps({"running": False}).decode() if json else f"nothing runs on {var}; start it with `oa up`")
        raise typer.Exit(1)
    _show(found, json)
    if not all(part["state"] in ("running", "missing") for part in found["parts"]):
        raise typer.Exit(1)


def _show(found: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(orjson.dumps({"running": True, **found}, option=orjson.OPT_INDENT_2).decode())
        return
    lists().print(parts_table(found["parts"], found["given"]))
