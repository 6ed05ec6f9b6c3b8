"""`oa up`, `oa down`, `oa status`, `oa doctor`, `oa users` as a person types them, with the real embedded stores."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from rich.console import Console
from watched import Stack, until

from core.errors import BadInput
from core.objects import ObjectStore
from oa import main, settings, stack, terminal
from oa.embedded import free_port
from oa.health import Check

STORES = ("-m", "oa", "up", "--only", "documents,objects")


def oa(*arguments: str, var: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `oa` to its end."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OA_")}
    return subprocess.run(
        [sys.executable, "-m", "oa", *arguments],
        env={**inherited, "OA_VAR": str(var), "COLUMNS": "160", **environment},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture
def up(stack: Stack) -> Stack:
    """Both embedded stores under `oa up`, on any free ports."""
    ports = ("--documents-port", str(free_port()), "--objects-port", str(free_port()))
    stack.start(*STORES, *ports)
    stack.settle()
    return stack


def test_other_commands_find_the_stores_and_data_outlives_a_kill(up: Stack) -> None:
    environment = settings.settings({"OA_VAR": str(up.var)})
    store = ObjectStore.from_env(environment)
    store.put("kept", b"1")
    os.kill(up.part("objects")["pid"], signal.SIGKILL)
    os.kill(up.part("documents")["pid"], signal.SIGKILL)
    until(lambda: all(part["restarts"] == 1 and part["state"] == "running" for part in up.run()["parts"]))
    assert store.get("kept") == b"1"
    listed = oa("users", "list", var=up.var)
    assert listed.returncode == 0, listed.stderr
    shown = json.loads(oa("status", "--json", var=up.var).stdout)
    assert {part["name"]: part["restarts"] for part in shown["parts"]} == {"documents": 1, "objects": 1}
    assert "documents" in oa("status", var=up.var).stdout


def test_a_second_up_on_the_same_folder_says_so(up: Stack) -> None:
    second = oa("up", "--only", "objects", var=up.var)
    assert second.returncode == 2
    assert second.stderr.startswith("error CONFLICT: `oa up` runs already on")
    assert str(up.process.pid) in second.stderr
    assert oa("up", "--detach", var=up.var).returncode == 2
    assert up.run()["settled"]


def test_down_stops_everything_and_forgets_the_addresses(up: Stack) -> None:
    assert oa("down", var=up.var).stdout == "stopped\n"
    assert up.process.wait(10) == 0
    assert up.alive() == []
    assert not (up.var / "run.json").exists()
    assert settings.settings({"OA_VAR": str(up.var)}) == {"OA_VAR": str(up.var)}
    assert oa("status", var=up.var).returncode == 1
    assert "nothing runs" in oa("down", var=up.var).stdout


def test_what_a_killed_supervisor_wrote_is_not_believed(up: Stack) -> None:
    up.process.kill()
    up.process.wait(10)
    assert (up.var / "run.json").exists()
    assert settings.running(up.var) is None
    up.none_left()
    up.start(*STORES)
    until(lambda: settings.running(up.var) is not None, what="a new start on the same folder")
    up.settle()


def test_detach_returns_when_all_is_well(stack: Stack) -> None:
    process = stack.start(*STORES, "--detach", "--objects-port", str(free_port()))
    assert process.wait(60) == 0, stack.log.read_text()
    assert "running" in stack.log.read_text()
    assert stack.alive() != []
    assert oa("down", var=stack.var).returncode == 0
    stack.none_left()


def test_an_asked_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        run = oa("up", "--only", "objects", "--objects-port", port, var=tmp_path)
        assert run.returncode == 2
        assert run.stderr.startswith(f"error PORT_IN_USE: port {port}")
        detached = oa("up", "--detach", "--only", "objects", "--objects-port", port, var=tmp_path)
        assert detached.returncode == 2
        assert detached.stderr.startswith(f"error PORT_IN_USE: port {port}"), detached.stderr


def test_an_unknown_part_is_named(tmp_path: Path) -> None:
    run = oa("up", "--only", "documents,spleen", var=tmp_path)
    assert (run.returncode, run.stderr.split(":")[0]) == (2, "error BAD_INPUT")
    assert "'spleen'" in run.stderr


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("OA_MODE", "foo", "OA_MODE is 'foo'; it must be one of production, embedded"),
        ("OA_MODE", "production", "OA_TOKEN_KEY_FILE is not set"),
        ("OA_MONGODB_URI", "nonsense", "OA_MONGODB_URI must be mongodb://HOST:PORT"),
        ("OA_S3_ENDPOINT", "nonsense", "OA_S3_ENDPOINT is 'nonsense'; OA_S3_ENDPOINT must be http://HOST:PORT"),
        ("OA_S3_BUCKET", "no bucket", "OA_S3_BUCKET is 'no bucket'"),
        ("OA_SERVE_SLOTS", "many", "OA_SERVE_SLOTS is 'many'"),
        ("OA_JOB_BEAT_SECONDS", "soon", "OA_JOB_BEAT_SECONDS is 'soon'"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_starts(tmp_path: Path, name: str, value: str, says: str) -> None:
    with pytest.raises(BadInput, match=re.escape(says)):
        stack.check_settings(stack.plan(tmp_path, {name: value}, {}))


def test_nothing_is_left_of_a_start_with_a_wrong_setting(tmp_path: Path) -> None:
    run = oa("up", "--only", "api,documents,objects", var=tmp_path, OA_MODE="foo")
    assert (run.returncode, run.stderr.split(";")[0]) == (2, "error BAD_INPUT: OA_MODE is 'foo'")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["run.lock"]


def test_the_worker_is_well_when_its_ray_answers(tmp_path: Path) -> None:
    port = free_port()
    worker = next(part for part in stack.plan(tmp_path, {}, {"worker": port}).parts if part.name == "worker")
    assert worker.check is not None
    assert not asyncio.run(worker.check())
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert asyncio.run(answered(port, answer, worker.check))
    assert asyncio.run(worker.check()), "a job goes on when the dashboard has gone"


async def answered(port: int, answer: bytes, check: Check) -> bool:
    """What `check` says while `port` gives `answer` to whoever asks."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        return await check()


def test_a_preferred_port_that_is_taken_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert stack.choose_port(None, port) != port
    assert stack.choose_port(None, port) == port


def test_given_addresses_replace_our_own_stores(tmp_path: Path) -> None:
    given = {"OA_MONGODB_URI": "mongodb://u:secret@db:27017", "OA_S3_ENDPOINT": "http://store:9000", "HOME": "/x"}
    what = stack.plan(tmp_path, given, {})
    assert {part.name for part in what.parts} == {"api", "serving", "worker"}
    assert all(part.needs == () for part in what.parts)
    assert what.environment["OA_MONGODB_URI"] == given["OA_MONGODB_URI"]
    assert what.environment["OA_MODE"] == "embedded"
    assert "HOME" not in what.environment
    assert terminal.without_password(what.given["documents"]) == "mongodb://...@db:27017"


def test_a_given_ray_cluster_gets_no_dashboard_of_ours(tmp_path: Path) -> None:
    what = stack.plan(tmp_path, {"OA_RAY_ADDRESS": "head:6379"}, {}, frozenset({"objects", "worker"}))
    worker = next(part for part in what.parts if part.name == "worker")
    assert worker.address == "head:6379"
    assert "--dashboard-port" not in worker.command


def test_a_part_without_its_extra_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stack.NEEDS, "worker", ("jobs", ("no_such_package",)))
    what = stack.plan(tmp_path, {}, {})
    reasons = {part.name: part.missing for part in what.parts}
    assert "no_such_package not installed" in reasons["worker"]
    assert "'.[jobs]'" in reasons["worker"]
    assert {name for name, reason in reasons.items() if reason} == {"worker"}


def test_every_part_has_needs_a_port_and_an_extra(tmp_path: Path) -> None:
    what = stack.plan(tmp_path, {}, {})
    assert [part.name for part in what.parts] == list(stack.PREFERRED) == list(stack.NEEDS)
    assert {need for part in what.parts for need in part.needs} <= set(stack.PREFERRED)


def test_run_json_is_private(up: Stack) -> None:
    assert stat.S_IMODE((up.var / "run.json").stat().st_mode) == 0o600


def test_one_store_named_by_hand_brings_no_half_of_another_stack(up: Stack) -> None:
    named = {"OA_VAR": str(up.var), "OA_MONGODB_URI": "mongodb://elsewhere"}
    assert settings.settings(named) == named


def test_log_lines_are_kept_and_chatter_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = terminal.Lines(tmp_path / "logs", Console(width=80))
    lines.say("objects", '2026-01-01 [INFO]: 127.0.0.1 "GET /b/k HTTP/1.1" 200 -')
    lines.say("api", "[red]not markup[/]")
    assert capsys.readouterr().out == "api       | [red]not markup[/]\n"
    assert "GET /b/k" in (tmp_path / "logs" / "objects.log").read_text()


@pytest.mark.parametrize(("width", "terminal_there"), [(80, True), (20, False)])
def test_a_list_shows_names_whole(width: int, terminal_there: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal_there, color_system=None)
    table = terminal.names_table("model", "made", "job")
    name, job = f"assistant@{'0123456789ab' * 3}", "01a203b5-7fa1-7d9e-8a3d-6c1787fe29b5"
    table.add_row(name, "2026-01-01T00:00:00", job)
    terminal.lists(console).print(table)
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert f"{name}  2026-01-01T00:00:00  01a203b5" in text
    assert (job in text) is not terminal_there


def test_what_parts_say_at_the_end_is_kept_and_not_shown(up: Stack) -> None:
    os.killpg(up.process.pid, signal.SIGTERM)
    assert up.process.wait(20) == 0
    shown = up.log.read_text()
    assert "Traceback" not in shown
    assert "oa        | stopped" in shown


def test_doctor_sees_what_is_there_and_what_is_not(up: Stack) -> None:
    run = oa("doctor", "--json", var=up.var)
    found = {one["subject"]: one for one in json.loads(run.stdout)}
    assert found["OA_S3_ENDPOINT"]["level"] == found["bucket"]["level"] == "ok", run.stdout
    assert found["model assistant"]["level"] == "note"
    assert found["ports"]["level"] == "ok"


def test_doctor_fails_on_an_address_that_does_not_answer(tmp_path: Path) -> None:
    address = f"mongodb://u:secret@127.0.0.1:{free_port()}/?x=1"
    run = oa("doctor", var=tmp_path, OA_MONGODB_URI=address, OA_S3_ENDPOINT="http://127.0.0.1:nonsense")
    assert run.returncode == 1
    assert "OA_MONGODB_URI" in run.stdout
    assert "does not answer" in run.stdout
    assert "secret" not in run.stdout
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("nonsense", "error BAD_INPUT: OA_MONGODB_URI must be mongodb://HOST:PORT"),
        ("mongodb://u:secret@h:99999", "error BAD_INPUT: OA_MONGODB_URI is no address of a document store"),
        ("mongodb://u:secret@127.0.0.1:1", "error UNAVAILABLE: the document store does not answer"),
    ],
)
def test_users_of_a_store_that_is_none(tmp_path: Path, uri: str, says: str) -> None:
    run = oa("users", "list", var=tmp_path, OA_MONGODB_URI=uri)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(says)
    assert len(run.stderr.splitlines()) == 1
    assert "secret" not in run.stderr


def test_users_roles_and_tokens(up: Stack) -> None:
    import asyncio

    from api.keys import load_keys
    from api.tokens import Tokens
    from core.accounts import Accounts
    from core.database import connect

    async def make() -> str:
        async with connect(settings.settings({"OA_VAR": str(up.var)})["OA_MONGODB_URI"]) as client:
            return (await Accounts(client["open_assistant"]).ensure_user("test", "ada", "Ada")).id

    user = asyncio.run(make())
    changed = oa("users", "set-roles", user, "moderator", "contributor", "--json", var=up.var)
    assert changed.returncode == 0, changed.stderr
    assert set(json.loads(changed.stdout)["roles"]) == {"moderator", "contributor"}
    token = oa("users", "token", user, var=up.var)
    assert token.returncode == 0, token.stderr
    claims = Tokens(load_keys(up.var / "keys" / "token.pem"), "open-assistant", 900).verify(token.stdout.strip())
    assert claims.subject == user
    assert claims.roles == {"moderator", "contributor"}
    assert oa("users", "set-roles", user, "emperor", var=up.var).stderr.startswith("error BAD_INPUT")
    assert oa("users", "token", "nobody", var=up.var).stderr.startswith("error NOT_FOUND")


def test_users_without_a_store_says_what_to_do(tmp_path: Path) -> None:
    run = oa("users", "list", var=tmp_path)
    assert (run.returncode, "OA_MONGODB_URI" in run.stderr) == (2, True)


def test_help_names_every_command_and_imports_no_driver(tmp_path: Path) -> None:
    run = oa("--help", var=tmp_path)
    assert run.returncode == 0
    assert [name for name in main.ENTRIES if f" {name} " not in run.stdout] == []


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main.cli.main(["--version"], prog_name="oa")
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert (end.value.code, capsys.readouterr().out) == (0, f"oa {project['version']}\n")


@pytest.mark.parametrize("name", main.ENTRIES)
def test_every_command_loads_and_shows_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = main.load(name)
    assert command.name == name
    assert command.help
    for words in ([], *([child] for child in getattr(command, "commands", ()))):
        with pytest.raises(SystemExit) as end:
            command.main([*words, "--help"], prog_name=f"oa {name}")
        assert end.value.code == 0, words
        assert f"Usage: oa {name}" in capsys.readouterr().out


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def absent(**_: object) -> None:
        raise ModuleNotFoundError("No module named 'ray.train'", name="ray.train")

    monkeypatch.setattr(main.cli, "main", absent)
    with pytest.raises(SystemExit) as end:
        main.app()
    assert end.value.code == 2
    assert "'.[jobs]'" in capsys.readouterr().err
