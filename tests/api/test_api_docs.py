"""The commands in docs/api/README.md, run as they stand against a running API."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from graphql_schema.export import DOCS_FILE

BLOCKS = re.findall(r"```sh\n(.*?)```", DOCS_FILE.read_text(), re.DOTALL)


@contextlib.contextmanager
def shell(script: str, base: str) -> Iterator[subprocess.Popen[str]]:
    """`script` in bash, with the API's address in its environment; ended with what it started when left."""
    environment = {**os.environ, "API": f"{base}/graphql"}
    command = ["bash", "-euo", "pipefail", "-c", script]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the quick start uses curl, which is not on this machine")
def test_the_quick_start_works_as_it_stands(base):
    setup, follow = BLOCKS
    with shell(setup, base) as process:
        out, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    answer = json.loads(out)["data"]["submitPrompt"]
    assert answer["userErrors"] == []
    assert answer["message"]["text"] == "Why is the sky blue?"
    assert answer["message"]["state"] == "PENDING"
    with shell(setup.replace("sky blue", "sea salty") + "echo\n" + follow, base) as process:
        assert any(line.startswith("event: next") for line in process.stdout)


def test_the_websocket_lines_are_json():
    (block,) = re.findall(r"```json\n(.*?)```", DOCS_FILE.read_text(), re.DOTALL)
    kinds = [json.loads(line)["type"] for line in block.strip().splitlines()]
    assert kinds == ["connection_init", "subscribe"]
