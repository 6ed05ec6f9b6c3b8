"""Evaluation and export on the tiny base: the real builder, real onnxruntime, and gates that refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stage_kit import as_output

from core.errors import BadInput, OaError
from core.jobspec import EvaluateStage, ExportStage, JobSpec, RewardStage, SftStage, SnapshotRef
from jobs import evaluate, export, parity, reward, sft
from jobs.base import materialise
from jobs.context import StageContext, StageOutput, World
from jobs.model_card import card_text
from jobs.stages import STAGES
from jobs.weights import load_policy, load_tokenizer

CONFIGS = Path(export.__file__).parent / "configs"


@pytest.fixture(scope="module")
def outputs(
    tiny_base: Path, snapshots: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, StageOutput]:
    """SFT and reward stages of a few steps, made once."""
    from stage_kit import FolderCheckpoints, Recorder

    found: dict[str, StageOutput] = {}
    for kind, module, config in (
        ("sft", sft, SftStage(dataset=SnapshotRef(name="sft", version="v1"), max_steps=3, max_length=64)),
        (
            "reward",
            reward,
            RewardStage(dataset=SnapshotRef(name="preference", version="v1"), max_steps=3, max_length=64),
        ),
    ):
        root = tmp_path_factory.mktemp(kind)
        context = StageContext(
            "job-1", kind, 1, 7, tiny_base, root, World(), found, snapshots, Recorder(), FolderCheckpoints(root / "c")
        )
        found[kind] = as_output(kind, module.run(context, config))
    return found


EVALUATE = EvaluateStage(dataset=SnapshotRef(name="prompts", version="v1"), prompts=6, max_new_tokens=6)


def test_a_policy_wins_half_against_itself(make_context: Any, outputs: dict[str, StageOutput]) -> None:
    context = make_context("03-evaluate", outputs)
    result = evaluate.run(context, EVALUATE)
    assert result.metrics["win_rate"] == 0.5
    assert result.metrics["same_replies"] == result.metrics["prompts"] == 6
    assert result.metrics["interval"][0] < 0.5 < result.metrics["interval"][1]
    assert len(json.loads((result.folder / "samples.json").read_text())) == 6
    assert context.report.samples


def test_the_win_rate_is_the_share_that_the_judge_prefers() -> None:
    prompts = [[{"role": "user", "content": name}] for name in "abcd"]
    texts = [["long reply", "x", "same", "y"], ["short", "longer", "same", "z"]]
    metrics, samples = evaluate.compared(prompts, texts, lambda _, replies: [float(len(reply)) for reply in replies])
    assert metrics["win_rate"] == (1 + 0 + 0.5 + 0.5) / 4
    assert metrics["same_replies"] == 1
    gains = [5, -5, 0, 0]
    assert metrics["reward_gain"] == np.mean(gains)
    spread = 1.96 * np.std(gains, ddof=1) / 2
    assert metrics["reward_gain_interval"] == pytest.approx((np.mean(gains) - spread, np.mean(gains) + spread))
    assert samples[1] == {
        "prompt": "b",
        "policy": "x",
        "baseline": "longer",
        "policy_score": 1.0,
        "baseline_score": 6.0,
    }


def test_one_pair_has_no_interval() -> None:
    prompt = [{"role": "user", "content": "a"}]
    metrics, _ = evaluate.compared(
        [prompt], [["long"], ["s"]], lambda _, replies: [float(len(each)) for each in replies]
    )
    assert metrics["reward_gain"] == 3
    assert metrics["reward_gain_interval"] is None


def test_half_precision_has_a_wider_limit_unless_one_is_named() -> None:
    assert ExportStage().logit_limit == 0.01
    assert ExportStage(precision="fp16").logit_limit == 1
    assert ExportStage(precision="fp16", max_logit_difference=0.5).logit_limit == 0.5


@pytest.fixture(scope="module")
def exported(
    tiny_base: Path,
    snapshots: dict[str, Path],
    outputs: dict[str, StageOutput],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[StageContext, Any]:
    from stage_kit import FolderCheckpoints, Recorder

    root = tmp_path_factory.mktemp("export")
    context = StageContext(
        "job-1", "04-export", 1, 7, tiny_base, root, World(), outputs, snapshots, Recorder(),
        FolderCheckpoints(root / "c"),
        publish_as=("assistant", "abc"),
        lineage={
            "spec_sha256": "1" * 64, "base": "tiny",
            "datasets": [{"name": "sft", "version": "v1", "kind": "sft", "content_hash": "2" * 64}],
        },
    )  # fmt: skip
    return context, export.run(context, ExportStage())


def test_the_export_is_whole_and_agrees(exported: tuple[StageContext, Any]) -> None:
    _, result = exported
    assert {path.name for path in (result.folder / "onnx").iterdir()} == set(export.SERVED)
    assert (result.folder / "hf" / "model.safetensors").stat().st_mode & 0o777 == 0o644
    about = result.info
    assert (about["format"], about["name"], about["version"], about["job_id"]) == (1, "assistant", "abc", "job-1")
    assert about["context_length"] == 4096
    assert about["eos_token_ids"] == [2]
    assert about["stage"] == "sft"
    assert about["forms"]["onnx"] == {"path": "onnx/", "precision": "fp32"}
    assert all(check["passed"] for check in about["checks"].values())
    assert about["checks"]["onnx_parity"]["max_logit_difference"] < 1e-3
    assert set(about["metrics"]) == {"sft", "reward"}
    json.dumps(about)


def test_the_published_weights_are_the_served_ones(exported: tuple[StageContext, Any]) -> None:
    """The half-precision folder, loaded afresh, gives the ONNX graph's logits: nothing served differs from it."""
    from transformers import AutoModelForCausalLM

    _, result = exported
    model = AutoModelForCausalLM.from_pretrained(result.folder / "hf", dtype=torch.float32).eval()
    texts = [[5, 6, 7, 8, 9, 10], [30, 31, 32]]
    found = parity.compare(parity.torch_logits(model, texts), parity.onnx_logits(result.folder / "onnx", texts))
    assert found.positions == 4 + 3
    assert found.max_logit_difference < 1e-4
    assert found.top1_agreement == 1.0


def test_the_card_tells_data_results_checks_and_has_its_plots(exported: tuple[StageContext, Any]) -> None:
    _, result = exported
    card = (result.folder / "card.md").read_text()
    assert "# assistant abc" in card
    assert "sft/v1" in card
    assert "onnx_parity | yes" in card
    assert "after.loss" in card
    assert (result.folder / "plots" / "sft.png").read_bytes()[:4] == b"\x89PNG"
    assert "](plots/sft.png)" in card


def test_another_models_weights_fail_the_parity(exported: tuple[StageContext, Any], make_context: Any) -> None:
    context, result = exported
    policy = load_policy(context, after="sft").eval()
    with torch.no_grad():
        policy.model.layers[0].mlp.down_proj.weight.mul_(3)
    texts = [[5, 6, 7, 8, 9, 10]]
    found = parity.compare(parity.torch_logits(policy, texts), parity.onnx_logits(result.folder / "onnx", texts))
    check = found.check(max_logit_difference=1e-2, min_top1_agreement=0.99, max_kl=1e-3)
    assert not check["passed"]
    with pytest.raises(OaError, match="onnx_parity") as caught:
        export.gate(make_context("04-export"), {"onnx_parity": check})
    assert caught.value.code == "GATE_FAILED"


def test_limits_that_no_graph_meets_refuse_the_export(make_context: Any, outputs: dict[str, StageOutput]) -> None:
    context = make_context("04-export", outputs, publish_as=("assistant", "abc"))
    with pytest.raises(OaError, match="export refused") as caught:
        export.run(context, ExportStage(max_logit_difference=1e-12))
    assert caught.value.code == "GATE_FAILED"
    assert not (context.workdir / "output" / "card.md").exists()


def test_a_builder_that_fails_is_a_refusal_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir()
    with pytest.raises(OaError, match="builder ended with code") as caught:
        export.build_onnx(tmp_path / "hf", tmp_path / "onnx", "fp32", tmp_path / "scratch", 1)
    assert caught.value.code == "GATE_FAILED"
    assert not (tmp_path / "onnx").exists()


def test_weights_that_overflow_in_half_precision_are_refused(make_context: Any, tmp_path: Path) -> None:
    policy = load_policy(make_context("x"), after=None)
    with torch.no_grad():
        policy.model.norm.weight[0] = 1e6
    with pytest.raises(OaError, match="not finite in float16"):
        export.save_rounded(policy, None, tmp_path)


def test_what_is_compared_is_what_a_reader_of_the_folder_gets(make_context: Any, tmp_path: Path) -> None:
    """Rounding touches parameters and not the rotary frequencies, which no file holds."""
    from transformers import AutoModelForCausalLM

    context = make_context("x")
    rounded = export.save_rounded(load_policy(context, after=None), load_tokenizer(context.base), tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    for kind in ("named_parameters", "named_buffers"):
        there = dict(getattr(loaded, kind)())
        assert there
        assert all(torch.equal(item, there[name]) for name, item in getattr(rounded, kind)())


def test_an_export_without_a_name_is_refused(make_context: Any) -> None:
    with pytest.raises(BadInput, match="model name and version"):
        export.run(make_context("04-export"), ExportStage())


def test_agreement_by_hand() -> None:
    reference = np.log(np.array([[0.5, 0.5], [0.9, 0.1]], dtype=np.float32))
    other = np.log(np.array([[0.5, 0.5], [0.1, 0.9]], dtype=np.float32))
    found = parity.compare(reference, other)
    assert found.top1_agreement == 0.5
    assert found.max_logit_difference == pytest.approx(np.log(9), abs=1e-5)
    assert found.mean_kl == pytest.approx((0.9 * np.log(9) - 0.1 * np.log(9)) / 2, abs=1e-5)


@given(st.lists(st.floats(-20, 20), min_size=3, max_size=3), st.floats(-5, 5))
@settings(max_examples=40, deadline=None)
def test_a_shift_of_all_logits_is_no_divergence(row: list[float], shift: float) -> None:
    first = np.array([row], dtype=np.float32)
    found = parity.compare(first, first + np.float32(shift))
    assert found.mean_kl < 1e-6


def test_a_models_text_cannot_break_out_of_the_card() -> None:
    about = {
        "name": "m", "version": "v", "base": "b", "stage": "ppo", "job_id": "j", "created_at": "t", "context_length": 1,
        "licence": "l", "datasets": [], "metrics": {}, "checks": {},
    }  # fmt: skip
    sample = {
        "prompt": "# head\n<script>",
        "policy": "a|b",
        "baseline": "c",
        "policy_score": 1.0,
        "baseline_score": 0.0,
    }
    card = card_text(about, {}, [sample])
    assert "<script>" not in card
    assert "\n# head" not in card


@pytest.mark.parametrize("name", ["tiny", "laptop", "small-gpu", "single-gpu", "node-8gpu"])
def test_the_recipes_are_job_specs_whose_stages_exist(name: str) -> None:
    spec = JobSpec.model_validate_json((CONFIGS / f"{name}.json").read_text())
    assert all(stage.kind in STAGES for stage in spec.stages)


def test_importing_the_registry_loads_no_torch() -> None:
    import subprocess
    import sys

    code = "import jobs.stages, sys; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_base_folder_may_be_a_published_model(
    exported: tuple[StageContext, Any], make_context: Any, tmp_path: Path
) -> None:
    """The wheel turns again: the next job starts from what this one published."""
    _, result = exported
    found = materialise(str(result.folder / "hf"), tmp_path)
    assert found == result.folder / "hf"
    model = load_policy(make_context("00-sft", base=found), after=None)
    assert next(model.parameters()).dtype == torch.float32
