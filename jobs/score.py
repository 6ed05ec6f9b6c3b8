"""Scores of replies that wait to be ranked, by the reward model of an earlier job; the output is `scores.json`.

The replies are the job's own (`layout.replies`), written by the API (`core.reply_scores`), which takes the scores too.
Knows no training and no store; a score is the reward model's logit, rendered and cut as in its training.
"""

from __future__ import annotations

import json
import math
from typing import Any

from core.errors import BadInput, OaError
from core.jobspec import ScoreStage
from core.layout import SCORES
from jobs.compute import prepare, use_bf16
from jobs.context import StageContext, StageResult
from jobs.scoring import scorer
from jobs.stats import mean_std
from jobs.weights import load_reward, load_tokenizer


def run(context: StageContext, config: ScoreStage) -> StageResult:
    """The stage: message id -> score, for all replies; a checkpoint keeps those found so far.

    Raises:
        BadInput: the job was given no replies.
        OaError: `STAGE_FAILED`, a score is no finite number.
    """
    if context.replies is None:
        raise BadInput("the job has no replies to score; the API asks for such jobs by itself (docs/training.md)")
    prepare(context)
    rows = [json.loads(line) for line in context.replies.read_bytes().splitlines()]
    reward, facts = load_reward(context)
    bf16 = use_bf16(config.bf16, context.world.device)
    judge = scorer(reward.requires_grad_(False).eval(), load_tokenizer(context.base), facts["max_length"], bf16=bf16)
    scores = _before(context)
    while rest := rows[len(scores) : len(scores) + config.save_every]:
        context.check_stop()
        found = judge([row["prompt"] for row in rest], [row["reply"] for row in rest])
        scores |= _checked(rest, found)
        context.report.progress(len(scores), len(rows))
        _write(context, "checkpoint", scores)
        context.checkpoints.save(len(scores), context.workdir / "checkpoint")
    mean, std = mean_std(list(scores.values()))
    return StageResult(_write(context, "output", scores), {"replies": len(scores), "mean": mean, "std": std})


def _before(context: StageContext) -> dict[str, float]:
    """What an earlier attempt found."""
    latest = context.checkpoints.latest()
    found: dict[str, float] = json.loads((latest[1] / SCORES).read_text()) if latest else {}
    return found


def _checked(rows: list[dict[str, Any]], scores: list[float]) -> dict[str, float]:
    for row, score in zip(rows, scores, strict=True):
        if not math.isfinite(score):
            raise OaError(f"the reward model's score of message {row['message_id']} is {score}", code="STAGE_FAILED")
    return {row["message_id"]: score for row, score in zip(rows, scores, strict=True)}


def _write(context: StageContext, name: str, scores: dict[str, float]) -> Any:
    folder = context.workdir / name
    if context.world.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SCORES).write_text(json.dumps(scores))
    return folder
