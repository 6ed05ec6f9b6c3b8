"""Does the trained policy please the reward model more than SFT did? Greedy replies to held-out prompts, side by side.

Knows win rates and samples. A win rate by the reward model says what PPO was asked to do, not that people agree.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from core.jobspec import EvaluateStage
from jobs import data
from jobs.chat_format import Messages, render_prompt, reply_text
from jobs.compute import prepare, store_frozen_in_bf16, use_bf16
from jobs.context import StageContext, StageResult
from jobs.generation import Sampling, generate
from jobs.scoring import Score, scorer
from jobs.stats import mean_interval, repetition, share_won, wilson
from jobs.weights import load_policy, load_reward, load_tokenizer, newest

ROWS_AT_ONCE, ROWS_ON_GPU = 16, 64
"""Prompts answered together; a step of a small model takes a GPU about as long for one row as for many."""

SAMPLES = "samples.json"


def run(context: StageContext, config: EvaluateStage) -> StageResult:
    """The stage: replies of the newest policy against those of SFT; the output is `samples.json`."""
    prepare(context)
    tokenizer = load_tokenizer(context.base)
    rows = data.load(context, config.dataset, "prompts").validation[: config.prompts]
    prompts = [row["prompt"] for row in rows]
    policy, baseline = newest(context, "ppo", "sft"), newest(context, "sft")
    bf16 = use_bf16(None, context.world.device)
    ours = greedy(context, tokenizer, prompts, policy, config.max_new_tokens, bf16)
    theirs = greedy(context, tokenizer, prompts, baseline, config.max_new_tokens, bf16)
    reward, facts = load_reward(context)
    judge = scorer(reward, tokenizer, facts["max_length"], bf16=bf16)
    texts = [[reply_text(tokenizer, reply) for reply in side] for side in (ours, theirs)]
    metrics, samples = compared(prompts, texts, judge)
    metrics |= {
        "policy": _described(ours, tokenizer.eos_token_id),
        "baseline": _described(theirs, tokenizer.eos_token_id),
    }
    _report(context, metrics, samples)
    return _result(context, metrics, samples, policy, baseline)


def greedy(
    context: StageContext,
    tokenizer: Any,
    prompts: Sequence[Messages],
    after: str | None,
    max_new_tokens: int,
    bf16: bool,
) -> list[list[int]]:
    """Most likely replies of the policy after stage `after` (None: the base model), as ids."""
    model = load_policy(context, after=after).requires_grad_(False).eval()
    if bf16:
        store_frozen_in_bf16(model, model.get_output_embeddings())
    ids = [render_prompt(tokenizer, prompt)[-_prompt_room(model, max_new_tokens) :] for prompt in prompts]
    replies: list[list[int]] = []
    at_once = ROWS_AT_ONCE if context.world.device == "cpu" else ROWS_ON_GPU
    for start in range(0, len(ids), at_once):
        part = ids[start : start + at_once]
        replies += generate(
            model,
            part,
            range(len(part)),
            Sampling(max_new_tokens, temperature=0),
            eos=tokenizer.eos_token_id,
            pad=tokenizer.pad_token_id,
            bf16=bf16,
            check_stop=context.check_stop,
        )
    return replies


def _prompt_room(model: Any, max_new_tokens: int) -> int:
    """Prompt tokens that leave room for a reply in the model's context."""
    return max(1, int(model.config.max_position_embeddings) - max_new_tokens)


def compared(
    prompts: Sequence[Messages], texts: Sequence[Sequence[str]], judge: Score
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Win rate of the first side over the second and gain in reward, with intervals, and every pair with its scores.

    The win rate counts ties one half (Wilson interval); the gain is the mean of the paired differences.
    """
    first, second = texts
    first_scores, second_scores = judge(prompts, first), judge(prompts, second)
    # The same text has the same merit; its two scores may differ in the last bit, being computed in other batches.
    second_scores = [a if x == y else b for a, b, x, y in zip(first_scores, second_scores, first, second, strict=True)]
    won = share_won(first_scores, second_scores)
    count = len(prompts)
    gains = [a - b for a, b in zip(first_scores, second_scores, strict=True)]
    samples = [
        {"prompt": prompt[-1]["content"], "policy": a, "baseline": b, "policy_score": x, "baseline_score": y}
        for prompt, a, b, x, y in zip(prompts, first, second, first_scores, second_scores, strict=True)
    ]
    metrics = {
        "prompts": count,
        "win_rate": won / count,
        "interval": list(wilson(won, count)),
        "same_replies": sum(a == b for a, b in zip(first, second, strict=True)),
        "policy_reward": sum(first_scores) / count,
        "baseline_reward": sum(second_scores) / count,
        "reward_gain": sum(gains) / count,
        "reward_gain_interval": mean_interval(gains),
    }
    return metrics, samples


def _described(replies: Sequence[Sequence[int]], eos: int) -> dict[str, float]:
    count = len(replies)
    return {
        "length": sum(len(reply) for reply in replies) / count,
        "eos_rate": sum(reply[-1] == eos for reply in replies) / count,
        "repetition": sum(repetition(reply) for reply in replies) / count,
    }


def _report(context: StageContext, metrics: dict[str, Any], samples: Sequence[dict[str, Any]]) -> None:
    context.report.metric("win_rate", metrics["win_rate"], interval=metrics["interval"], prompts=metrics["prompts"])
    context.report.metric("reward_gain", metrics["reward_gain"], interval=metrics["reward_gain_interval"])
    for sample in samples[:4]:
        context.report.sample(sample["prompt"], sample["policy"], baseline=sample["baseline"])


def _result(
    context: StageContext,
    metrics: dict[str, Any],
    samples: list[dict[str, Any]],
    policy: str | None,
    baseline: str | None,
) -> StageResult:
    folder = context.workdir / "output"
    if context.world.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SAMPLES).write_text(json.dumps(samples, ensure_ascii=False, indent=1))
    return StageResult(folder, metrics, {"policy": policy or "base", "baseline": baseline or "base"})
