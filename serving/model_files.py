"""A model's folder as onnxruntime-genai's builder writes it: geometry, tokenizer, chat template.

Knows `genai_config.json`, `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja`. Does not run the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
from tokenizers import Tokenizer

from core.errors import BadInput
from serving.chat_template import ChatTemplate

CONFIG = "genai_config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True)
class Geometry:
    """Sizes and names of the graph.

    Attributes:
        graph: file name of the ONNX graph.
        layers: attention layers, each with one key and one value cache.
        kv_heads: heads of a cache.
        head_size: values of a head.
        vocabulary: width of the logits.
        context: most tokens of prompt and reply together.
        eos: token ids that end a reply.
        past: name patterns of the key and value inputs, with `%d` for the layer.
        present: name patterns of the key and value outputs.
    """

    graph: str
    layers: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    eos: frozenset[int]
    past: tuple[str, str]
    present: tuple[str, str]


class ModelFiles:
    """One model version on disk.

    Raises:
        BadInput: a file is missing or not of the form that the builder writes; names it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        config = read_json(folder / CONFIG)
        try:
            self.geometry = geometry(config)
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{folder / CONFIG} is not a builder's configuration: {error!r}") from error
        if not (folder / self.geometry.graph).is_file():
            raise BadInput(f"{folder} has no {self.geometry.graph}, which its {CONFIG} names")
        self.tokenizer = read_tokenizer(folder / TOKENIZER)
        self._tokenizer_config = read_json(folder / TOKENIZER_CONFIG) if (folder / TOKENIZER_CONFIG).is_file() else {}

    @cached_property
    def special_texts(self) -> tuple[str, ...]:
        """The texts that the tokenizer takes for control tokens, longest first."""
        added = self.tokenizer.get_added_tokens_decoder().values()
        return tuple(sorted((token.content for token in added if token.special), key=len, reverse=True))

    @cached_property
    def template(self) -> ChatTemplate:
        """The model's chat template.

        Raises:
            BadInput: it has none, or it is not a template.
        """
        path = self.folder / TEMPLATE
        source = path.read_text() if path.is_file() else self._tokenizer_config.get("chat_template")
        if not isinstance(source, str):
            raise BadInput(f"{self.folder} has no {TEMPLATE}: this model cannot chat")
        names = ("bos_token", "eos_token", "pad_token", "unk_token")
        tokens = {name: token_text(self._tokenizer_config.get(name)) for name in names}
        return ChatTemplate(source, tokens, self.special_texts)

    @property
    def graph_path(self) -> Path:
        """The ONNX file."""
        return self.folder / self.geometry.graph


def geometry(config: dict[str, Any]) -> Geometry:
    """Sizes and names from a parsed `genai_config.json`."""
    model = config["model"]
    decoder = model["decoder"]
    inputs, outputs = decoder["inputs"], decoder["outputs"]
    eos = model["eos_token_id"]
    return Geometry(
        graph=str(decoder["filename"]),
        layers=int(decoder["num_hidden_layers"]),
        kv_heads=int(decoder["num_key_value_heads"]),
        head_size=int(decoder["head_size"]),
        vocabulary=int(model["vocab_size"]),
        context=int(model["context_length"]),
        eos=frozenset(eos if isinstance(eos, list) else [eos]),
        past=(inputs["past_key_names"], inputs["past_value_names"]),
        present=(outputs["present_key_names"], outputs["present_value_names"]),
    )


def read_json(path: Path) -> Any:
    """A parsed JSON file."""
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise BadInput(f"{path} cannot be read as JSON: {error}") from error


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in `path`, without the cutting and padding that training may have left in it."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises bare Exception
        raise BadInput(f"{path} is not a tokenizer: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def token_text(value: Any) -> str:
    """A special token as `tokenizer_config.json` has it: text, or an object with `content`, or nothing."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""
