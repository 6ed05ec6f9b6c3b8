"""The reward model as a function from prompts and replies to numbers. Knows rendering and batching, not training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from jobs.chat_format import Messages, scored_ids
from jobs.compute import autocast
from jobs.generation import pad_right
from jobs.weights import backbone, head

Score = Callable[[Sequence[Messages], Sequence[str]], list[float]]
"""Scores of replies to prompts, in the reward model's own scale."""

ROWS_AT_ONCE = 16


@torch.no_grad()
def score_ids(model: Any, rows: Sequence[Sequence[int]], *, pad: int, bf16: bool = False) -> list[float]:
    """The reward model's scalar at the last token of each row, in the order given.

    Rows are computed in order of length, so that little of a batch is padding.
    """
    scores = [0.0] * len(rows)
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        chosen = order[start : start + ROWS_AT_ONCE]
        ids, mask = pad_right([rows[index] for index in chosen], pad, model.device)
        with autocast(bf16, model.device.type):
            hidden = backbone(model)(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(chosen), device=ids.device), mask.sum(dim=1) - 1]  # [B, hidden]
        values = head(model)(last.float())[:, 0]  # in float32: bfloat16 scores tie
        for index, value in zip(chosen, values.tolist(), strict=True):
            scores[index] = value
    return scores


def scorer(model: Any, tokenizer: Any, max_length: int, *, bf16: bool = False) -> Score:
    """A `Score` that renders each reply as the reward model's training did."""

    def score(prompts: Sequence[Messages], replies: Sequence[str]) -> list[float]:
        pairs = zip(prompts, replies, strict=True)
        rows = [scored_ids(tokenizer, prompt, reply, max_length).ids for prompt, reply in pairs]
        return score_ids(model, rows, pad=tokenizer.pad_token_id, bf16=bf16)

    return score
