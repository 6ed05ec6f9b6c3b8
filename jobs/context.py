"""What a stage is given and what it gives back: the seam between training code and the machinery around it.

A stage is a function `run(context, config) -> StageResult`. It reads frozen datasets and earlier stages' folders,
reports progress, saves checkpoints and returns a folder. It does not know Ray, leases, uploads or retries; the runner
(`jobs.runner`) does, and makes a `StageContext` for each attempt. In tests a context is made on a temporary folder.

Every rank runs the stage function; only rank 0's reports, checkpoints and result are kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class StageStopped(Exception):
    """The job was cancelled, or its lease was lost: unwind at once, save nothing more."""


@dataclass(frozen=True)
class World:
    """The group of processes that run this stage, and the share of the machine that this one has."""

    rank: int = 0
    size: int = 1
    threads: int = 1
    device: str = "cpu"


class Reporter(Protocol):
    """Where a stage says how far it is. Calls are cheap and never raise for want of a network."""

    def progress(self, step: int, total: int, **metrics: float) -> None:
        """Step `step` of `total` is done; `metrics` are that step's numbers (global means)."""

    def metric(self, name: str, value: float, **about: Any) -> None:
        """One number that belongs to no training step, such as a held-out loss."""

    def log(self, message: str) -> None:
        """One line for a person."""

    def sample(self, prompt: str, reply: str, **about: Any) -> None:
        """One text that the model made."""


class Checkpoints(Protocol):
    """A stage's checkpoints; one is there when it is complete, and not before."""

    def latest(self) -> tuple[int, Path] | None:
        """The newest complete checkpoint: its step and a local copy, each file verified; None at the start."""

    def save(self, step: int, folder: Path) -> None:
        """Keep a copy of `folder` as the checkpoint of `step`; older ones beyond two are removed."""


@dataclass(frozen=True)
class StageOutput:
    """A finished stage as later stages see it: a local copy of its folder, its numbers, what it said of itself."""

    kind: str
    folder: Path
    metrics: Mapping[str, Any]
    info: Mapping[str, Any]


@dataclass
class StageResult:
    """What a stage made.

    Attributes:
        folder: files to keep; uploaded by the runner.
        metrics: numbers for the result, the model card and gates (JSON values).
        info: facts that later stages need, such as `{"adapter": True}` (JSON values).
    """

    folder: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)


@dataclass
class StageContext:
    """Everything that a stage may use.

    Attributes:
        job_id: the job.
        stage: the stage's folder name, such as `00-sft`.
        attempt: number of the claim under which this runs, from 1.
        seed: of the job; a stage calls `set_seed` with it before it makes any weight.
        base: local folder of the base model in Hugging Face form (`jobs.base` made it).
        workdir: local scratch folder of this stage, empty or left by an earlier attempt on this machine.
        world: this process's place.
        outputs: finished earlier stages of the job by kind (`sft`, `reward`, ...).
        datasets: local folders of the snapshots (manifest.json and Parquet files) by `name/version`.
        replies: the file of replies that a `score` stage was given (`core.waiting_replies`); None elsewhere.
        report: progress, metrics, logs, samples.
        checkpoints: save and resume.
        check_stop: raises `StageStopped` when the job should stop; called at least once a step.
        publish_as: `(model name, version)` that an export stage publishes under; None elsewhere.
        lineage: facts for a model's manifest: job id, spec hash, snapshots, stage keys (JSON values).
    """

    job_id: str
    stage: str
    attempt: int
    seed: int
    base: Path
    workdir: Path
    world: World
    outputs: Mapping[str, StageOutput]
    datasets: Mapping[str, Path]
    report: Reporter
    checkpoints: Checkpoints
    check_stop: Callable[[], None] = lambda: None
    publish_as: tuple[str, str] | None = None
    replies: Path | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)

    def random(self) -> random.Random:
        """A generator seeded by job and stage, for choices that must be the same after a restart."""
        return random.Random(f"{self.seed}:{self.stage}")  # noqa: S311 - reproducible, not secret
