"""Reward model on preference pairs, with TRL: Bradley-Terry loss with margins, scores kept near zero.

Knows how pairs become tokens and how a reward model is judged on pairs that it never saw. Its `reward.json` carries the
mean and deviation of held-out scores, in which PPO measures rewards, and the length at which replies are cut. Does not
know Ray or the object store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import OaError
from core.jobspec import RewardStage
from jobs import data
from jobs.chat_format import Rendered, scored_ids
from jobs.compute import prepare, store_frozen_in_bf16, use_bf16
from jobs.context import StageContext, StageResult
from jobs.scoring import score_ids
from jobs.stats import mean_std, share_won, wilson
from jobs.trainer import StageCallback, arguments, silent
from jobs.weights import REWARD_FACTS, load_tokenizer, new_reward_model, save_trained, with_lora

HEAD = "score"
"""Name of the head of transformers' sequence classifiers; it is random at first, so it is always trained."""

LENGTH_BUCKETS = ((0, 64), (64, 128), (128, 256), (256, 1 << 30))
"""Buckets of held-out pairs by the tokens of their longer reply, lower bound included."""


@dataclass(frozen=True)
class Pair:
    """One preference pair, ready to be scored."""

    chosen: Rendered
    rejected: Rendered
    margin: float
    lang: str

    @property
    def cut(self) -> int:
        """Tokens that were cut from either side."""
        return sum(side.cut_prompt + side.cut_reply for side in (self.chosen, self.rejected))


def run(context: StageContext, config: RewardStage) -> StageResult:
    """The stage: train on pairs from the SFT model; the output is an adapter with its head, or the whole model.

    Raises:
        OaError: `GATE_FAILED`, held-out pair accuracy is below `config.min_accuracy`.
    """
    prepare(context)
    tokenizer = load_tokenizer(context.base)
    rows = data.load(context, config.dataset, "preference")
    pairs = [pair(tokenizer, row, config.max_length) for row in rows.train]
    held_out = [pair(tokenizer, row, config.max_length) for row in rows.validation[: config.eval_rows]]
    bf16 = use_bf16(config.bf16, context.world.device)
    model = _trainable(context, config, bf16)

    def measure() -> dict[str, Any]:
        context.check_stop()
        found = judged(model, held_out, pad=tokenizer.pad_token_id, bf16=bf16)
        context.report.metric("held_out_pair_accuracy", found["accuracy"], interval=found["interval"])
        return found

    callback = StageCallback(context)
    resume = callback.restore()
    callback.before = callback.before or measure()
    _trainer(context, config, model, tokenizer, pairs, callback).train(resume_from_checkpoint=resume)
    after = measure()
    metrics = {
        "before": callback.before,
        "after": after,
        "pairs": len(pairs),
        "held_out_pairs": len(held_out),
        "pairs_cut": sum(item.cut > 0 for item in pairs),
        "length_only_accuracy": length_only(held_out),
        "random_accuracy": 0.5,
    }
    gate(after, config.min_accuracy)
    return _result(context, config, model, callback, metrics)


def gate(measured: dict[str, Any], least: float) -> None:
    """Raise `OaError` (code `GATE_FAILED`) where held-out pair accuracy is below `least`."""
    if measured["accuracy"] < least:
        low, high = measured["interval"]
        raise OaError(
            f"reward model: held-out pair accuracy {measured['accuracy']:.3f} (95 % interval {low:.3f} to {high:.3f}, "
            f"{measured['pairs']} pairs) is below min_accuracy {least}",
            code="GATE_FAILED",
        )


def pair(tokenizer: Any, row: data.Row, max_length: int) -> Pair:
    """A row of the snapshot as two rendered replies, each of at most `max_length` tokens with its prompt."""
    chosen, rejected = (scored_ids(tokenizer, row["prompt"], row[name], max_length) for name in ("chosen", "rejected"))
    return Pair(chosen, rejected, float(row["margin"] or 0.0), str(row["lang"]))


def judged(model: Any, pairs: Sequence[Pair], *, pad: int, bf16: bool) -> dict[str, Any]:
    """How a reward model orders pairs that it was not trained on.

    Returns:
        Pair accuracy (ties one half) with its Wilson interval, mean margin of scores, mean and deviation of all
        scores, and accuracy by length of the longer reply and by language.
    """
    was_training = model.training
    model.eval()
    scores = score_ids(model, [side.ids for item in pairs for side in (item.chosen, item.rejected)], pad=pad, bf16=bf16)
    model.train(was_training)
    chosen, rejected = scores[0::2], scores[1::2]
    mean, std = mean_std(scores)
    return {
        **_accuracy(chosen, rejected),
        "margin": sum(a - b for a, b in zip(chosen, rejected, strict=True)) / max(1, len(pairs)),
        "mean": mean,
        "std": std,
        "by_length": _by(pairs, chosen, rejected, _length_bucket),
        "by_lang": _by(pairs, chosen, rejected, lambda item: item.lang),
    }


def length_only(pairs: Sequence[Pair]) -> float:
    """Accuracy of the judge that always prefers the longer reply: what a reward model must beat to know more."""
    longer = share_won([len(item.chosen.reply) for item in pairs], [len(item.rejected.reply) for item in pairs])
    return longer / max(1, len(pairs))


def _accuracy(chosen: Sequence[float], rejected: Sequence[float]) -> dict[str, Any]:
    won = share_won(chosen, rejected)
    return {"accuracy": won / max(1, len(chosen)), "interval": list(wilson(won, len(chosen))), "pairs": len(chosen)}


def _by(
    pairs: Sequence[Pair], chosen: Sequence[float], rejected: Sequence[float], key: Callable[[Pair], str]
) -> dict[str, Any]:
    groups: dict[str, list[int]] = {}
    for index, item in enumerate(pairs):
        groups.setdefault(key(item), []).append(index)
    return {
        name: _accuracy([chosen[index] for index in members], [rejected[index] for index in members])
        for name, members in sorted(groups.items())
    }


def _length_bucket(item: Pair) -> str:
    length = max(len(item.chosen.reply), len(item.rejected.reply))
    low, high = next(bucket for bucket in LENGTH_BUCKETS if length < bucket[1])
    return f"{low}+" if high == LENGTH_BUCKETS[-1][1] else f"{low}-{high - 1}"


def _trainable(context: StageContext, config: RewardStage, bf16: bool) -> Any:
    model = new_reward_model(context)
    if config.lora is None:
        return model
    model = with_lora(model, config.lora, task="SEQ_CLS", trained_head=HEAD)
    if bf16:
        store_frozen_in_bf16(model, None)
    return model


def _trainer(
    context: StageContext,
    config: RewardStage,
    model: Any,
    tokenizer: Any,
    pairs: Sequence[Pair],
    callback: StageCallback,
) -> Any:
    from datasets import Dataset
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    rows: list[dict[str, Any]] = [{"chosen_ids": item.chosen.ids, "rejected_ids": item.rejected.ids} for item in pairs]
    if config.use_margin:
        rows = [{**row, "margin": item.margin} for row, item in zip(rows, pairs, strict=True)]
    settings = RewardConfig(
        **arguments(context, config),
        center_rewards_coefficient=config.center_rewards or None,
        dataloader_drop_last=False,
    )
    data_set = Dataset.from_list(rows)
    return silent(
        RewardTrainer(
            model=model, args=settings, train_dataset=data_set, processing_class=tokenizer, callbacks=[callback]
        )
    )


def _result(
    context: StageContext, config: RewardStage, model: Any, callback: StageCallback, metrics: dict[str, Any]
) -> StageResult:
    folder = context.workdir / "output"
    info = {"adapter": hasattr(model, "peft_config")}
    if context.world.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        save_trained(model, folder)
        (folder / "history.json").write_text(json.dumps(callback.history))
        _write_facts(folder, config, metrics["after"])
    return StageResult(folder, metrics, info)


def _write_facts(folder: Path, config: RewardStage, after: dict[str, Any]) -> None:
    facts = {"mean": after["mean"], "std": after["std"], "max_length": config.max_length}
    (folder / REWARD_FACTS).write_text(json.dumps(facts))
