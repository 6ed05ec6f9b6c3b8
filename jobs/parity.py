"""Does the exported ONNX graph compute what the torch model computes? Checked on what is served: last-position logits.

The served graph gives logits for the last position alone, so each text is fed as a server would: a prompt at once, then
token by token with the key-value cache, and each step's logits are compared with torch's at that position. That covers
prefill, cached decoding and the cache itself. Plain onnxruntime, no generation library.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

PROCESSOR, GPU = "CPUExecutionProvider", "CUDAExecutionProvider"


@dataclass(frozen=True)
class Agreement:
    """How far two models are apart over a number of positions.

    Attributes:
        positions: how many were compared.
        max_logit_difference: largest absolute difference of any logit.
        top1_agreement: share of positions with the same most likely token.
        mean_kl: mean KL(reference || other), in nats.
    """

    positions: int
    max_logit_difference: float
    top1_agreement: float
    mean_kl: float

    def check(self, *, max_logit_difference: float | None, min_top1_agreement: float, max_kl: float) -> dict[str, Any]:
        """The check as a manifest has it: `passed`, the numbers and the limits; None is no limit."""
        passed = self.top1_agreement >= min_top1_agreement and self.mean_kl <= max_kl
        if max_logit_difference is not None:
            passed = passed and self.max_logit_difference <= max_logit_difference
        limits = {
            "max_logit_difference": max_logit_difference,
            "min_top1_agreement": min_top1_agreement,
            "max_kl": max_kl,
        }
        return {"passed": bool(passed), **asdict(self), "limits": limits}


def compare(reference: Floats, other: Floats) -> Agreement:
    """Agreement of two arrays of logits, each [positions, vocabulary]."""
    first, second = reference.astype(np.float64), other.astype(np.float64)
    log_p, log_q = _log_softmax(first), _log_softmax(second)
    kl = (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)
    return Agreement(
        positions=len(first),
        max_logit_difference=float(np.abs(first - second).max()),
        top1_agreement=float((first.argmax(-1) == second.argmax(-1)).mean()),
        mean_kl=float(max(0.0, kl.mean())),
    )


def onnx_logits(
    folder: Path,
    texts: Sequence[Sequence[int]],
    *,
    threads: int = 1,
    provider: str = PROCESSOR,
    check_stop: Callable[[], None] = lambda: None,
) -> Floats:
    """Logits of the graph in `folder` for the second half of each text's positions: [positions, vocabulary].

    The first half of a text is its prompt; the rest is fed token by token.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=[provider])
    settings = json.loads((folder / "genai_config.json").read_text())
    head_size = int(settings["model"]["decoder"]["head_size"])
    rows: list[Floats] = []
    for text in texts:
        check_stop()
        rows += _one_text(session, text, _empty_cache(session, head_size))
    return np.stack(rows)


def provider_for(device: str) -> str:
    """Where a graph for CUDA is checked: on the device if the installed onnxruntime knows it, else the processor."""
    import onnxruntime as ort

    return GPU if device.startswith("cuda") and GPU in ort.get_available_providers() else PROCESSOR


def torch_logits(model: Any, texts: Sequence[Sequence[int]]) -> Floats:
    """The torch model's logits at the same positions as `onnx_logits`, one forward pass a text."""
    import torch

    rows: list[Floats] = []
    with torch.no_grad():
        for text in texts:
            logits = model(torch.tensor([list(text)], device=model.device)).logits[0]
            rows += list(logits[half(text) - 1 :].float().cpu().numpy())
    return np.stack(rows)


def half(text: Sequence[int]) -> int:
    """Length of the part of a text that is fed at once; at least one token."""
    return max(1, len(text) // 2)


def _one_text(session: Any, text: Sequence[int], past: dict[str, npt.NDArray[Any]]) -> list[Floats]:
    """Last-position logits after the prompt and after each further token, from an empty cache `past`."""
    names = [output.name for output in session.get_outputs()]
    feeds = [list(text[: half(text)]), *([token] for token in text[half(text) :])]
    rows: list[Floats] = []
    seen = 0
    for feed in feeds:
        seen += len(feed)
        inputs = {
            "input_ids": np.array([feed], dtype=np.int64),
            "attention_mask": np.ones((1, seen), dtype=np.int64),
            **past,
        }
        found = dict(zip(names, session.run(None, inputs), strict=True))
        rows.append(found["logits"][0, -1].astype(np.float32))
        past = {name.replace("present", "past_key_values", 1): found[name] for name in names if name != "logits"}
    return rows


def _empty_cache(session: Any, head_size: int) -> dict[str, npt.NDArray[Any]]:
    """Key and value arrays of no token, [1, heads, 0, size], of the graph's own type."""
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
    return {
        item.name: np.zeros((1, item.shape[1], 0, head_size), dtype=kinds[item.type])
        for item in session.get_inputs()
        if item.name.startswith("past_key_values")
    }


def _log_softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
