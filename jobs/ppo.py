"""Proximal policy optimisation of the SFT model against the reward model (Schulman et al. 2017, arXiv:1707.06347).

Reads top to bottom: the stage, one round (rollout, score, advantages, update), measuring, checkpoint. The formulas are
in `jobs.ppo_math`, the forward passes in `jobs.ppo_models`. Does not know Ray or the object store.

Shapes: B rollouts of this process, P prompt tokens (flush right), R reply tokens (flush left), `mask` 1 on tokens.

Nothing here draws from a global random state. Prompts, seeds of replies and the order of minibatches are functions of
the job's seed and the round, so that a restart needs none of them stored and n processes do what one would: gradients
and statistics are sums over all processes, divided by global counts.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import BadInput
from core.jobspec import PpoStage
from jobs import data, ppo_math
from jobs.chat_format import Messages, render_prompt, reply_text
from jobs.collective import all_sum, sum_gradients
from jobs.compute import piece, prepare, share_of_batch, use_bf16
from jobs.context import StageContext, StageResult, World
from jobs.generation import Sampling, generate, pad_left, pad_right
from jobs.ppo_models import Actor, Critic, restore, trained_state
from jobs.scoring import Score, scorer
from jobs.stats import repetition
from jobs.weights import load_policy, load_reward, load_tokenizer, newest, save_trained

STATE = "state.pt"
HELD_OUT_SEED = 1 << 40
"""Added to the seeds of held-out replies, so that they are never those of a training round."""


def run(context: StageContext, config: PpoStage) -> StageResult:
    """The stage: train, measured on held-out prompts before and after; the output is the policy's adapter or whole."""
    prepare(context)
    tokenizer = load_tokenizer(context.base)
    rows = data.load(context, config.dataset, "prompts")
    bf16 = use_bf16(config.bf16, context.world.device)
    reward, facts = load_reward(context)
    actor = Actor(
        load_policy(context, after=newest(context, "sft")), config.lora, temperature=config.temperature, bf16=bf16
    )
    critic = Critic(reward, config.lora, bf16=bf16)
    judge = scorer(reward, tokenizer, facts["max_length"], bf16=bf16)
    ppo = Ppo(
        config,
        context.seed,
        context.world,
        tokenizer,
        actor,
        critic,
        judge,
        (facts["mean"], facts["std"]),
        context.check_stop,
    )
    train = Prompts.of(rows.train, tokenizer, config.max_prompt_tokens)
    held_out = Prompts.of(rows.validation[: config.eval_prompts], tokenizer, config.max_prompt_tokens)
    _resume(context, ppo)
    if ppo.step == 0:
        ppo.before = _report_held_out(context, ppo, held_out, "before")
    stopped = _train(context, ppo, train)
    after = _report_held_out(context, ppo, held_out, "after")
    return _result(context, ppo, after, stopped, cut=train.cut)


def _train(context: StageContext, ppo: Ppo, prompts: Prompts) -> str | None:
    """Rounds until the last, or until the policy is too far from its reference; says why it stopped early."""
    config = ppo.config
    while ppo.step < config.steps:
        context.check_stop()
        metrics = ppo.round(prompts)
        context.report.progress(ppo.step, config.steps, **metrics)
        prompt, reply = ppo.last_sample
        context.report.sample(prompt, reply, step=ppo.step)
        if ppo.step % config.save_every == 0 or ppo.step == config.steps:
            _save(context, ppo)
        if metrics["kl"] > config.kl.limit:
            message = (
                f"stopped at round {ppo.step}: KL {metrics['kl']:.2f} nats a reply, the limit is {config.kl.limit}"
            )
            context.report.log(message)
            return message
    return None


@dataclass(frozen=True)
class Prompts:
    """Prompts as messages and as ids; `cut` counts those that lost their left end."""

    messages: list[Messages]
    ids: list[list[int]]
    cut: int

    @classmethod
    def of(cls, rows: Sequence[data.Row], tokenizer: Any, max_tokens: int) -> Prompts:
        """Render the rows of a prompts snapshot; what is longer than `max_tokens` loses its left end."""
        whole = [render_prompt(tokenizer, row["prompt"]) for row in rows]
        return cls(
            [row["prompt"] for row in rows],
            [ids[-max_tokens:] for ids in whole],
            sum(len(i) > max_tokens for i in whole),
        )

    def choose(self, step: int, count: int, seed: int) -> list[int]:
        """Indices of round `step`: a walk through shuffled passes over all prompts."""
        size = len(self.ids)
        orders: dict[int, list[int]] = {}
        chosen = []
        for place in range(step * count, (step + 1) * count):
            turn, index = divmod(place, size)
            if turn not in orders:
                orders[turn] = list(range(size))
                random.Random(f"{seed}:prompts:{turn}").shuffle(orders[turn])  # noqa: S311 - reproducible, not secret
            chosen.append(orders[turn][index])
        return chosen


@dataclass
class Rollouts:
    """Replies of one round on this process, and what is known about each of their tokens."""

    ids: Tensor  # [B, P + R]
    attention: Tensor  # [B, P + R]
    mask: Tensor  # [B, R], 1.0 on reply tokens
    scores: Tensor  # [B], raw reward model scores
    ended: Tensor  # [B], 1.0 where the reply ended by itself
    old: Tensor  # [B, R] log-probabilities under the policy that sampled
    reference: Tensor  # [B, R]
    values: Tensor  # [B, R]
    entropy: Tensor  # [B, R]
    repetition: float  # sum over rows
    advantages: Tensor = field(default_factory=lambda: torch.empty(0))  # [B, R], whitened
    returns: Tensor = field(default_factory=lambda: torch.empty(0))  # [B, R]

    def __len__(self) -> int:
        return len(self.scores)


@dataclass
class Ppo:
    """The trainer: two optimisers, the KL controller, the number of rounds done."""

    config: PpoStage
    seed: int
    world: World
    tokenizer: Any
    actor: Actor
    critic: Critic
    judge: Score
    score_scale: tuple[float, float]  # mean and deviation of held-out scores
    check_stop: Callable[[], None] = lambda: None
    step: int = 0
    before: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    last_sample: tuple[str, str] = ("", "")

    def __post_init__(self) -> None:
        config = self.config
        self.local_batch = share_of_batch(config.rollout_batch, self.world)
        self.local_minibatch = share_of_batch(config.minibatch, self.world)
        if config.rollout_batch % config.minibatch:
            raise BadInput(f"rollout_batch {config.rollout_batch} is no multiple of minibatch {config.minibatch}")
        self.kl = ppo_math.AdaptiveKl(config.kl.coef, config.kl.target, config.kl.horizon)
        self.policy_optimizer = torch.optim.AdamW(self.actor.parameters, lr=config.learning_rate, weight_decay=0.0)
        self.critic_optimizer = torch.optim.AdamW(
            self.critic.parameters, lr=config.critic_learning_rate, weight_decay=0.0
        )

    # ---- one round -------------------------------------------------------------------------------------------------

    def round(self, prompts: Prompts) -> dict[str, float]:
        """Sample, score, learn; returns the round's numbers, global means."""
        config = self.config
        chosen = prompts.choose(self.step, config.rollout_batch, self.seed)
        mine = chosen[self.world.rank :: self.world.size]
        places = range(self.world.rank, config.rollout_batch, self.world.size)
        seeds = [_reply_seed(self.seed, self.step * config.rollout_batch + place) for place in places]
        batch = self.rollout([prompts.messages[i] for i in mine], [prompts.ids[i] for i in mine], seeds)
        metrics = self.describe(batch)
        metrics |= self.set_advantages(batch)
        metrics |= self.update(batch)
        metrics["kl_coef"] = self.kl.coef
        self.kl.update(metrics["kl"], config.rollout_batch)
        self.step += 1
        self.history.append({"step": self.step, **metrics})
        return metrics

    @torch.no_grad()
    def rollout(self, messages: list[Messages], prompts: list[list[int]], seeds: list[int]) -> Rollouts:
        """Replies to the prompts, scored, with log-probabilities and values recomputed by the training forward."""
        config = self.config
        sampling = Sampling(config.max_new_tokens, config.temperature, config.top_p)
        pad, eos = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        replies = generate(
            self.actor.policy,
            prompts,
            seeds,
            sampling,
            eos=eos,
            pad=pad,
            bf16=self.actor.bf16,
            check_stop=self.check_stop,
        )
        texts = [reply_text(self.tokenizer, reply) for reply in replies]
        self.last_sample = (str(messages[0][-1]["content"]), texts[0])
        with self.critic.scoring():
            scores = self.judge(messages, texts)
        device = self.actor.policy.device
        left, left_mask = pad_left(prompts, pad, device)
        right, right_mask = pad_right(replies, pad, device)
        ids, attention = torch.cat([left, right], 1), torch.cat([left_mask, right_mask], 1)  # [B, P + R]
        old, reference, values, entropy = (torch.zeros(right.shape, device=device) for _ in range(4))
        # The same pieces as the first pass of `update`: the first ratio is then exactly 1, not nearly.
        for rows in self.pieces(0, len(replies), ids.shape[1]):
            old[rows], entropy[rows] = self.actor.log_probs(ids[rows], attention[rows], right.shape[1])
            reference[rows], _ = self.actor.log_probs(ids[rows], attention[rows], right.shape[1], reference=True)
            values[rows] = self.critic.values(ids[rows], attention[rows], right.shape[1])
        ended = torch.tensor([float(reply[-1] == eos) for reply in replies], device=device)
        return Rollouts(
            ids, attention, right_mask.float(), torch.tensor(scores, device=device), ended,
            old, reference, values, entropy, sum(repetition(reply) for reply in replies),
        )  # fmt: skip

    def set_advantages(self, batch: Rollouts) -> dict[str, float]:
        """Rewards (score and KL penalty), advantages whitened over all processes' tokens, returns for the critic."""
        config = self.config
        scores = ppo_math.normalise_scores(batch.scores, *self.score_scale, config.reward_clip)
        scores = scores - config.missing_eos_penalty * (1 - batch.ended)
        kl = ppo_math.kl_k1(batch.old, batch.reference)
        rewards = ppo_math.token_rewards(scores, kl, batch.mask, self.kl.coef)
        advantages, batch.returns = ppo_math.gae(rewards, batch.values, batch.mask, config.gamma, config.lam)
        total, count, tokens = all_sum([float(advantages.sum()), float((advantages**2).sum()), float(batch.mask.sum())])
        mean = total / tokens
        batch.advantages = ppo_math.whiten(advantages, batch.mask, mean, count / tokens - mean**2)
        residual = ((batch.returns - batch.values) * batch.mask) ** 2
        sums = [float(residual.sum()), float(batch.returns.sum()), float((batch.returns**2).sum()), float(scores.sum())]
        squares, first, second, normalised = all_sum(sums)
        return {
            "explained_variance": ppo_math.explained_variance(squares, first, second, tokens),
            "normalised_reward": normalised / config.rollout_batch,
        }

    def update(self, batch: Rollouts) -> dict[str, float]:
        """`epochs` passes of minibatch steps; in the first `critic_warmup` rounds of the critic alone."""
        config = self.config
        learns = self.step >= config.critic_warmup
        parts: list[list[float]] = []
        norms: list[tuple[float, float]] = []
        for epoch in range(config.epochs):
            for minibatch in self.minibatches(epoch, len(batch)):
                self.check_stop()
                (tokens,) = all_sum([float(batch.mask[minibatch].sum())])
                parts += [
                    self.learn(batch, rows, tokens, policy=learns) for rows in _split(minibatch, batch.ids.shape[1])
                ]
                norms.append(self.optimise(policy=learns))
        policy, value, clipped, log_ratio, tokens, _ = all_sum([sum(column) for column in zip(*parts, strict=True)])
        return {
            "policy_loss": policy / tokens,
            "value_loss": value / tokens,
            "clip_fraction": clipped / tokens,
            "approx_kl": -log_ratio / tokens,
            "first_ratio_error": parts[0][5],
            "grad_norm": sum(norm for norm, _ in norms) / len(norms),
            "critic_grad_norm": sum(norm for _, norm in norms) / len(norms),
        }

    def learn(self, batch: Rollouts, rows: Tensor, tokens: float, *, policy: bool) -> list[float]:
        """Gradients of one piece; returns policy loss, value loss, clipped, log-ratio, tokens (sums), ratio error."""
        config = self.config
        mask, reply = batch.mask[rows], batch.mask.shape[1]
        values = self.critic.values(batch.ids[rows], batch.attention[rows], reply)
        value = ppo_math.value_loss(values, batch.values[rows], batch.returns[rows], mask, config.value_clip)
        torch.autograd.backward(value / tokens)
        parts = [0.0, float(value.detach()), 0.0, 0.0, float(mask.sum()), 0.0]
        if policy:
            log_probs, _ = self.actor.log_probs(batch.ids[rows], batch.attention[rows], reply)
            loss, clipped = ppo_math.policy_loss(
                log_probs, batch.old[rows], batch.advantages[rows], mask,
                clip_low=config.clip_low, clip_high=config.clip_high, dual_clip=config.dual_clip,
            )  # fmt: skip
            torch.autograd.backward(loss / tokens)
            log_ratio = (log_probs.detach() - batch.old[rows]) * mask
            parts[0], parts[2], parts[3] = float(loss.detach()), float(clipped), float(log_ratio.sum())
            parts[5] = float(log_ratio.exp().sub(1).abs().max())
        return parts

    def optimise(self, *, policy: bool) -> tuple[float, float]:
        """One step of each optimiser on gradients summed over all processes and clipped; returns both norms."""
        norms = [0.0, 0.0]
        pairs = [(self.actor.parameters, self.policy_optimizer), (self.critic.parameters, self.critic_optimizer)]
        for index, (parameters, optimizer) in enumerate(pairs):
            if index == 0 and not policy:
                continue
            sum_gradients(parameters)
            norms[index] = float(torch.nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return norms[0], norms[1]

    # ---- order and numbers -----------------------------------------------------------------------------------------

    def minibatches(self, epoch: int, count: int) -> Iterator[Tensor]:
        """Indices into this process's rollouts; minibatch k of all processes together is the global minibatch k."""
        order = list(range(count))
        random.Random(f"{self.seed}:order:{self.step}:{epoch}").shuffle(order)  # noqa: S311 - reproducible, not secret
        for start in range(0, count, self.local_minibatch):
            yield torch.tensor(order[start : start + self.local_minibatch])

    def pieces(self, epoch: int, count: int, length: int) -> Iterator[Tensor]:
        """The minibatches of `epoch`, cut into what one forward pass takes."""
        for minibatch in self.minibatches(epoch, count):
            yield from _split(minibatch, length)

    def describe(self, batch: Rollouts) -> dict[str, float]:
        """Global means over rollouts: reward, KL of a reply and of a token, entropy, endings, length, repetition."""
        kl = ppo_math.kl_k1(batch.old, batch.reference) * batch.mask
        k3 = ppo_math.kl_k3(batch.old, batch.reference) * batch.mask
        local = [
            batch.scores.sum(), kl.sum(), k3.sum(), (batch.entropy * batch.mask).sum(),
            batch.ended.sum(), batch.mask.sum(),
        ]  # fmt: skip
        sums = all_sum([*(float(value) for value in local), batch.repetition, float(len(batch))])
        reward, kl_sum, k3_sum, entropy, ended, tokens, repeated, rows = sums
        return {
            "reward": reward / rows,
            "kl": kl_sum / rows,
            "kl_per_token": kl_sum / tokens,
            "kl_k3_per_token": k3_sum / tokens,
            "entropy": entropy / tokens,
            "eos_rate": ended / rows,
            "length": tokens / rows,
            "repetition": repeated / rows,
        }

    def held_out(self, prompts: Prompts) -> dict[str, float]:
        """The numbers of `describe` on prompts that are never trained on, replies sampled from fixed seeds."""
        mine = range(self.world.rank, len(prompts.ids), self.world.size)
        # A rank without a prompt of its own repeats the first one, so that every rank makes every call.
        chosen = list(mine) or [0]
        seeds = [_reply_seed(self.seed, HELD_OUT_SEED + index) for index in chosen]
        batch = self.rollout([prompts.messages[i] for i in chosen], [prompts.ids[i] for i in chosen], seeds)
        return self.describe(batch)


def _split(rows: Tensor, length: int) -> Iterator[Tensor]:
    yield from torch.split(rows, piece(len(rows), length))


def _reply_seed(seed: int, place: int) -> int:
    """A seed for reply number `place` of the job."""
    return random.Random(f"{seed}:reply:{place}").getrandbits(62)  # noqa: S311 - reproducible, not secret


def _report_held_out(context: StageContext, ppo: Ppo, prompts: Prompts, when: str) -> dict[str, float]:
    measured = ppo.held_out(prompts)
    for name in ("reward", "kl", "eos_rate", "length"):
        context.report.metric(f"held_out_{name}", measured[name], when=when)
    return measured


# ---- checkpoint and result -----------------------------------------------------------------------------------------


def _save(context: StageContext, ppo: Ppo) -> None:
    folder = context.workdir / "checkpoint"
    if context.world.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(_state(ppo), folder / STATE)
    context.checkpoints.save(ppo.step, folder)


def _state(ppo: Ppo) -> dict[str, Any]:
    return {
        "step": ppo.step,
        "kl_coef": ppo.kl.coef,
        "before": ppo.before,
        "history": ppo.history,
        "policy": trained_state(ppo.actor.parameters),
        "critic": trained_state(ppo.critic.parameters),
        "policy_optimizer": ppo.policy_optimizer.state_dict(),
        "critic_optimizer": ppo.critic_optimizer.state_dict(),
    }


def _resume(context: StageContext, ppo: Ppo) -> None:
    """Go on from the newest checkpoint, if there is one."""
    if (found := context.checkpoints.latest()) is None:
        return
    state = torch.load(found[1] / STATE, map_location=context.world.device, weights_only=True)
    ppo.step, ppo.before, ppo.history, ppo.kl.coef = state["step"], state["before"], state["history"], state["kl_coef"]
    restore(ppo.actor.parameters, state["policy"])
    restore(ppo.critic.parameters, state["critic"])
    ppo.policy_optimizer.load_state_dict(state["policy_optimizer"])
    ppo.critic_optimizer.load_state_dict(state["critic_optimizer"])
    context.report.log(f"resumed at round {ppo.step}")


def _result(context: StageContext, ppo: Ppo, after: dict[str, float], stopped: str | None, cut: int) -> StageResult:
    folder = context.workdir / "output"
    info: dict[str, Any] = {"adapter": ppo.config.lora is not None}
    if context.world.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        save_trained(ppo.actor.policy, folder)
        (folder / "history.json").write_text(json.dumps(ppo.history))
    metrics: dict[str, Any] = {
        "rounds": ppo.step,
        "before": ppo.before,
        "after": after,
        "first": ppo.history[0] if ppo.history else {},
        "last": ppo.history[-1] if ppo.history else {},
        "prompts_cut": cut,
        "stopped": stopped,
    }
    return StageResult(Path(folder), metrics, info)
