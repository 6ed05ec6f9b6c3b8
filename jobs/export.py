"""The newest policy of a job as a model version: `hf/`, `onnx/`, a card, and proof that the two forms agree.

The merged float32 weights are rounded to 16 bits once, and both forms are made from the rounded ones: what is served is
what is published, at half the bytes. How much the rounding changed is a check of its own. Nothing is handed on when a
check fails. Does not publish: the runner does, under `context.publish_as`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from core.errors import BadInput, OaError
from core.jobspec import ExportStage
from jobs import base as base_models
from jobs.compute import prepare
from jobs.context import StageContext, StageResult
from jobs.model_card import write_card
from jobs.parity import PROCESSOR, compare, onnx_logits, provider_for, torch_logits
from jobs.weights import load_policy, load_tokenizer, newest

SERVED = (
    "model.onnx",
    "model.onnx.data",
    "genai_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
"""Files of `onnx/`; what else the builder writes is left out."""

PARITY_TEXTS = (
    "What is the capital of France?",
    "Write two sentences about the sea, then list three colours: red, green and blue.",
    "def add(a, b):\n    return a + b\n\nprint(add(2, 3))",
    "¿Cómo se llama el río más largo de España? El Tajo. 日本の首都は東京です。",
    "The quick brown fox jumps over the lazy dog. " * 3,
)
"""Texts on which the two forms are compared: languages, code and repetition, rendered as a user's turn."""

BUILD_SECONDS = 3600


def run(context: StageContext, config: ExportStage) -> StageResult:
    """The stage: merge, round, build, compare. `info` is the manifest's content but for its files.

    Raises:
        OaError: `GATE_FAILED`, the ONNX graph or the rounding is beyond the limits.
    """
    prepare(context)
    folder = context.workdir / "output"
    if context.world.rank != 0:
        return StageResult(folder)
    if context.publish_as is None:
        raise BadInput("an export stage needs a model name and version to publish under")
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer = load_tokenizer(context.base)
    stage = newest(context, "ppo", "sft")
    policy = load_policy(context, after=stage).eval()
    texts = parity_texts(tokenizer)
    whole = torch_logits(policy, texts)
    rounded = save_rounded(policy, tokenizer, folder / "hf")
    reference = torch_logits(rounded, texts)
    del policy, rounded
    context.check_stop()
    context.report.log("building the ONNX graph")
    build_onnx(folder / "hf", folder / "onnx", config.precision, context.workdir / "builder", context.world.threads)
    served = onnx_logits(
        folder / "onnx",
        texts,
        threads=context.world.threads,
        provider=provider_for(context.world.device) if config.precision == "fp16" else PROCESSOR,
        check_stop=context.check_stop,
    )
    checks = {
        "onnx_parity": compare(reference, served).check(
            max_logit_difference=config.logit_limit,
            min_top1_agreement=config.min_top1_agreement,
            max_kl=config.max_kl,
        ),
        "rounding": compare(whole, reference).check(
            max_logit_difference=None, min_top1_agreement=config.min_top1_agreement, max_kl=config.max_kl
        ),
    }
    gate(context, checks)
    about = manifest_content(context, config, tokenizer, checks, stage)
    write_card(context, about, folder)
    return StageResult(folder, checks, about)


def gate(context: StageContext, checks: dict[str, dict[str, Any]]) -> None:
    """Report every check; raise `OaError` (code `GATE_FAILED`) when one did not pass."""
    for name, check in checks.items():
        numbers = ("max_logit_difference", "top1_agreement", "mean_kl")
        for number in numbers:
            context.report.metric(f"{name}_{number}", check[number])
        if not check["passed"]:
            found = ", ".join(f"{number} {check[number]:.3g}" for number in numbers)
            raise OaError(
                f"export refused: check {name!r} failed ({found}; limits {check['limits']})", code="GATE_FAILED"
            )


def parity_texts(tokenizer: Any) -> list[list[int]]:
    """Token ids of `PARITY_TEXTS`, each as a conversation of one user turn and the same text again as the reply."""
    return [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}, {"role": "assistant", "content": text}], return_dict=False
        )[:160]
        for text in PARITY_TEXTS
    ]


def save_rounded(policy: Any, tokenizer: Any, folder: Path) -> Any:
    """Save the policy in 16 bits under `folder`; returns it as saved, widened to float32 again for comparison.

    float16 keeps three more bits of each weight than bfloat16, and reinforcement learning changes the last ones.

    Raises:
        OaError: `GATE_FAILED`, a weight is not finite in float16.
    """
    # The parameters alone: a rounded buffer (the rotary frequencies) would be in no file, but in the comparison.
    for parameter in policy.parameters():
        parameter.data = parameter.data.to(torch.float16)
    broken = [name for name, item in policy.named_parameters() if not bool(torch.isfinite(item).all())]
    if broken:
        raise OaError(
            f"export refused: {len(broken)} tensors are not finite in float16, {broken[0]!r} first", code="GATE_FAILED"
        )
    policy.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    return policy.to(torch.float32)


def build_onnx(source: Path, target: Path, precision: str, scratch: Path, threads: int) -> None:
    """Make the served graph from a Hugging Face folder with the onnxruntime-genai model builder, as a child process.

    Raises:
        OaError: `GATE_FAILED`, the builder ended with an error; the message carries its last lines.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    made = scratch / "made"
    command = [
        sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(made),
        "-p", precision, "-e", "cpu" if precision == "fp32" else "cuda", "-c", str(scratch / "cache"),
        # Logits of the last position alone: a server needs no others, and they cost time and memory.
        "--extra_options", "prune_lm_head=true",
    ]  # fmt: skip
    offline = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        command, env={**os.environ, **offline}, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    if done.returncode != 0 or not (made / "model.onnx").is_file():
        last = " | ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        raise OaError(f"export refused: the ONNX builder ended with code {done.returncode}: {last}", code="GATE_FAILED")
    _keep_served(made, source, target)
    shutil.rmtree(scratch, ignore_errors=True)


def _keep_served(made: Path, source: Path, target: Path) -> None:
    """Move the files of `SERVED` to `target`; what the builder did not write comes from the Hugging Face folder."""
    target.mkdir(parents=True, exist_ok=True)
    for name in SERVED:
        if (made / name).is_file():
            (made / name).replace(target / name)
        elif (source / name).is_file():
            shutil.copy2(source / name, target / name)
    for path in target.iterdir():
        path.chmod(0o644)


def manifest_content(
    context: StageContext, config: ExportStage, tokenizer: Any, checks: dict[str, Any], stage: str | None
) -> dict[str, Any]:
    """What the model's manifest says, as docs/architecture.md (Model) has it, but for `files` and `content_hash`."""
    assert context.publish_as is not None  # noqa: S101 - checked by `run`; tells the type checker so
    name, version = context.publish_as
    hf = json.loads((context.workdir / "output" / "hf" / "config.json").read_text())
    base = base_models.about(context.base)
    return {
        "format": 1,
        "name": name,
        "version": version,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "job_id": context.job_id,
        "spec_sha256": context.lineage.get("spec_sha256", ""),
        "base": context.lineage.get("base") or base["name"],
        "stage": stage or "base",
        "context_length": int(hf["max_position_embeddings"]),
        "eos_token_ids": [tokenizer.eos_token_id],
        "forms": {
            "hf": {"path": "hf/", "precision": "fp16"},
            "onnx": {"path": "onnx/", "precision": config.precision},
        },
        "datasets": list(context.lineage.get("datasets", ())),
        "metrics": {kind: dict(output.metrics) for kind, output in context.outputs.items()},
        "checks": checks,
        "licence": base["licence"],
    }
