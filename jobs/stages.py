"""Which function runs which kind of stage. A stage's module, and with it torch, is imported when the stage runs."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from jobs.context import StageContext, StageResult

Run = Callable[[StageContext, Any], StageResult]


def _later(module: str) -> Run:
    def run(context: StageContext, config: Any) -> StageResult:
        result: StageResult = import_module(module).run(context, config)
        return result

    return run


STAGES: dict[str, Run] = {
    "sft": _later("jobs.sft"),
    "reward": _later("jobs.reward"),
    "ppo": _later("jobs.ppo"),
    "evaluate": _later("jobs.evaluate"),
    "score": _later("jobs.score"),
    "export": _later("jobs.export"),
}
"""By `kind` of the job spec's stages."""
