"""SFT and reward stages by TRL on the tiny base: they learn, resume, stop, refuse, and score what they trained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from stage_kit import as_output, synthetic_rows, write_snapshot

from core.errors import BadInput, OaError
from core.jobspec import RewardStage, SftStage, SnapshotRef
from jobs import reward, sft
from jobs.context import StageStopped, World
from jobs.data import read
from jobs.scoring import score_ids, scorer
from jobs.weights import load_policy, load_reward, load_tokenizer, new_reward_model, with_lora

SETTINGS: dict[str, Any] = {"max_steps": 12, "learning_rate": 1e-2, "max_length": 64, "save_every": 5, "bf16": False}
SFT = SftStage(dataset=SnapshotRef(name="sft", version="v1"), **SETTINGS)
REWARD = RewardStage(dataset=SnapshotRef(name="preference", version="v1"), **SETTINGS)


@dataclass
class StopAfter:
    """Raises `StageStopped` at the nth question."""

    calls: int

    def __call__(self) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise StageStopped("cancelled")


def _same_tensors(first: Path, second: Path) -> bool:
    from safetensors.torch import load_file

    a, b = (load_file(next(folder.rglob("*.safetensors"))) for folder in (first, second))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("adapters", [True, False], ids=["lora", "whole"])
def test_sft_lowers_the_held_out_loss(make_context: Any, adapters: bool) -> None:
    config = SFT if adapters else SFT.model_copy(update={"lora": None})
    context = make_context("00-sft")
    result = sft.run(context, config)
    assert result.metrics["after"]["loss"] < result.metrics["before"]["loss"] - 0.1
    assert result.metrics["after"]["token_accuracy"] >= result.metrics["before"]["token_accuracy"]
    assert result.info == {"adapter": adapters}
    assert context.checkpoints.saved == [5, 10, 12]
    assert [step for step, _, _ in context.report.steps] == list(range(1, 13))
    assert [row["step"] for row in json.loads((result.folder / "history.json").read_text())] == list(range(1, 13))


def test_the_saved_policy_is_the_one_that_was_measured(make_context: Any) -> None:
    context = make_context("00-sft")
    result = sft.run(context, SFT)
    tokenizer = load_tokenizer(context.base)
    rows = read(context.datasets["sft/v1"], "sft", "sft/v1").validation
    items = [sft.thread(tokenizer, row, SFT.max_length) for row in rows]
    later = make_context("01-x", {"sft": as_output("sft", result)})
    model = load_policy(later, after="sft")
    found = sft.held_out_loss(later, model, items, pad=tokenizer.pad_token_id, bf16=False)
    assert found["loss"] == pytest.approx(result.metrics["after"]["loss"], abs=1e-4)


@pytest.mark.parametrize(("module", "config", "stage"), [(sft, SFT, "00-sft"), (reward, REWARD, "01-reward")])
def test_a_stage_that_was_cut_short_ends_as_if_it_had_not_been(
    make_context: Any, module: Any, config: Any, stage: str
) -> None:
    straight = module.run(make_context(stage, folder="straight"), config)
    cut = make_context(stage, folder="cut", check_stop=StopAfter(9))
    with pytest.raises(StageStopped):
        module.run(cut, config)
    assert cut.checkpoints.saved == [5]
    again = make_context(stage, folder="cut", attempt=2)
    resumed = module.run(again, config)
    assert again.report.logs == ["resumed at step 5"]
    assert [step for step, _, _ in again.report.steps] == list(range(6, 13))
    assert resumed.metrics == straight.metrics
    assert _same_tensors(resumed.folder, straight.folder)


def test_labels_are_the_reply_and_its_end(tiny_base: Path) -> None:
    tokenizer = load_tokenizer(tiny_base)
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    item = sft.thread(tokenizer, {"messages": messages}, 64)
    learned = [label for label in sft.labels(item) if label != sft.IGNORED]
    assert learned == [*tokenizer("b")["input_ids"], tokenizer.eos_token_id]
    assert len(sft.labels(item)) == len(item.ids)


def test_long_threads_are_cut_and_counted(make_context: Any) -> None:
    result = sft.run(make_context("00-sft"), SFT.model_copy(update={"max_length": 16, "max_steps": 1}))
    assert result.metrics["prompts_cut"] == result.metrics["rows"] == 18


def test_a_batch_that_workers_cannot_share_is_refused(make_context: Any) -> None:
    with pytest.raises(BadInput, match="batch size 4 cannot be shared by 3 workers"):
        sft.run(make_context("00-sft", world=World(rank=0, size=3)), SFT)


@pytest.mark.parametrize("adapters", [True, False], ids=["lora", "whole"])
def test_the_reward_model_learns_to_tell_good_from_bad(make_context: Any, adapters: bool) -> None:
    config = REWARD if adapters else REWARD.model_copy(update={"lora": None})
    context = make_context("01-reward")
    result = reward.run(context, config)
    after = result.metrics["after"]
    assert after["accuracy"] == 1.0
    assert after["interval"][0] < 1.0
    assert after["margin"] > result.metrics["before"]["margin"]
    assert set(after["by_lang"]) == {"de", "en"}
    assert result.metrics["held_out_pairs"] == after["pairs"] == 6
    assert json.loads((result.folder / "reward.json").read_text()) == {
        "mean": after["mean"], "std": after["std"], "max_length": 64,
    }  # fmt: skip


def test_a_reply_is_scored_in_use_as_it_was_in_training(make_context: Any) -> None:
    """Trains on what `pair` renders; the saved model, loaded as PPO loads it, gives the same held-out scores."""
    context = make_context("01-reward")
    result = reward.run(context, REWARD)
    later = make_context("02-ppo", {"reward": as_output("reward", result)})
    model, facts = load_reward(later)
    tokenizer = load_tokenizer(context.base)
    rows = read(context.datasets["preference/v1"], "preference", "preference/v1").validation
    judge = scorer(model, tokenizer, facts["max_length"])
    scores = [value for row in rows for value in judge([row["prompt"]] * 2, [row["chosen"], row["rejected"]])]
    assert sum(scores) / len(scores) == pytest.approx(facts["mean"], abs=1e-3)


def test_the_score_is_the_classifiers_own_logit(make_context: Any) -> None:
    """`score_ids` takes the head apart to keep it in float32; in float32 it must agree with the whole model."""
    context = make_context("01-reward")
    model = with_lora(new_reward_model(context), REWARD.lora, task="SEQ_CLS", trained_head="score").eval()
    rows = [[5, 6, 7, 2], [8, 9, 2], [11] * 20]
    pad = load_tokenizer(context.base).pad_token_id
    together = score_ids(model, rows, pad=pad)
    for row, score in zip(rows, together, strict=True):
        alone = model(input_ids=torch.tensor([row])).logits[0, 0].item()
        assert score == pytest.approx(alone, abs=1e-5)


def test_the_random_head_comes_from_the_jobs_seed(make_context: Any) -> None:
    first, again, other = (new_reward_model(make_context("01-reward", seed=seed)) for seed in (7, 7, 8))
    assert torch.equal(first.score.weight, again.score.weight)
    assert not torch.equal(first.score.weight, other.score.weight)


def test_a_reward_model_below_its_gate_stops_the_job(make_context: Any, tmp_path: Path) -> None:
    """Held-out people prefer what training people reject: the model learns the wrong thing, and is stopped."""
    rows = synthetic_rows("preference")
    for row in rows:
        if row["split"] == "validation":
            row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
    datasets = {"preference/v1": write_snapshot(tmp_path / "swapped", "preference", rows)}
    with pytest.raises(OaError, match=r"accuracy 0\.000 .* is below min_accuracy 0\.6") as caught:
        reward.run(make_context("01-reward", datasets=datasets), REWARD.model_copy(update={"min_accuracy": 0.6}))
    assert caught.value.code == "GATE_FAILED"


def test_length_only_is_the_judge_that_prefers_the_longer(tiny_base: Path) -> None:
    tokenizer = load_tokenizer(tiny_base)
    row = {"prompt": [{"role": "user", "content": "q"}], "margin": None, "lang": "en"}
    pairs = [
        reward.pair(tokenizer, {**row, "chosen": "long reply", "rejected": "no"}, 64),
        reward.pair(tokenizer, {**row, "chosen": "no", "rejected": "long reply"}, 64),
        reward.pair(tokenizer, {**row, "chosen": "yes", "rejected": "not"}, 64),
    ]
    assert reward.length_only(pairs) == pytest.approx(0.5)
