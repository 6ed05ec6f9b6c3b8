"""`oa import`, `oa export` and `oa snapshot` as a person runs them, against real stores."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import shlex
import subprocess
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
from data_forms import SAMPLES, read

from core.database import Database
from core.objects import ObjectStore
from oa.embedded import free_port
from oa.main import app

CONFIGS = Path(__file__).resolve().parents[2] / "jobs" / "configs"


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


class Shell:
    """Runs `oa` in this process, as a shell would see it, with the stores of this test and no running stack."""

    def __init__(
        self, environment: dict[str, str], patch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]
    ) -> None:
        self.environment, self.patch, self.output = environment, patch, output

    def __call__(self, *arguments: str, given: str = "", **changed: str) -> Done:
        with self.patch.context() as patch:
            for name, value in {**self.environment, **changed}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["oa", *arguments])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
            with pytest.raises(SystemExit) as ended:
                app()
        out, err = self.output.readouterr()
        return Done(int(ended.value.code or 0), out, err)


@pytest.fixture
def environment(mongodb_uri: str, database: Database, store: ObjectStore, tmp_path: Path) -> dict[str, str]:
    return {
        "OA_MONGODB_URI": mongodb_uri,
        "OA_MONGODB_DATABASE": database.name,
        "OA_S3_ENDPOINT": str(store.endpoint),
        "OA_S3_BUCKET": store.bucket,
        "OA_VAR": str(tmp_path / "var"),
    }


@pytest.fixture
def oa(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(environment, monkeypatch, capsys)


def test_from_a_file_into_the_store_into_a_snapshot_and_out_again(oa: Shell, tmp_path: Path) -> None:
    done = oa("import", str(SAMPLES / "trees.jsonl"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "imported 63 trees with 312 messages and 243 rankings; 0 trees unchanged, 0 lines bad" in done.stdout

    out = tmp_path / "out.jsonl.gz"
    done = oa("export", str(out), "--json")
    assert json.loads(done.stdout) == {
        "trees": 63,
        "messages": 312,
        "seen": 63,
        "total": 63,
        "resumed": 0,
        "whole": True,
    }
    assert read(out) == read(SAMPLES / "trees.jsonl")

    done = oa("snapshot", "freeze", "preference", "pairs", "--lang", "en", "--lang", "de", "--json")
    manifest = json.loads(done.stdout)
    assert manifest["counts"]["trees"] == 30
    assert manifest["filters"]["langs"] == ["de", "en"]
    name = f"pairs/{manifest['version']}"
    assert json.loads(oa("snapshot", "show", name, "--json").stdout) == manifest
    assert name in oa("snapshot", "list", COLUMNS="200").stdout


def test_from_standard_input_to_standard_output(oa: Shell) -> None:
    line = '{"message_tree_id": "a", "prompt": {"message_id": "a", "text": "hello", "role": "prompter"}}'
    done = oa("import", "-", "--on-error", "skip", "--json", given=f"{line}\nnonsense\n")
    report = json.loads(done.stdout)
    assert (report["trees"], report["bad"]) == (1, 1)
    assert "skipped line 2: no JSON" in done.stderr
    assert json.loads(oa("export", "-").stdout) == json.loads(line)


@pytest.mark.parametrize(
    ("changed", "arguments", "says"),
    [
        ({}, ["import", "missing.jsonl"], "error BAD_INPUT: cannot read 'missing.jsonl'"),
        ({}, ["export", "-", "--state", "done"], "error BAD_INPUT: tree state 'done' is none of"),
        ({}, ["snapshot", "freeze", "sft", "nothing"], "error BAD_INPUT: no sft rows"),
        ({}, ["snapshot", "show", "nothing"], "error BAD_INPUT: 'nothing' names no snapshot; the form is NAME/VERSION"),
        ({}, ["snapshot", "show", "no/such"], "error NOT_FOUND: there is no snapshot 'no' of version 'such'"),
        ({"OA_S3_BUCKET": "elsewhere"}, ["snapshot", "list"], "error BUCKET_MISSING: bucket 'elsewhere'"),
        ({"OA_MONGODB_URI": ""}, ["export", "-"], "error BAD_INPUT: OA_MONGODB_URI is not set"),
        ({"OA_MONGODB_URI": f"mongodb://127.0.0.1:{free_port()}"}, ["export", "-"], "error UNAVAILABLE: the document"),
    ],
)
def test_what_goes_wrong_is_one_line_and_exit_code_2(
    oa: Shell, changed: dict[str, str], arguments: list[str], says: str
) -> None:
    done = oa(*arguments, **changed)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(says)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["snapshot", "list"], ["snapshot", "show", "a/b"], ["snapshot", "freeze", "sft", "a"],
        ["jobs", "launch", str(CONFIGS / "tiny.json")], ["jobs", "list"], ["jobs", "show", "a"], ["jobs", "logs", "a"],
        ["jobs", "logs", "-f", "a"], ["jobs", "cancel", "a"],
        ["models", "list"], ["models", "promote", "a@1"], ["models", "pull", "a@1", "there"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_command_names_a_bucket_that_is_not_there(
    oa: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = oa(*arguments, OA_S3_BUCKET="elsewhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error BUCKET_MISSING: bucket 'elsewhere' does not exist at http")
    assert not (tmp_path / "there").exists()


def test_a_broken_line_is_named_and_nothing_of_its_tree_is_there(oa: Shell) -> None:
    whole = '{"message_tree_id": "a", "prompt": {"message_id": "a", "text": "hello", "role": "prompter"}}'
    torn = '{"message_tree_id": "b", "prompt": {"message_id": "b", "text": "hel'
    done = oa("import", "-", given=f"{whole}\n{torn}")
    assert done.returncode == 2
    assert done.stderr.startswith("error BAD_RECORD: line 2: no JSON: ")
    assert done.stderr.endswith("stays as it is), or leave such lines out by --on-error skip\n")
    assert '"b"' not in oa("export", "-").stdout


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no device that is always full")
def test_a_full_disk_is_said_and_a_device_is_written_to(oa: Shell, tmp_path: Path) -> None:
    oa("import", str(SAMPLES / "trees.jsonl"))
    full = tmp_path / "full"
    full.symlink_to("/dev/full")  # by a link, so that a defect would replace that and not the device
    done = oa("export", str(full))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error BAD_INPUT: cannot write '{full}': No space left on device\n"
    assert full.is_symlink()
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_no_space_for_a_model_is_one_line(oa: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "there/model.onnx")

    monkeypatch.setattr("oa.models.load_version", full)
    done = oa("models", "pull", "a@1", "there")
    assert (done.returncode, done.stderr) == (
        2, "error UNAVAILABLE: no space is left on the disk (there/model.onnx); free some and go on\n",
    )  # fmt: skip


def test_a_data_set_of_the_hub_that_cannot_be_reached_is_said_so(environment: dict[str, str], tmp_path: Path) -> None:
    """In a process of its own: the library reads its settings when it is imported."""
    nowhere = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    command = [sys.executable, "-m", "oa.main", "import", "oasst2"]
    done = subprocess.run(
        command, env={**os.environ, **environment, **nowhere}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert "error UNAVAILABLE: data set 'OpenAssistant/oasst2' cannot be read from the Hugging Face hub" in done.stderr
    assert "download a .jsonl.gz file" in done.stderr


class _Hub(BaseHTTPRequestHandler):
    """As much of the Hugging Face hub as its client asks for to list and fetch the files of one data set."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/api/datasets/some/trees"):
            listed = [
                {"type": "file", "path": name, "rfilename": name, "size": len(data), "oid": "0" * 40}
                for name, data in self.files.items()
            ]
            about = {"id": "some/trees", "sha": "1" * 40, "siblings": listed}
            self._answer(200, json.dumps(listed if "/tree/" in path else about).encode())
        elif (name := path.partition("/datasets/some/trees/resolve/")[2].partition("/")[2]) in self.files:
            data = self.files[name]
            self._answer(200, data, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": "1" * 40})
        else:
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_data_set_comes_from_a_hub(oa: Shell, environment: dict[str, str], tmp_path: Path) -> None:
    """The hub's own client, in a process of its own, against a hub on loopback."""
    pytest.importorskip("huggingface_hub")
    oa("import", str(SAMPLES / "trees.jsonl"))
    oa("export", f"{tmp_path}/rows/", "--format", "parquet", "--per-part", "200")
    parts = sorted((tmp_path / "rows").iterdir())
    _Hub.files = {f"data/train-{path.name}": path.read_bytes() for path in parts} | {"README.md": b"# trees"}
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        hub = {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}", "HF_HOME": str(tmp_path / "hub"),
            "OA_MONGODB_DATABASE": f"{environment['OA_MONGODB_DATABASE']}_hub", "HF_HUB_DISABLE_XET": "1",
        }  # fmt: skip
        done = [
            subprocess.run(
                [sys.executable, "-m", "oa.main", "import", source, "--dry-run", "--json"],
                env={**os.environ, **environment, **hub}, capture_output=True, text=True, timeout=120, check=False,
            )
            for source in ("hf:some/trees", f"hf:some/trees/data/train-{parts[0].name}", "hf:some/others")
        ]  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
    assert [each.returncode for each in done] == [0, 0, 2], done
    assert json.loads(done[0].stdout)["trees"] == 63
    assert 0 < json.loads(done[1].stdout)["trees"] < 63
    assert "error UNAVAILABLE: data set 'some/others' cannot be read from the Hugging Face hub" in done[2].stderr


def test_bad_lines_go_to_a_file_and_an_export_is_anonymised(oa: Shell, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    (tmp_path / "in.jsonl").write_bytes((SAMPLES / "trees.jsonl").read_bytes() + b"nonsense\n{}\n")
    done = oa("import", str(tmp_path / "in.jsonl"), "--on-error", "skip", "--bad", str(bad))
    assert done.returncode == 0
    assert [json.loads(line)["line"] for line in bad.read_text().splitlines()] == [64, 65]
    (tmp_path / "several").mkdir()
    (tmp_path / "several" / "a.jsonl").write_text("nonsense\n")
    (tmp_path / "several" / "b.jsonl").write_text("\n{}\n")
    oa("import", str(tmp_path / "several"), "--on-error", "skip", "--bad", str(bad))
    named = [(each["file"], each["line"]) for each in map(json.loads, bad.read_text().splitlines())]
    assert named == [("a.jsonl", 1), ("b.jsonl", 2)]
    refused = oa("export", "-", "--anonymise")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error BAD_INPUT: the salt has 0 characters; set OA_EXPORT_SALT")
    assert "parts of --anonymise" in oa("export", "-", "--scrub-pii").stderr
    salted = oa("export", "-", "--anonymise", "--dates", "day", "--format", "messages", OA_EXPORT_SALT="x" * 32)
    assert len(salted.stdout.splitlines()) == 312
    assert oa("export", f"{tmp_path}/reports.jsonl", "--reports", "--json").stdout.strip().endswith('"reports": 0\n}')


def test_the_commands_of_the_page_do_what_they_say(
    oa: Shell, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (CONFIGS.parents[1] / "docs" / "data.md").read_text("utf-8")
    lines = page.partition("```sh\n")[2].partition("```")[0].replace("BUCKET", store.bucket).splitlines()
    monkeypatch.chdir(tmp_path)
    Path("trees.jsonl.gz").write_bytes(gzip.compress((SAMPLES / "trees.jsonl").read_bytes()))
    salt: dict[str, str] = {}
    for line in lines:
        name, *arguments = shlex.split(line)
        if name == "export":
            salt = {"OA_EXPORT_SALT": "0123456789abcdef" * 4}
            continue
        done = oa(*arguments, **salt)
        assert (name, done.returncode) == ("oa", 0), (line, done.stderr)
    written = {path.name for path in tmp_path.iterdir()} - {"var"}
    assert written == {
        "trees.jsonl.gz", "bad.jsonl", "all.jsonl.gz", "rows.parquet", "messages", "public.jsonl.gz"
    }  # fmt: skip
    assert read(Path("all.jsonl.gz")) == read(SAMPLES / "trees.jsonl")
    assert len(read(Path("public.jsonl.gz"))) == 63
    assert [each.key for each in store.list("exports/")] == ["exports/rows/part-00000.parquet"]
    assert "pairs/" in oa("snapshot", "list", "pairs").stdout
