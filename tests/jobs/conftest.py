"""Stages run here on the tiny base model, with contexts on temporary folders and small synthetic snapshots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stage_kit import ContextFactory, FolderCheckpoints, Recorder, synthetic_rows, write_snapshot

from jobs.base import materialise
from jobs.context import StageContext, StageOutput, World


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return materialise("tiny", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("snapshots")
    kinds = ("sft", "preference", "prompts")
    return {f"{kind}/v1": write_snapshot(root / kind, kind, synthetic_rows(kind)) for kind in kinds}


@pytest.fixture
def make_context(tiny_base: Path, snapshots: dict[str, Path], tmp_path: Path) -> ContextFactory:
    """Makes a context for a stage; `folder` tells apart runs that share nothing."""

    def make(
        stage: str, outputs: dict[str, StageOutput] | None = None, folder: str = "run", **changes: Any
    ) -> StageContext:
        root = tmp_path / folder / stage
        settings: dict[str, Any] = {
            "job_id": "job-1", "stage": stage, "attempt": 1, "seed": 7, "base": tiny_base, "workdir": root / "work",
            "world": World(), "outputs": outputs or {}, "datasets": snapshots, "report": Recorder(),
            "checkpoints": FolderCheckpoints(root / "checkpoints"),
        }  # fmt: skip
        (root / "work").mkdir(parents=True, exist_ok=True)
        return StageContext(**{**settings, **changes})

    return make
