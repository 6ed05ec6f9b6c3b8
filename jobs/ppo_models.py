"""The four models of PPO as two: an actor (policy and reference) and a critic (value and reward).

With adapters, the reference is the policy with its adapter off and the reward model is the critic's backbone with its
adapter off, so that two sets of weights serve four roles. Without, the reference and the critic are whole copies.
Knows forward passes. Does not know rollouts, losses or steps.

Dropout stays off throughout: the log-probabilities that a ratio compares must come from the same function.
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from core.jobspec import Lora
from jobs.compute import autocast, store_frozen_in_bf16
from jobs.generation import float_logits, positions
from jobs.ppo_math import log_probs_and_entropy
from jobs.weights import backbone, with_lora


class Actor:
    """The policy that learns and the reference that it is held to.

    Args:
        model: the SFT model, in float32; taken over.
        lora: adapters; None trains a whole copy.
        temperature: of the sampler: log-probabilities are those of the sampled distribution.
        bf16: compute in bfloat16, logits aside.
    """

    def __init__(self, model: Any, lora: Lora | None, *, temperature: float, bf16: bool) -> None:
        self.temperature = temperature
        self.bf16 = bf16
        self.copy = None if lora else copy.deepcopy(model).requires_grad_(False).eval()
        self.policy = with_lora(model, lora) if lora else model
        self.policy.eval()
        self.policy.config.use_cache = True
        self.parameters = [item for item in self.policy.parameters() if item.requires_grad]
        if bf16 and lora:
            store_frozen_in_bf16(self.policy, self.policy.get_output_embeddings())

    def log_probs(self, ids: Tensor, mask: Tensor, reply: int, *, reference: bool = False) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies of the last `reply` ids of each row.

        Args:
            ids: [B, P + R].
            mask: [B, P + R].
            reply: R.
            reference: of the reference instead, without gradient.

        Returns:
            Two tensors [B, R], float32.
        """
        model = self.copy if reference and self.copy is not None else self.policy
        with torch.set_grad_enabled(torch.is_grad_enabled() and not reference), self._as(reference):
            hidden = hidden_states(backbone(model), ids, mask, reply, self.bf16)
            logits = float_logits(model, hidden)
        return log_probs_and_entropy(logits, ids[:, -reply:], self.temperature)

    def _as(self, reference: bool) -> AbstractContextManager[Any]:
        return self.policy.disable_adapter() if reference and self.copy is None else nullcontext()


class Critic:
    """The value of each state of a reply, on the reward model's backbone.

    Args:
        reward: the reward model, in float32; it stays usable through `scoring`.
        lora: adapters; None trains a whole copy of the backbone.
        bf16: compute in bfloat16.
    """

    def __init__(self, reward: Any, lora: Lora | None, *, bf16: bool) -> None:
        self.bf16 = bf16
        self.reward = reward.requires_grad_(False).eval()
        self.adapted: Any = None
        if lora:
            self.adapted = with_lora(backbone(reward), lora, task="FEATURE_EXTRACTION").eval()
            self.backbone = backbone(reward)
        else:
            self.backbone = copy.deepcopy(backbone(reward)).requires_grad_(True).eval()
        # Values start at 0, the mean of normalised rewards, rather than at noise.
        self.head = torch.nn.Linear(reward.config.hidden_size, 1, device=reward.device)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        self.parameters = [
            *(item for item in self.backbone.parameters() if item.requires_grad),
            *self.head.parameters(),
        ]
        if bf16 and lora:
            store_frozen_in_bf16(self.backbone, None)

    def values(self, ids: Tensor, mask: Tensor, reply: int) -> Tensor:
        """Value of the state before each of the last `reply` ids: [B, R], float32."""
        hidden = hidden_states(self.backbone, ids, mask, reply, self.bf16)
        return torch.nn.functional.linear(hidden.float(), self.head.weight, self.head.bias)[..., 0]

    def scoring(self) -> AbstractContextManager[Any]:
        """Within it `self.reward` is the reward model as it was trained."""
        return self.adapted.disable_adapter() if self.adapted is not None else nullcontext()


def hidden_states(transformer: Any, ids: Tensor, mask: Tensor, reply: int, bf16: bool) -> Tensor:
    """Hidden states that predict the last `reply` ids: those one place before each, [B, R, hidden]."""
    with autocast(bf16, ids.device.type):
        out = transformer(input_ids=ids, attention_mask=mask, position_ids=positions(mask), use_cache=False)
    hidden: Tensor = out.last_hidden_state[:, -reply - 1 : -1]
    return hidden


def trained_state(parameters: list[torch.nn.Parameter]) -> list[Tensor]:
    """Copies of the trained tensors, in the order of `parameters`, on the CPU."""
    return [parameter.detach().cpu().clone() for parameter in parameters]


def restore(parameters: list[torch.nn.Parameter], state: list[Tensor]) -> None:
    """Put back what `trained_state` copied."""
    for parameter, saved in zip(parameters, state, strict=True):
        parameter.data.copy_(saved)
