"""SFT and reward stages by two processes, as Ray starts them: environment variables, a gloo group, a folder a rank."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from stage_kit import FolderCheckpoints, Recorder, as_output, synthetic_rows, write_snapshot

from core.jobspec import RewardStage, SftStage, SnapshotRef
from jobs import reward, sft
from jobs.base import materialise
from jobs.context import StageContext, StageOutput, StageResult, World
from oa.embedded import free_port

SETTINGS: dict[str, Any] = {"max_steps": 4, "learning_rate": 1e-2, "max_length": 64, "save_every": 2, "bf16": False}


class SilentCheckpoints(FolderCheckpoints):
    """Those of a rank other than 0: it reads and keeps nothing."""

    def save(self, step: int, folder: Path) -> None:
        self.saved.append(step)


def _stages(rank: int, size: int, root: str) -> None:
    """Both stages as rank `rank`; writes the histories and what was measured."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    if size > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size))
        dist.init_process_group("gloo")
    folder = Path(root)
    base = materialise("tiny", folder / f"base-{rank}-{size}")
    datasets = {f"{kind}/v1": folder / kind for kind in ("sft", "preference")}
    outputs: dict[str, StageOutput] = {}
    said: dict[str, Any] = {}
    for kind, module, config in (
        ("sft", sft, SftStage(dataset=SnapshotRef(name="sft", version="v1"), **SETTINGS)),
        ("reward", reward, RewardStage(dataset=SnapshotRef(name="preference", version="v1"), **SETTINGS)),
    ):
        work = folder / f"{kind}-{rank}-{size}"
        work.mkdir()
        kept = (FolderCheckpoints if rank == 0 else SilentCheckpoints)(folder / f"checkpoints-{kind}-{size}")
        recorder = Recorder()
        context = StageContext(
            "job-1", kind, 1, 7, base, work, World(rank, size), dict(outputs), datasets, recorder, kept
        )
        result = module.run(context, config)
        if size > 1:
            dist.barrier()
        # As the runner does it: what rank 0 left is what every rank goes on from.
        left = folder / f"{kind}-0-{size}" / "output"
        outputs[kind] = as_output(kind, StageResult(left, result.metrics, result.info))
        said[kind] = {"metrics": result.metrics, "loss": [row["loss"] for _, _, row in recorder.steps]}
    (folder / f"{rank}-of-{size}.json").write_text(json.dumps(said))
    if size > 1:
        dist.destroy_process_group()


def test_two_workers_train_what_one_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("sft", "preference"):
        write_snapshot(tmp_path / kind, kind, synthetic_rows(kind))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    spawn = multiprocessing.get_context("spawn")
    started = [spawn.Process(target=_stages, args=(rank, 2, str(tmp_path))) for rank in range(2)]
    for process in started:
        process.start()
    _stages(0, 1, str(tmp_path))
    for process in started:
        process.join(120)
        assert process.exitcode == 0
    names = ("0-of-1", "0-of-2", "1-of-2")
    one, first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in names)
    for kind, measure in (("sft", "loss"), ("reward", "mean")):
        shared = first[kind]["metrics"]["after"][measure]
        assert shared == pytest.approx(second[kind]["metrics"]["after"][measure], abs=1e-6)
        assert shared == pytest.approx(one[kind]["metrics"]["after"][measure], abs=0.05)
        assert first[kind]["loss"] == pytest.approx(one[kind]["loss"], abs=0.05)
    assert first["reward"]["metrics"]["after"]["pairs"] == 6
