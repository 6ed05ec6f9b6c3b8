"""Stages without a model: they count, checkpoint, report and obey, so that what surrounds a stage can be tested.

A stage adds up its step numbers; a checkpoint holds the sum. Tests steer it by files in the folder `OA_TEST_DESK`:
while `hold-<stage>-<step>` is there, that step waits. Every step that is really run leaves a line in `trace.jsonl`.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from core.errors import OaError
from jobs.context import StageContext, StageResult


def desk() -> Path:
    return Path(os.environ["OA_TEST_DESK"])


def count(context: StageContext, config: Any) -> StageResult:
    found = context.checkpoints.latest()
    start, total = 0, 0
    if found is not None:
        start, folder = found
        total = json.loads((folder / "sum.json").read_text())["total"]
    for step in range(start + 1, config.max_steps + 1):
        trace(context, step)
        hold(context, step)
        context.check_stop()
        total += step
        context.report.progress(step, config.max_steps, running=float(total))
        if step % config.save_every == 0 and step < config.max_steps:
            save(context, step, total)
    folder = context.workdir / "out"
    folder.mkdir(exist_ok=True)
    (folder / "sum.json").write_text(json.dumps({"total": total}))
    earlier = {kind: json.loads((output.folder / "sum.json").read_text()) for kind, output in context.outputs.items()}
    return StageResult(
        folder, {"total": total, "resumed_from": start, "earlier": earlier}, {"threads": context.world.threads}
    )


def save(context: StageContext, step: int, total: int) -> None:
    folder = context.workdir / f"save-{step}"
    folder.mkdir(exist_ok=True)
    (folder / "sum.json").write_text(json.dumps({"total": total}))
    context.checkpoints.save(step, folder)


def trace(context: StageContext, step: int) -> None:
    line = {"job": context.job_id, "stage": context.stage, "attempt": context.attempt, "step": step}
    line |= {"pid": os.getpid(), "rank": context.world.rank}
    with (desk() / "trace.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def hold(context: StageContext, step: int) -> None:
    deadline = time.monotonic() + 120
    while (desk() / f"hold-{context.job_id}-{context.stage}-{step}").exists():
        context.check_stop()
        if time.monotonic() > deadline:
            raise TimeoutError(f"held at step {step} for two minutes")
        time.sleep(0.05)


def reward(context: StageContext, config: Any) -> StageResult:
    if config.min_accuracy > 0.6:
        raise OaError(f"held-out accuracy 0.600 is below min_accuracy {config.min_accuracy}", code="GATE_FAILED")
    return count(context, config)


def evaluate(context: StageContext, config: Any) -> StageResult:
    """A defect, for the test of defects."""
    raise KeyError("no such column")


def export(context: StageContext, config: Any) -> StageResult:
    folder = context.workdir / "out"
    (folder / "hf").mkdir(parents=True, exist_ok=True)
    (folder / "hf" / "sum.json").write_bytes((context.outputs["sft"].folder / "sum.json").read_bytes())
    assert context.publish_as is not None
    name, version = context.publish_as
    return StageResult(folder, {"size": 1}, {"format": 1, "name": name, "version": version, **context.lineage})


STAGES = {"sft": count, "reward": reward, "evaluate": evaluate, "export": export}
