"""Models of a job on disk: a base folder plus what each stage changed, as an adapter or as a whole model.

Knows how stages keep their result (`adapter/` or `model/` in their output folder), and how a later stage builds on it:
an adapter is merged into float32 weights before the next one is trained. Does not know training.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from core.errors import BadInput
from core.jobspec import Lora
from jobs.base import check_tokenizer
from jobs.context import StageContext, StageOutput

ADAPTER, WHOLE = "adapter", "model"
REWARD_FACTS = "reward.json"


def quiet() -> None:
    """Keep progress bars and load reports of the libraries out of the logs."""
    from transformers.utils import logging

    log: Any = logging  # its functions carry no types
    log.disable_progress_bar()
    log.set_verbosity_error()


def load_tokenizer(base: Path) -> Any:
    """The base model's tokenizer, padding on the right.

    Raises:
        BadInput: pad and end token are the same, or the chat template is missing.
    """
    from transformers import AutoTokenizer

    tokenizer = check_tokenizer(AutoTokenizer.from_pretrained(base))
    tokenizer.padding_side = "right"
    return tokenizer


def load_policy(context: StageContext, *, after: str | None) -> Any:
    """The causal language model as it is after stage `after` (None: the base model), in float32, on the device.

    `after="ppo"` builds on what SFT left, as that stage did.
    """
    from transformers import AutoModelForCausalLM

    quiet()
    whole = _newest_whole(context, after)
    model: Any = AutoModelForCausalLM.from_pretrained(whole or context.base, dtype=torch.float32)
    for output in _adapters(context, after):
        model = _merged(model, output.folder / ADAPTER)
    return model.to(context.world.device)


def load_reward(context: StageContext) -> tuple[Any, dict[str, Any]]:
    """The reward model in float32 on the device, and what its stage measured (`mean`, `std`, ...)."""
    from transformers import AutoModelForSequenceClassification

    output = context.outputs["reward"]
    facts: dict[str, Any] = json.loads((output.folder / REWARD_FACTS).read_text())
    if output.info["adapter"]:
        model = new_reward_model(context)
        model = _merged(model, output.folder / ADAPTER)
    else:
        quiet()
        model = AutoModelForSequenceClassification.from_pretrained(output.folder / WHOLE, dtype=torch.float32)
    return model.to(context.world.device), facts


def new_reward_model(context: StageContext) -> Any:
    """A reward model on the policy after SFT, its head random from the job's seed."""
    from transformers import AutoModelForSequenceClassification, set_seed

    policy = load_policy(context, after=newest(context, "sft"))
    config = policy.config
    config.num_labels = 1
    config.pad_token_id = load_tokenizer(context.base).pad_token_id
    # The head is drawn when the class is made: without the seed here every run has another one.
    set_seed(context.seed)
    maker: Any = AutoModelForSequenceClassification
    model = maker.from_config(config)
    backbone(model).load_state_dict(backbone(policy).state_dict())
    return model.to(dtype=torch.float32, device=context.world.device)


def newest(context: StageContext, *kinds: str) -> str | None:
    """The first of `kinds` that the job has finished; None when it has none of them."""
    return next((kind for kind in kinds if kind in context.outputs), None)


def backbone(model: Any) -> Any:
    """The transformer without its head: ids to hidden states. Adapters stay in it."""
    core = model.get_base_model() if hasattr(model, "get_base_model") else model
    return getattr(core, core.base_model_prefix)


def head(reward: Any) -> Any:
    """The linear head of a reward model, its trained copy where adapters keep one."""
    core = reward.get_base_model() if hasattr(reward, "get_base_model") else reward
    return core.score


def with_lora(model: Any, lora: Lora, *, task: str = "CAUSAL_LM", trained_head: str | None = None) -> Any:
    """The model with trainable low-rank adapters on all linear layers, the rest frozen.

    Args:
        model: a causal language model, a reward model, or a transformer without a head.
        lora: rank, scale and dropout.
        task: peft's name for the kind of model: `CAUSAL_LM`, `SEQ_CLS` or `FEATURE_EXTRACTION`.
        trained_head: name of a head that is trained whole beside the adapters.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # a float divides by r just as well
        lora_dropout=lora.dropout,
        target_modules="all-linear",
        task_type=task,
        modules_to_save=[trained_head] if trained_head else None,
    )
    return get_peft_model(model, config)


def save_trained(model: Any, folder: Path) -> dict[str, Any]:
    """Write the adapter, or the whole model, into a stage's folder; returns the stage's `info` about it."""
    adapter = hasattr(model, "peft_config")
    target = folder / (ADAPTER if adapter else WHOLE)
    model.save_pretrained(target)
    for path in target.iterdir():
        path.chmod(0o644)
    return {"adapter": adapter}


def _newest_whole(context: StageContext, after: str | None) -> Path | None:
    for output in reversed(_chain(context, after)):
        if not output.info["adapter"]:
            return output.folder / WHOLE
    return None


def _adapters(context: StageContext, after: str | None) -> list[StageOutput]:
    """Adapters that lie on top of the newest whole model, oldest first."""
    found: list[StageOutput] = []
    for output in _chain(context, after):
        found = [*found, output] if output.info["adapter"] else []
    return found


def _chain(context: StageContext, after: str | None) -> list[StageOutput]:
    """Finished stages that changed the policy, up to and including `after`."""
    if after is None:
        return []
    order = ("sft", "ppo")
    if after not in order or after not in context.outputs:
        raise BadInput(f"the job has no finished stage {after!r}; it has {', '.join(context.outputs) or 'none'}")
    kinds = order[: order.index(after) + 1]
    return [context.outputs[kind] for kind in kinds if kind in context.outputs]


def _merged(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    # An adapter freezes what it lies on; merged, the weights can be trained again.
    return PeftModel.from_pretrained(model, adapter).merge_and_unload().requires_grad_(True)
