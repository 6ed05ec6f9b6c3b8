"""What SFT and reward training share: TRL's arguments, and the callback that ties a trainer to its stage.

Knows transformers' trainer and its checkpoints. Does not know losses or data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback

from core.jobspec import RewardStage, SftStage
from jobs.compute import piece, share_of_batch, use_bf16
from jobs.context import StageContext

Training = SftStage | RewardStage

KEPT = "stage.json"
"""File beside a trainer's own in each checkpoint: the stage's history and its first measurement."""


def arguments(context: StageContext, config: Training) -> dict[str, Any]:
    """Keyword arguments for `SFTConfig` and `RewardConfig`, the same for both.

    `per_device_train_batch_size` times `gradient_accumulation_steps` times workers is the spec's batch size.
    """
    on_cpu = context.world.device == "cpu"
    share = share_of_batch(config.batch_size, context.world)
    at_once = piece(share, config.max_length)
    return {
        "output_dir": str(context.workdir / "trainer"),
        "max_steps": config.max_steps,
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": share // at_once,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": config.warmup_steps,
        "max_grad_norm": config.max_grad_norm,
        "max_length": config.max_length,
        "seed": context.seed,
        "data_seed": context.seed,
        "bf16": use_bf16(config.bf16, context.world.device),
        "fp16": False,
        "use_cpu": on_cpu,
        "ddp_backend": None if context.world.size == 1 else "gloo" if on_cpu else "nccl",
        "ddp_find_unused_parameters": False,
        # Recomputing activations buys memory, which a small model on a CPU does not lack, for a third more time.
        "activation_checkpointing": not on_cpu,
        "dataloader_pin_memory": not on_cpu,
        "logging_steps": 1,
        "disable_tqdm": True,
        "report_to": [],
        "eval_strategy": "no",
        "save_strategy": "steps",
        "save_steps": config.save_every,
        "save_total_limit": 1,
    }


def silent(trainer: Any) -> Any:
    """The trainer without its own printing of each step: the stage reports."""
    trainer.remove_callback(PrinterCallback)
    return trainer


class StageCallback(TrainerCallback):
    """Reports each step, asks whether to stop, and hands each complete checkpoint folder over.

    Attributes:
        history: the numbers of each step, also of the steps before a restart.
        before: what was measured on held-out rows before the first step.
    """

    def __init__(self, context: StageContext) -> None:
        self.context = context
        self.history: list[dict[str, float]] = []
        self.before: dict[str, Any] = {}

    def restore(self) -> str | None:
        """Take over what the newest checkpoint knows; its folder for the trainer, None where there is none."""
        found = self.context.checkpoints.latest()
        if found is None:
            return None
        step, folder = found
        kept = json.loads((folder / KEPT).read_text())
        self.history, self.before = kept["history"], kept["before"]
        self.context.report.log(f"resumed at step {step}")
        return str(folder)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Raise `StageStopped` where the job was cancelled or lost."""
        self.context.check_stop()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Pass a step's numbers on. The summary at the end of training is none."""
        if not logs or "loss" not in logs:
            return
        numbers = {name: float(value) for name, value in logs.items() if name != "epoch"}
        self.history.append({"step": state.global_step, **numbers})
        self.context.report.progress(state.global_step, state.max_steps, **numbers)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Hand over the checkpoint that the trainer has just written whole."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if self.context.world.rank == 0:
            (folder / KEPT).write_text(json.dumps({"history": self.history, "before": self.before}))
        self.context.checkpoints.save(state.global_step, folder)
