"""Supervised fine-tuning on threads, with TRL. Knows which tokens are learned and how held-out loss is measured.

Only the last reply of a thread is learned, from its first token to the end of turn; the conversation before it is
context. Does not know Ray or the object store.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import torch

from core.jobspec import SftStage
from jobs import data
from jobs.chat_format import Rendered, fit, render
from jobs.collective import all_sum
from jobs.compute import autocast, prepare, store_frozen_in_bf16, use_bf16
from jobs.context import StageContext, StageResult
from jobs.generation import float_logits, pad_right, positions
from jobs.trainer import StageCallback, arguments, silent
from jobs.weights import backbone, load_policy, load_tokenizer, save_trained, with_lora

IGNORED = -100
"""Label of tokens that are not learned; the value that torch's cross entropy skips."""

ROWS_AT_ONCE = 4


def run(context: StageContext, config: SftStage) -> StageResult:
    """The stage: fine-tune the base model; the output is an adapter, or the whole model."""
    prepare(context)
    tokenizer = load_tokenizer(context.base)
    rows = data.load(context, config.dataset, "sft")
    threads = [thread(tokenizer, row, config.max_length) for row in rows.train]
    held_out = [thread(tokenizer, row, config.max_length) for row in rows.validation[: config.eval_rows]]
    bf16 = use_bf16(config.bf16, context.world.device)
    model = _trainable(context, config, bf16)

    def measure() -> dict[str, float]:
        found = held_out_loss(context, model, held_out, pad=tokenizer.pad_token_id, bf16=bf16)
        context.report.metric("held_out_loss", found["loss"], tokens=found["tokens"])
        return found

    callback = StageCallback(context)
    resume = callback.restore()
    callback.before = callback.before or measure()
    _trainer(context, config, model, tokenizer, threads, callback).train(resume_from_checkpoint=resume)
    metrics = {
        "before": callback.before,
        "after": measure(),
        "rows": len(threads),
        "held_out_rows": len(held_out),
        "prompts_cut": sum(item.cut_prompt > 0 for item in threads),
        "replies_cut": sum(item.cut_reply > 0 for item in threads),
    }
    return _result(context, model, callback, metrics)


def thread(tokenizer: Any, row: data.Row, max_length: int) -> Rendered:
    """A thread of the snapshot as prompt and reply of at most `max_length` tokens."""
    *prompt, reply = row["messages"]
    return fit(render(tokenizer, prompt, reply["content"]), max_length)


def labels(item: Rendered) -> list[int]:
    """The ids to learn, one for each token: those of the reply, `IGNORED` on the prompt."""
    return [IGNORED] * len(item.prompt) + item.reply


@torch.no_grad()
def held_out_loss(
    context: StageContext, model: Any, items: Sequence[Rendered], *, pad: int, bf16: bool
) -> dict[str, float]:
    """Loss (nats a reply token), perplexity and share of reply tokens that are the most likely one, over all ranks."""
    was_training = model.training
    model.eval()
    sums = [0.0, 0.0, 0.0]
    mine = list(items[context.world.rank :: context.world.size])
    for start in range(0, len(mine), ROWS_AT_ONCE):
        context.check_stop()
        part = mine[start : start + ROWS_AT_ONCE]
        sums = [a + b for a, b in zip(sums, _loss_sums(model, part, pad, bf16), strict=True)]
    model.train(was_training)
    loss, right, tokens = all_sum(sums, context.world.device)
    mean = loss / tokens
    return {"loss": mean, "perplexity": math.exp(min(mean, 50.0)), "token_accuracy": right / tokens, "tokens": tokens}


def _loss_sums(model: Any, items: Sequence[Rendered], pad: int, bf16: bool) -> tuple[float, float, float]:
    """Sums over the reply tokens of a few rows: negative log-likelihood, hits, tokens."""
    ids, mask = pad_right([item.ids for item in items], pad, model.device)
    wanted, _ = pad_right([labels(item) for item in items], IGNORED, model.device)
    with autocast(bf16, model.device.type):
        out = backbone(model)(input_ids=ids, attention_mask=mask, position_ids=positions(mask), use_cache=False)
    learned = wanted[:, 1:] != IGNORED  # [B, T - 1]
    logits = float_logits(model, out.last_hidden_state[:, :-1][learned])  # [tokens, V]
    target = wanted[:, 1:][learned]
    loss = torch.nn.functional.cross_entropy(logits, target, reduction="sum")
    return float(loss), float((logits.argmax(dim=-1) == target).sum()), float(len(target))


def _trainable(context: StageContext, config: SftStage, bf16: bool) -> Any:
    model = load_policy(context, after=None)
    if config.lora is None:
        return model
    model = with_lora(model, config.lora)
    if bf16:
        store_frozen_in_bf16(model, model.get_output_embeddings())
    return model


def _trainer(
    context: StageContext,
    config: SftStage,
    model: Any,
    tokenizer: Any,
    threads: Sequence[Rendered],
    callback: StageCallback,
) -> Any:
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    rows = Dataset.from_list([{"input_ids": item.ids, "labels": labels(item)} for item in threads])
    settings = SFTConfig(**arguments(context, config), packing=False, dataset_kwargs={"skip_prepare_dataset": True})
    return silent(
        SFTTrainer(model=model, args=settings, train_dataset=rows, processing_class=tokenizer, callbacks=[callback])
    )


def _result(context: StageContext, model: Any, callback: StageCallback, metrics: dict[str, Any]) -> StageResult:
    folder = context.workdir / "output"
    info = {"adapter": hasattr(model, "peft_config")}
    if context.world.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        save_trained(model, folder)
        (folder / "history.json").write_text(json.dumps(callback.history))
    return StageResult(folder, metrics, info)
