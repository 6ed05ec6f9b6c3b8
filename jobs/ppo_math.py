"""The formulas of PPO, each a few lines, each with its reduction and its source. Pure functions of tensors.

Shapes: B rollouts, R reply positions; `mask` is 1.0 up to and including a reply's last token, else 0.0. Losses are
sums over tokens: the caller divides by the number of tokens of the whole minibatch over all processes, so that pieces
and processes add up to the same gradient as one big batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

KL_CLAMP = 10.0
"""Nats: one token's estimate is cut here, so that a single rare token cannot dominate a reply's reward."""


def log_probs_and_entropy(logits: Tensor, ids: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probability of `ids` and entropy of the distribution they were drawn from, in nats.

    Args:
        logits: [B, R, V], float32.
        ids: [B, R].
        temperature: that of the sampler; the policy is the distribution that is sampled.

    Returns:
        Two tensors [B, R].
    """
    log_probs = torch.log_softmax(logits / temperature, dim=-1)
    entropy = -(log_probs.exp() * log_probs).sum(dim=-1)
    return log_probs.gather(-1, ids[..., None])[..., 0], entropy


def kl_k1(log_probs: Tensor, reference: Tensor) -> Tensor:
    """Estimate k1 of KL(policy || reference) for each sampled token, clamped: log p - log q (Schulman 2020).

    Unbiased and of either sign: right as a penalty inside the reward. No reduction.
    """
    return (log_probs - reference).clamp(-KL_CLAMP, KL_CLAMP)


def kl_k3(log_probs: Tensor, reference: Tensor) -> Tensor:
    """Estimate k3: r - 1 - log r with r = q / p; never negative, of low variance, for logs (Schulman 2020)."""
    log_ratio = (reference - log_probs).clamp(-KL_CLAMP, KL_CLAMP)
    return log_ratio.exp() - 1 - log_ratio


def normalise_scores(scores: Tensor, mean: float, std: float, clip: float) -> Tensor:
    """Reward model scores in units of their held-out deviation, clipped to ±`clip`. [B] -> [B]."""
    return ((scores - mean) / std).clamp(-clip, clip)


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, coef: float) -> Tensor:
    """Reward of each token: -coef * KL everywhere, plus the reply's score at its last token (Ziegler et al. 2019).

    Args:
        scores: [B].
        kl: [B, R].
        mask: [B, R], at least one token a row.
        coef: weight of the penalty.

    Returns:
        [B, R], 0 outside the mask.
    """
    rewards = -coef * kl * mask
    last = mask.sum(dim=1).long() - 1
    rewards[torch.arange(len(scores)), last] += scores
    return rewards


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438, equation 16).

    `values[:, t]` is the critic's estimate before token t; after the last token the value is 0.

    Returns:
        advantages [B, R] and returns (advantages + values) [B, R], both 0 outside the mask.
    """
    advantages = torch.zeros_like(rewards)
    running = torch.zeros_like(rewards[:, 0])
    following = torch.zeros_like(running)
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * following - values[:, t]
        running = (delta + gamma * lam * running) * mask[:, t]
        advantages[:, t] = running
        following = values[:, t] * mask[:, t]
    return advantages, (advantages + values) * mask


def whiten(values: Tensor, mask: Tensor, mean: float, variance: float) -> Tensor:
    """Values with the given (global) mean and variance brought to mean 0 and variance 1; 0 outside the mask."""
    return (values - mean) / math.sqrt(variance + 1e-8) * mask


def policy_loss(
    log_probs: Tensor,
    old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float,
) -> tuple[Tensor, Tensor]:
    """Clipped surrogate (Schulman et al. 2017, equation 7) with dual clip (Ye et al. 2020, arXiv:1912.09729).

    The dual clip bounds the loss of a token with negative advantage at `dual_clip` times that advantage, however
    large its ratio. Reduction: sum over tokens.

    Returns:
        The loss and, without gradient, the number of tokens on which a clip was active.
    """
    ratio = (log_probs - old).exp()
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip_low, 1 + clip_high)
    loss = torch.maximum(plain, clipped)
    loss = torch.where(advantages < 0, torch.minimum(loss, -dual_clip * advantages), loss)
    active = (loss.detach() != plain.detach()) & (mask > 0)
    return (loss * mask).sum(), active.sum()


def value_loss(values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, clip: float) -> Tensor:
    """Half the squared error, the worse of the value and the value kept within ±`clip` of the old one.

    As in the reference code of Schulman et al. 2017. Reduction: sum over tokens.
    """
    kept = old + (values - old).clamp(-clip, clip)
    worse = torch.maximum((values - returns) ** 2, (kept - returns) ** 2)
    return 0.5 * (worse * mask).sum()


def explained_variance(
    residual_sum_squares: float, return_sum: float, return_sum_squares: float, count: float
) -> float:
    """1 - Var(return - value) / Var(return) from global sums: 1 a perfect critic, 0 one that knows the mean.

    The residual's mean is not removed, so that a constant error counts; 0 where returns do not vary.
    """
    variance = return_sum_squares / count - (return_sum / count) ** 2
    return 1 - residual_sum_squares / count / variance if variance > 1e-12 else 0.0


@dataclass
class AdaptiveKl:
    """Controller of the KL penalty (Ziegler et al. 2019, arXiv:1909.08593, section 2.2).

    Attributes:
        coef: current weight of the penalty.
        target: wanted KL of a whole reply, in nats.
        horizon: replies over which the coefficient follows.
    """

    coef: float
    target: float
    horizon: int

    def update(self, kl: float, replies: int) -> None:
        """Move the coefficient after `replies` more replies of mean KL `kl`; at most 20 % of the way an horizon."""
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        self.coef *= 1 + error * replies / self.horizon
