"""PPO on the tiny base: it learns a toy task, resumes exactly, and two processes do what one does."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from stage_kit import as_output

from core.errors import BadInput
from core.jobspec import KlControl, PpoStage, RewardStage, SftStage, SnapshotRef
from jobs import ppo, reward, sft
from jobs.base import materialise
from jobs.chat_format import Messages
from jobs.context import StageContext, StageOutput, StageStopped, World
from jobs.generation import Sampling, generate, pad_left, pick
from jobs.ppo_models import Actor, Critic
from jobs.weights import load_policy, load_tokenizer, new_reward_model

CONFIG = PpoStage(
    dataset=SnapshotRef(name="prompts", version="v1"),
    steps=4,
    rollout_batch=4,
    minibatch=2,
    epochs=2,
    max_new_tokens=6,
    max_prompt_tokens=40,
    learning_rate=1e-3,
    critic_learning_rate=1e-3,
    save_every=2,
    eval_prompts=4,
    bf16=False,
)


@pytest.fixture(scope="module")
def trained(
    tiny_base: Path, snapshots: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, StageOutput]:
    """Short SFT and reward stages, made once."""
    from stage_kit import FolderCheckpoints, Recorder

    outputs: dict[str, StageOutput] = {}
    sft_stage = SftStage(dataset=SnapshotRef(name="sft", version="v1"), max_steps=4, max_length=64, bf16=False)
    rm_stage = RewardStage(dataset=SnapshotRef(name="preference", version="v1"), max_steps=4, max_length=64, bf16=False)
    for kind, module, config in (("sft", sft, sft_stage), ("reward", reward, rm_stage)):
        root = tmp_path_factory.mktemp(kind)
        context = StageContext(
            "job-1", kind, 1, 7, tiny_base, root, World(), outputs, snapshots, Recorder(), FolderCheckpoints(root / "c")
        )
        outputs[kind] = as_output(kind, module.run(context, config))
    return outputs


def _history(result: Any) -> list[dict[str, float]]:
    found: list[dict[str, float]] = json.loads((result.folder / "history.json").read_text())
    return found


def _differences(first: list[dict[str, float]], second: list[dict[str, float]]) -> float:
    assert len(first) == len(second)
    assert all(a.keys() == b.keys() for a, b in zip(first, second, strict=True))
    return max(abs(a[name] - b[name]) for a, b in zip(first, second, strict=True) for name in a)


@pytest.mark.parametrize("adapters", [True, False], ids=["lora", "whole"])
def test_the_stage_runs_and_says_what_it_did(make_context: Any, trained: Any, adapters: bool) -> None:
    config = CONFIG if adapters else CONFIG.model_copy(update={"lora": None, "learning_rate": 1e-4})
    context = make_context("02-ppo", trained)
    result = ppo.run(context, config)
    history = _history(result)
    assert [row["step"] for row in history] == [1, 2, 3, 4]
    assert [row["first_ratio_error"] for row in history] == [0.0] * 4
    assert history[0]["kl"] == pytest.approx(0.0, abs=1e-5)
    assert history[-1]["kl"] != 0.0
    assert context.checkpoints.saved == [2, 4]
    assert result.info == {"adapter": adapters}
    assert {"reward", "kl", "eos_rate", "length"} <= set(result.metrics["before"])
    later = make_context("03-evaluate", {**trained, "ppo": as_output("ppo", result)})
    after_ppo, after_sft = load_policy(later, after="ppo"), load_policy(later, after="sft")
    moved = [not torch.equal(a, b) for a, b in zip(after_ppo.parameters(), after_sft.parameters(), strict=True)]
    assert any(moved)


@pytest.mark.parametrize("bf16", [False, True])
def test_the_first_ratio_is_exactly_one(make_context: Any, trained: Any, bf16: bool) -> None:
    config = CONFIG.model_copy(
        update={"bf16": bf16, "steps": 2, "rollout_batch": 6, "minibatch": 3, "temperature": 0.7}
    )
    result = ppo.run(make_context("02-ppo", trained), config)
    assert [row["first_ratio_error"] for row in _history(result)] == [0.0, 0.0]


def test_a_run_that_was_cut_short_gives_the_same_numbers(make_context: Any, trained: Any) -> None:
    straight = ppo.run(make_context("02-ppo", trained, folder="straight"), CONFIG)
    seen = 0

    def stop() -> None:
        nonlocal seen
        seen += 1
        if context.checkpoints.saved == [2] and seen > 1:
            raise StageStopped("cancelled")

    context = make_context("02-ppo", trained, folder="cut", check_stop=stop)
    with pytest.raises(StageStopped):
        ppo.run(context, CONFIG)
    again = make_context("02-ppo", trained, folder="cut", attempt=2)
    resumed = ppo.run(again, CONFIG)
    assert again.report.logs == ["resumed at round 2"]
    assert [step for step, _, _ in again.report.steps] == [3, 4]
    assert _differences(_history(resumed), _history(straight)) < 1e-5
    assert resumed.metrics["before"] == straight.metrics["before"]


def test_the_policy_stops_at_its_kl_limit(make_context: Any, trained: Any) -> None:
    config = CONFIG.model_copy(update={"steps": 10, "learning_rate": 5e-2, "kl": KlControl(coef=0.0, limit=0.05)})
    result = ppo.run(make_context("02-ppo", trained), config)
    assert result.metrics["rounds"] < 10
    assert "the limit is 0.05" in result.metrics["stopped"]


def test_in_warm_up_only_the_critic_learns(make_context: Any, trained: Any) -> None:
    result = ppo.run(make_context("02-ppo", trained), CONFIG.model_copy(update={"critic_warmup": 4}))
    assert [row["kl"] for row in _history(result)] == pytest.approx([0.0] * 4, abs=1e-5)
    assert all(row["critic_grad_norm"] > 0 and row["grad_norm"] == 0 for row in _history(result))


def test_a_batch_of_no_whole_minibatches_is_refused(make_context: Any, trained: Any) -> None:
    with pytest.raises(BadInput, match="rollout_batch 4 is no multiple of minibatch 3"):
        ppo.run(make_context("02-ppo", trained), CONFIG.model_copy(update={"minibatch": 3}))


# ---- a task that can be learned ------------------------------------------------------------------------------------

WANTED = "a"


def _share_of_wanted(prompts: Sequence[Messages], replies: Sequence[str]) -> list[float]:
    return [reply.count(WANTED) / max(1, len(reply)) for reply in replies]


def _trainer(context: StageContext, config: PpoStage, judge: Any, scale: tuple[float, float]) -> ppo.Ppo:
    torch.manual_seed(0)
    actor = Actor(load_policy(context, after=None), config.lora, temperature=1.0, bf16=False)
    critic = Critic(new_reward_model(context), config.lora, bf16=False)
    return ppo.Ppo(config, context.seed, context.world, load_tokenizer(context.base), actor, critic, judge, scale)


def _prompts(base: Path) -> ppo.Prompts:
    rows = [{"prompt": [{"role": "user", "content": word}]} for word in ("say", "tell", "give", "show")]
    return ppo.Prompts.of(rows, load_tokenizer(base), 64)


def test_the_reward_of_a_toy_task_rises(make_context: Any, tiny_base: Path) -> None:
    """A random byte model draws `a` once in 256 times; after 30 rounds it must have found that `a` pays.

    Whole weights: with its head frozen, so small a random model can hardly prefer any byte.
    """
    config = CONFIG.model_copy(
        update={
            "rollout_batch": 32, "minibatch": 16, "learning_rate": 1e-2, "critic_learning_rate": 1e-2,
            "max_new_tokens": 8, "missing_eos_penalty": 0.0, "kl": KlControl(coef=0.001, target=50.0), "lora": None,
        }
    )  # fmt: skip
    trainer = _trainer(make_context("02-ppo"), config, _share_of_wanted, (0.0, 0.1))
    prompts = _prompts(tiny_base)
    rewards = [trainer.round(prompts)["reward"] for _ in range(30)]
    assert sum(rewards[:3]) / 3 < 0.05
    assert sum(rewards[-3:]) / 3 > 0.5


def test_every_pass_over_the_prompts_takes_each_one_once(tiny_base: Path) -> None:
    prompts = _prompts(tiny_base)
    drawn = [index for step in range(4) for index in prompts.choose(step, 3, seed=1)]  # three passes over four
    assert [sorted(drawn[start : start + 4]) for start in (0, 4, 8)] == [[0, 1, 2, 3]] * 3
    assert drawn == [index for step in range(2) for index in prompts.choose(step, 6, seed=1)]
    assert prompts.choose(0, 12, seed=2) != prompts.choose(0, 12, seed=1)


# ---- several processes ---------------------------------------------------------------------------------------------


def _judge(prompts: Sequence[Messages], replies: Sequence[str]) -> list[float]:
    return [len(reply.encode()) / 10 for reply in replies]


def _one_rank(rank: int, size: int, folder: str, config: dict[str, Any]) -> None:
    """Three rounds as rank `rank`; writes its history and the sum of its weights."""
    import torch.distributed as dist
    from stage_kit import FolderCheckpoints, Recorder

    torch.set_num_threads(1)
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size)
    base = materialise("tiny", Path(folder) / f"base-{rank}-{size}")
    work = Path(folder) / f"work-{rank}-{size}"
    context = StageContext(
        "job-1", "02-ppo", 1, 7, base, work, World(rank, size), {}, {}, Recorder(), FolderCheckpoints(work)
    )
    trainer = _trainer(context, PpoStage.model_validate(config), _judge, (0.0, 1.0))
    for _ in range(3):
        trainer.round(_prompts(base))
    weights = [float(item.detach().double().sum()) for item in trainer.actor.parameters]
    (Path(folder) / f"{rank}-of-{size}.json").write_text(json.dumps({"history": trainer.history, "weights": weights}))
    if size > 1:
        dist.destroy_process_group()


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"rollout_batch": 4, "minibatch": 4}).model_dump(mode="json")
    spawn = multiprocessing.get_context("spawn")
    started = [spawn.Process(target=_one_rank, args=(rank, 2, str(tmp_path), config)) for rank in range(2)]
    for process in started:
        process.start()
    _one_rank(0, 1, str(tmp_path), config)
    for process in started:
        process.join(120)
        assert process.exitcode == 0
    one, first, second = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("0-of-1", "0-of-2", "1-of-2")
    )
    assert first["weights"] == second["weights"]
    assert first["weights"] == pytest.approx(one["weights"], abs=1e-3)
    for alone, shared in zip(one["history"], first["history"], strict=True):
        shared.pop("first_ratio_error")
        for name, value in shared.items():
            assert value == pytest.approx(alone[name], abs=2e-3), name


# ---- generation ----------------------------------------------------------------------------------------------------


def _generate(model: Any, prompts: list[list[int]], seeds: list[int], sampling: Sampling) -> list[list[int]]:
    return generate(model, prompts, seeds, sampling, eos=2, pad=0)


def test_greedy_replies_are_those_of_transformers(make_context: Any) -> None:
    model = load_policy(make_context("x"), after=None).eval()
    prompts = [[5, 6, 7], [9, 10, 11, 12, 13]]
    ids, mask = pad_left(prompts, 0, "cpu")
    theirs = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=8)[:, 5:].tolist()
    ours = _generate(model, prompts, [0, 0], Sampling(8, temperature=0))
    assert [row[: len(mine)] for row, mine in zip(theirs, ours, strict=True)] == ours


def test_a_reply_depends_on_its_seed_and_not_on_its_batch(make_context: Any) -> None:
    model = load_policy(make_context("x"), after=None).eval()
    prompts, seeds = [[5, 6, 7], [9, 10], [11, 12, 13, 14]], [1, 2, 3]
    together = _generate(model, prompts, seeds, Sampling(10))
    alone = [_generate(model, [prompt], [seed], Sampling(10))[0] for prompt, seed in zip(prompts, seeds, strict=True)]
    assert together == alone
    assert _generate(model, prompts, [4, 5, 6], Sampling(10)) != together
    assert _generate(model, [], [], Sampling(10)) == []


def test_pick_inverts_the_distribution() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]).repeat(4, 1))
    noise = torch.tensor([0.0, 0.49, 0.6, 0.99], dtype=torch.float64)
    assert pick(logits, noise, Sampling(1)).tolist() == [0, 0, 1, 2]
    # top_p .7 keeps .5 and .3: noise is over .8
    assert pick(logits, noise, Sampling(1, top_p=0.7)).tolist() == [0, 0, 0, 1]
    assert pick(logits, noise, Sampling(1, temperature=0)).tolist() == [0, 0, 0, 0]


def test_sampling_follows_the_distribution() -> None:
    wanted = torch.tensor([0.6, 0.3, 0.1])
    noise = torch.rand(20_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = pick(torch.log(wanted)[None].repeat(20_000, 1), noise, Sampling(1))
    found = torch.bincount(drawn, minlength=3) / 20_000
    assert torch.allclose(found, wanted, atol=0.02)
