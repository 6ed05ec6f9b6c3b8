"""Every formula of PPO against values worked out by hand, and the properties that hold for any values."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import ppo_math

tensor = torch.tensor


def test_log_probs_and_entropy_of_two_tokens() -> None:
    # softmax([0, ln 3]) = [1/4, 3/4]
    logits = tensor([[[0.0, math.log(3.0)]]])
    log_probs, entropy = ppo_math.log_probs_and_entropy(logits, tensor([[1]]), 1.0)
    assert log_probs.item() == pytest.approx(math.log(0.75), abs=1e-6)
    assert entropy.item() == pytest.approx(-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)), abs=1e-6)


def test_log_probs_are_those_of_the_tempered_distribution() -> None:
    logits = tensor([[[0.0, 2 * math.log(3.0)]]])
    log_probs, _ = ppo_math.log_probs_and_entropy(logits, tensor([[0]]), 2.0)
    assert log_probs.item() == pytest.approx(math.log(0.25), abs=1e-6)


def test_k1_is_the_clamped_log_ratio() -> None:
    found = ppo_math.kl_k1(tensor([-1.0, -30.0, -1.0]), tensor([-1.5, -1.0, -30.0]))
    assert found.tolist() == [0.5, -10.0, 10.0]


def test_k3_by_hand_and_never_negative() -> None:
    # r = q / p = e^{0.5}: e^0.5 - 1 - 0.5
    assert ppo_math.kl_k3(tensor([-1.0]), tensor([-0.5])).item() == pytest.approx(math.exp(0.5) - 1.5, abs=1e-6)
    assert ppo_math.kl_k3(tensor([-1.0]), tensor([-1.0])).item() == 0.0


def test_k1_and_k3_both_estimate_the_divergence() -> None:
    p, q = tensor([0.2, 0.3, 0.5]).double(), tensor([0.4, 0.4, 0.2]).double()
    exact = float((p * (p / q).log()).sum())
    assert float((p * ppo_math.kl_k1(p.log(), q.log())).sum()) == pytest.approx(exact)
    assert float((p * ppo_math.kl_k3(p.log(), q.log())).sum()) == pytest.approx(exact)


def test_scores_in_units_of_their_deviation_and_clipped() -> None:
    found = ppo_math.normalise_scores(tensor([3.0, -9.0, 100.0]), mean=1.0, std=2.0, clip=4.0)
    assert found.tolist() == [1.0, -4.0, 4.0]


def test_the_score_lies_on_the_last_token_and_the_penalty_on_all() -> None:
    kl = tensor([[1.0, 2.0, 3.0], [1.0, 1.0, 9.0]])
    mask = tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    found = ppo_math.token_rewards(tensor([5.0, -1.0]), kl, mask, coef=0.1)
    assert torch.allclose(found, tensor([[-0.1, -0.2, 4.7], [-0.1, -1.1, 0.0]]))


def test_gae_by_hand() -> None:
    # gamma .5, lambda .5; V = 1, 2, 3; r = 0, 0, 4
    # delta_2 = 4 - 3 = 1; delta_1 = .5*3 - 2 = -.5; delta_0 = .5*2 - 1 = 0
    # A_2 = 1; A_1 = -.5 + .25*1 = -.25; A_0 = 0 + .25*-.25 = -.0625
    advantages, returns = ppo_math.gae(
        tensor([[0.0, 0.0, 4.0]]), tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 3), gamma=0.5, lam=0.5
    )
    assert torch.allclose(advantages, tensor([[-0.0625, -0.25, 1.0]]))
    assert torch.allclose(returns, tensor([[0.9375, 1.75, 4.0]]))


def test_gae_ends_with_the_reply_whatever_the_padding_holds() -> None:
    mask = tensor([[1.0, 1.0, 0.0]])
    short = ppo_math.gae(tensor([[0.0, 1.0]]), tensor([[0.5, 0.25]]), torch.ones(1, 2), gamma=1.0, lam=0.95)
    padded = ppo_math.gae(tensor([[0.0, 1.0, 77.0]]), tensor([[0.5, 0.25, 99.0]]), mask, gamma=1.0, lam=0.95)
    for a, b in zip(short, padded, strict=True):
        assert torch.allclose(a, b[:, :2])
        assert b[0, 2] == 0


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=8),
    st.floats(0.5, 1.0),
)
@settings(max_examples=60, deadline=None)
def test_lambda_one_is_the_discounted_sum_less_the_value(rewards: list[float], gamma: float) -> None:
    values = torch.linspace(-1, 1, len(rewards), dtype=torch.float64)[None]
    row = tensor([rewards], dtype=torch.float64)
    advantages, returns = ppo_math.gae(row, values, torch.ones_like(row), gamma, 1.0)
    for t in range(len(rewards)):
        whole = sum(gamma ** (k - t) * rewards[k] for k in range(t, len(rewards)))
        assert returns[0, t].item() == pytest.approx(whole, abs=1e-9)
        assert advantages[0, t].item() == pytest.approx(whole - values[0, t].item(), abs=1e-9)


def test_whitened_values_have_mean_0_and_variance_1() -> None:
    values = tensor([[1.0, 2.0, 3.0, 50.0]])
    mask = tensor([[1.0, 1.0, 1.0, 0.0]])
    found = ppo_math.whiten(values, mask, mean=2.0, variance=2 / 3)
    assert found[0, 3] == 0
    assert torch.allclose(found[0, :3], tensor([-1.2247449, 0.0, 1.2247449]))


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.0, 2.0, -2.0, 0),  # on policy
        (1.5, 2.0, -2.4, 1),  # gains above 1 + clip_high count no more
        (0.5, 2.0, -1.0, 0),  # a good token made less likely: no clip
        (0.5, -2.0, 1.6, 1),  # losses below 1 - clip_low count no less
        (1.5, -2.0, 3.0, 0),  # a bad token made likelier: no clip
        (9.0, -2.0, 6.0, 1),  # dual clip: at most 3 times the advantage
    ],
)
def test_policy_loss_by_hand(ratio: float, advantage: float, loss: float, clipped: int) -> None:
    found, active = ppo_math.policy_loss(
        tensor([[math.log(ratio)]]), tensor([[0.0]]), tensor([[advantage]]), torch.ones(1, 1),
        clip_low=0.2, clip_high=0.2, dual_clip=3.0,
    )  # fmt: skip
    assert found.item() == pytest.approx(loss, abs=1e-5)
    assert int(active) == clipped


def test_policy_loss_is_a_sum_over_unmasked_tokens() -> None:
    found, active = ppo_math.policy_loss(
        torch.zeros(1, 3), torch.zeros(1, 3), tensor([[1.0, 2.0, 40.0]]), tensor([[1.0, 1.0, 0.0]]),
        clip_low=0.2, clip_high=0.2, dual_clip=3.0,
    )  # fmt: skip
    assert found.item() == -3.0
    assert int(active) == 0


def test_clipped_tokens_give_no_gradient() -> None:
    log_probs = tensor([[math.log(1.5), 0.0]], requires_grad=True)
    loss, _ = ppo_math.policy_loss(
        log_probs, torch.zeros(1, 2), torch.ones(1, 2), torch.ones(1, 2), clip_low=0.2, clip_high=0.2, dual_clip=3.0
    )
    loss.backward()
    assert log_probs.grad is not None
    assert log_probs.grad[0, 0] == 0
    assert log_probs.grad[0, 1] == -1  # d/d log p of -A * ratio at ratio 1


def test_value_loss_takes_the_worse_of_clipped_and_not() -> None:
    # old 0, clip .2, return 1. Value .5: plain .25, clipped (.2 - 1)^2 = .64 -> .32
    found = ppo_math.value_loss(tensor([[0.5]]), tensor([[0.0]]), tensor([[1.0]]), torch.ones(1, 1), 0.2)
    assert found.item() == pytest.approx(0.32, abs=1e-6)
    # Value -.1: plain 1.21, clipped the same, -> .605; the masked token adds nothing
    found = ppo_math.value_loss(
        tensor([[-0.1, 9.0]]), torch.zeros(1, 2), tensor([[1.0, 1.0]]), tensor([[1.0, 0.0]]), 0.2
    )
    assert found.item() == pytest.approx(0.605, abs=1e-6)


def test_explained_variance_of_a_perfect_a_mean_and_a_useless_critic() -> None:
    returns = [1.0, 2.0, 3.0]
    first, second = sum(returns), sum(value**2 for value in returns)
    assert ppo_math.explained_variance(0.0, first, second, 3) == 1.0
    assert ppo_math.explained_variance(2.0, first, second, 3) == pytest.approx(0.0)
    assert ppo_math.explained_variance(14.0, first, second, 3) < 0
    assert ppo_math.explained_variance(1.0, 3.0, 3.0, 3) == 0.0  # returns that do not vary


def test_the_kl_coefficient_moves_towards_the_target() -> None:
    controller = ppo_math.AdaptiveKl(coef=0.1, target=2.0, horizon=100)
    controller.update(kl=10.0, replies=50)  # error clipped at .2: 1 + .2 * .5
    assert controller.coef == pytest.approx(0.11)
    controller.update(kl=1.9, replies=100)  # error -.05
    assert controller.coef == pytest.approx(0.11 * 0.95)
    controller.update(kl=2.0, replies=100)
    assert controller.coef == pytest.approx(0.11 * 0.95)


@given(st.floats(-5, 50), st.integers(1, 64))
def test_the_kl_coefficient_stays_positive(kl: float, replies: int) -> None:
    controller = ppo_math.AdaptiveKl(coef=0.05, target=1.0, horizon=64)
    for _ in range(20):
        controller.update(kl, replies)
    assert controller.coef > 0
