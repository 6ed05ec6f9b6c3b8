"""The program of docs/api/start.md, run as it stands by Node; the types of the TypeScript example, by its compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "api"
EXAMPLE = DOCS / "examples" / "typescript"
NODE = shutil.which("node")


def node_version() -> int:
    """The major version of Node; 0 where there is none."""
    said = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout if NODE else "v0."
    return int(said.lstrip("v").split(".")[0])


@pytest.mark.skipif(node_version() < 20, reason="the program needs Node 20 or newer, which is not on this machine")
def test_the_ten_minutes_work_as_they_stand(base: str, tmp_path: Path) -> None:
    (program,) = re.findall(r"```js\n(.*?)```", (DOCS / "start.md").read_text("utf-8"), re.DOTALL)
    file = tmp_path / "start.mjs"
    file.write_text(program, "utf-8")
    environment = {**os.environ, "API": f"{base}/graphql"}
    ran = subprocess.run([str(NODE), file], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    said = ran.stdout.splitlines()
    assert re.fullmatch(r"open: .*INITIAL_PROMPT.*", said[0])
    assert said[1] == "written: PENDING"
    assert re.fullmatch(r"live: \d+ kinds of work", said[2])


@pytest.mark.skipif(not (EXAMPLE / "node_modules").is_dir(), reason="`npm install` was not run in the example's folder")
def test_the_typescript_example_fits_the_schema() -> None:
    for script in ("generate", "check"):
        ran = subprocess.run(
            ["npm", "run", script], cwd=EXAMPLE, capture_output=True, text=True, timeout=300, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
