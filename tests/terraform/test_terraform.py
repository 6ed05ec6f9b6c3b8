"""The infrastructure is well formed and does what it promises, on an emulator with the real provider."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from infrastructure import ROOT, Emulator, Terraform, apply_read_back_destroy

from core import layout


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not on this machine")
def test_every_file_is_formatted() -> None:
    run = subprocess.run(["terraform", "fmt", "-check", "-recursive", "-diff", str(ROOT / "terraform")], check=False)
    assert run.returncode == 0


@pytest.mark.parametrize("configuration", ["aws", "localstack"])
def test_a_configuration_is_valid(tmp_path: Path, plugins: Path, configuration: str) -> None:
    assert "valid" in Terraform(tmp_path / "terraform", configuration, plugins)("validate")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_apply_read_back_destroy(tmp_path: Path, plugins: Path, emulator: Emulator) -> None:
    apply_read_back_destroy(Terraform(tmp_path / "terraform", "localstack", plugins), emulator)


def test_the_roles_name_prefixes_of_the_object_layout() -> None:
    text = (ROOT / "terraform" / "modules" / "roles" / "main.tf").read_text()
    keys = [
        layout.dataset("*", "*").split("*")[0] + "*",
        layout.queued("*").split("*")[0] + "*",
        layout.job("*").split("*")[0] + "*",
        layout.model("*", "*").split("*")[0] + "*",
        layout.spec("*"),
        layout.cancel("*"),
        layout.promoted("*"),
        layout.replies("*"),
        layout.personal_exports("*").split("*")[0] + "*",
        layout.job(f"{layout.SCORES_PREFIX}*").removesuffix("/"),
        layout.queued(f"{layout.SCORES_PREFIX}*").removesuffix(".json"),
        layout.checkpoints("*", "*").removesuffix("/"),
    ]
    assert [key for key in keys if f'"{key}"' not in text] == []
