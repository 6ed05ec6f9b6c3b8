"""Sampling replies in batches with a key-value cache, the same for rollouts, evaluation and samples.

Knows logits, temperature, top-p and when a reply ends. Does not know rewards or training. Every row draws from a
generator of its own, so that a reply depends on its prompt and its seed, and neither on the batch that it happens to
be in, nor on how many processes share the work, nor on a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from jobs.compute import autocast
from jobs.weights import backbone


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn.

    Attributes:
        max_new_tokens: tokens after which a reply is cut.
        temperature: 0 takes the most likely token.
        top_p: share of probability that is kept (Holtzman et al. 2020, arXiv:1904.09751).
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0


@torch.no_grad()
def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: Sampling,
    *,
    eos: int,
    pad: int,
    bf16: bool = False,
    check_stop: Callable[[], None] = lambda: None,
) -> list[list[int]]:
    """One reply for each prompt: ids, the last being `eos` unless the reply was cut.

    Args:
        model: a causal language model, with or without adapters.
        prompts: ids of each prompt.
        seeds: one for each prompt.
        sampling: how to draw.
        eos: id that ends a reply.
        pad: id that fills.
        bf16: compute in bfloat16, logits aside.
        check_stop: called before each token.
    """
    if not prompts:
        return []
    device = model.device
    ids, mask = pad_left(prompts, pad, device)
    noise = _noise(seeds, sampling.max_new_tokens).to(device)
    done = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    drawn: list[Tensor] = []
    cache: Any = None
    feed, position = ids, positions(mask)
    for step in range(sampling.max_new_tokens):
        check_stop()
        with autocast(bf16, device.type):
            out = backbone(model)(
                input_ids=feed, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True
            )
        cache = out.past_key_values
        logits = float_logits(model, out.last_hidden_state[:, -1])
        token = torch.where(done, pad, pick(logits, noise[:, step], sampling))  # [B]
        drawn.append(token)
        done |= token == eos
        if bool(done.all()):
            break
        feed, position = token[:, None], position[:, -1:] + 1
        mask = torch.cat([mask, torch.ones_like(feed)], dim=1)
    return [_until(row, eos) for row in torch.stack(drawn, dim=1).tolist()]


def float_logits(model: Any, hidden: Tensor) -> Tensor:
    """The output head in float32, whatever the transformer before it computed in: [..., hidden] -> [..., vocabulary].

    Differences of log-probabilities are what PPO learns from; bfloat16 logits would bury them in rounding.
    """
    head = model.get_output_embeddings()
    return torch.nn.functional.linear(hidden.float(), head.weight.float())


def pick(logits: Tensor, noise: Tensor, sampling: Sampling) -> Tensor:
    """One token a row by inverting the cumulative distribution at `noise`.

    Args:
        logits: [B, V], float32.
        noise: [B], uniform in [0, 1).
        sampling: temperature 0 ignores the noise.

    Returns:
        [B], int64.
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = torch.softmax(logits.double() / sampling.temperature, dim=-1)
    order = None
    if sampling.top_p < 1:
        probabilities, order = probabilities.sort(dim=-1, descending=True)
        before = probabilities.cumsum(dim=-1) - probabilities
        probabilities = probabilities * (before < sampling.top_p)
    cumulative = probabilities.cumsum(dim=-1)
    target = noise.double()[:, None] * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, target, right=True).clamp(max=logits.shape[-1] - 1)
    return (index if order is None else order.gather(1, index))[:, 0]


def pad_left(rows: Sequence[Sequence[int]], pad: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Ids and mask, [B, longest], rows flush right."""
    width = max(len(row) for row in rows)
    ids = [[pad] * (width - len(row)) + list(row) for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def pad_right(rows: Sequence[Sequence[int]], pad: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Ids and mask, [B, longest], rows flush left."""
    width = max(len(row) for row in rows)
    ids = [list(row) + [pad] * (width - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def positions(mask: Tensor) -> Tensor:
    """Position of each token among the unmasked ones of its row, [B, T]; 0 at padding."""
    return (mask.cumsum(dim=1) - 1).clamp(min=0)


def _noise(seeds: Sequence[int], count: int) -> Tensor:
    """[rows, count] uniform numbers, each row from its own seed."""
    rows = [torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in seeds]
    return torch.stack(rows)


def _until(row: list[int], eos: int) -> list[int]:
    return row[: row.index(eos) + 1] if eos in row else row
