"""A small random Llama with a byte-level tokenizer, exported by the real builder: every part real, only small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXTS = [
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on.",
    "Assistants answer questions; users ask them. What is the capital of France?",
    "Grüße aus Köln, señor! Ça va? Здравствуйте, 你好, こんにちは.",
]
CONTEXT = 8192


def build(folder: Path) -> None:
    """Write `hf/` and `onnx/` under `folder`; about five seconds."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 4, trainer)
    size = tokenizer.get_vocab_size()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=SPECIALS[1], eos_token=SPECIALS[2], pad_token=SPECIALS[2]
    )
    fast.chat_template = TEMPLATE
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=size, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=CONTEXT, initializer_range=0.3, tie_word_embeddings=False,
        bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).eval().save_pretrained(folder / "hf")
    fast.save_pretrained(folder / "hf")
    build_graph(folder, "onnx", "fp32")


def build_graph(folder: Path, name: str, precision: str) -> None:
    """Write the graph of `hf/` under `folder` as `name`: fp32 for the processor, fp16 for CUDA."""
    command = [
        sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(folder / "hf"), "-o", str(folder / name),
        "-p", precision, "-e", "cpu" if precision == "fp32" else "cuda", "-c", str(folder / "cache"),
        "--extra_options", "prune_lm_head=true",
    ]  # fmt: skip
    quiet = {**os.environ, "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=quiet, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"the builder failed:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
