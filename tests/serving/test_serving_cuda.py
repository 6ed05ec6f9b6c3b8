"""The engine on a CUDA device: its cache's copies, the replies of a batch against torch, a node over HTTP.

Needs the extra `serving-gpu` in place of `serving`, and a device. Half precision rounds otherwise for each size of
batch, so replies are not compared token by token: each token must be one that torch, in float32 and fed the same
beginning, finds as likely as the likeliest, but for rounding.
"""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pytest
import tiny_model
from serving_kit import promote, publish, wait_for

from core.errors import BadInput
from serving.engine import Engine
from serving.kv import KvCache, Shape
from serving.kv_device import cuda_cache
from serving.model_files import ModelFiles
from serving.options import EngineOptions
from serving.requests import Request

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
        reason="no CUDA device: this onnxruntime has no CUDAExecutionProvider (extra `serving-gpu`)",
    ),
]

ROUNDING = 0.1
"""Nats by which a log-probability in float16 may differ from float32's; those of this model lie 0 to 15 apart."""

OPTIONS = EngineOptions(slots=4, kv_bytes=32 << 20, prefix_bytes=4 << 20, context=512, device="cuda")


@pytest.fixture(scope="session")
def half(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `hf/` of the small model and `onnx/` in fp16."""
    folder = tmp_path_factory.mktemp("half")
    shutil.copytree(tiny / "hf", folder / "hf")
    tiny_model.build_graph(folder, "onnx", "fp16")
    return folder


@pytest.fixture(scope="module")
def prompts(files: ModelFiles) -> list[tuple[int, ...]]:
    """Ragged prompts of 9 to about 300 tokens."""
    texts = ["Hello", "What is the capital of France?", "A fox. " * 40, "Grüße, 你好!", "dog " * 90, "Ça va? " * 9]
    rendered = [files.template.render([{"role": "user", "content": text}]) for text in texts]
    return [tuple(files.tokenizer.encode(text).ids) for text in rendered]


def test_its_cache_does_what_the_one_in_main_memory_does():
    shape = Shape(3, 2, 256, 16, 2)
    one, other = KvCache(shape, 3, np.float16), cuda_cache(shape, 3, np.float16)
    blank = np.zeros((3, 2, 2, 256, 16), np.float16)
    block = np.random.default_rng(0).normal(size=(3, 2, 2, 40, 16)).astype(np.float16)
    for store in (one, other):
        for slot in range(3):
            store.write(slot, 0, blank)
        store.write(2, 8, block)
        store.move(2, 0, 30)
    assert np.array_equal(other.read(0, 8, 30), block[:, :, :, :22])
    for slot in range(3):
        assert np.array_equal(one.read(slot, 0, 256), other.read(slot, 0, 256))


@pytest.mark.parametrize("options", [{}, {"chunk": 7}, {"slots": 2}, {"chunk": 7, "prefix_bytes": 0}])
def test_staggered_replies_are_those_of_torch_but_for_rounding(half, prompts, ask, options):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(half / "hf", dtype=torch.float32).eval()
    engine = Engine(ModelFiles(half / "onnx"), replace(OPTIONS, **options))
    try:
        for turn in range(2):
            readers = []
            for index, prompt in enumerate(prompts):
                readers.append(ask(engine, Request(prompt, 20 + 7 * index, logprobs=0, ignore_eos=True)))
                if len(readers) % 2:
                    wait_for(readers[-1].began)
            for prompt, reader in zip(prompts, readers, strict=True):
                last = reader.wait()
                assert last.finish == "length"
                if turn and options.get("prefix_bytes") != 0:
                    assert last.usage.cached > len(prompt) - 64
                items = [item for event in reader.events for item in event.logprobs]
                tokens = [item.token for item in items]
                with torch.inference_mode():
                    logits = model(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
                theirs = torch.log_softmax(logits.double(), -1)
                chosen = theirs[torch.arange(len(tokens)), tokens]
                assert float((theirs.max(-1).values - chosen).max()) < ROUNDING
                assert np.allclose([item.logprob for item in items], chosen.numpy(), atol=ROUNDING)
    finally:
        engine.close()


def test_a_graph_in_fp32_is_refused(files):
    with pytest.raises(BadInput, match="precision fp16"):
        Engine(files, OPTIONS)


def test_a_node_streams_to_several_at_once(store, half, start_node):
    publish(store, half, "assistant", "v1")
    promote(store, "assistant", "v1")
    node = start_node(engine={"device": "cuda", "context": 512})
    node.wait_ready("assistant@v1")

    def stream(text: str) -> str:
        body = {
            "model": "assistant", "stream": True, "max_tokens": 40, "temperature": 0, "ignore_eos": True,
            "messages": [{"role": "user", "content": text}],
        }  # fmt: skip
        with httpx.stream("POST", node.url + "/v1/chat/completions", json=body, timeout=60) as answer:
            lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        choices = [choice for line in lines[:-1] for choice in json.loads(line)["choices"]]
        assert choices[-1]["finish_reason"] == "length"
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    with ThreadPoolExecutor(12) as pool:
        texts = list(pool.map(stream, [f"question {index} " * (index + 1) for index in range(12)]))
    assert all(texts)
    assert len(set(texts)) > 6
    assert node.count('oa_serving_replies_total{model="assistant@v1",outcome="length"}') == 12
