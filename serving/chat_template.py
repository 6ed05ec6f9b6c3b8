"""From messages to the text that the model continues, by the model's own Jinja template.

Threats: a template comes with a model, so it runs in Jinja's immutable sandbox; a message's text comes from anybody,
so control tokens written in it (`<|im_end|>`) are broken up by a zero-width space and cannot end the message's turn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from core.errors import BadInput

ZERO_WIDTH_SPACE = "\u200b"
OPEN_END = "\ue000open-end\ue001"
"""Stands for the text of a message that is to be continued; a private-use character keeps it unlike any text."""

Message = Mapping[str, str]
"""`role` and `content`."""


class ChatTemplate:
    """One model's template.

    Args:
        source: the Jinja text.
        tokens: `bos_token` and the like, given to the template by name.
        special_texts: texts of control tokens, which messages may not contain as such.

    Raises:
        BadInput: the source is not a template.
    """

    def __init__(self, source: str, tokens: Mapping[str, str], special_texts: Sequence[str]) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = to_json
        environment.globals["raise_exception"] = refuse
        environment.globals["strftime_now"] = lambda form: datetime.now(UTC).strftime(form)
        self._special_texts = special_texts
        self._tokens = dict(tokens)
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise BadInput(f"the model's chat template is not a Jinja template: {error}") from error

    def render(self, messages: Sequence[Message], *, continue_final: bool = False) -> str:
        """The prompt's text.

        Args:
            messages: in order, each with `role` and `content`.
            continue_final: leave the last message open, for the model to go on with it, instead of starting an
                assistant's message.

        Raises:
            BadInput: the template refuses these messages, or cannot leave the last one open.
        """
        safe = [{**message, "content": self.neutral(message["content"])} for message in messages]
        if not continue_final:
            return self._rendered(safe, True)
        opened = [*safe[:-1], {**safe[-1], "content": OPEN_END}]
        before, found, _ = self._rendered(opened, False).partition(OPEN_END)
        if not found:
            raise BadInput("the model's chat template cannot continue a message", path=("continue_final_message",))
        return before + safe[-1]["content"]

    def neutral(self, text: str) -> str:
        """`text` with each control token in it broken up."""
        for special in self._special_texts:
            if special in text:
                text = text.replace(special, special[0] + ZERO_WIDTH_SPACE + special[1:])
        return text

    def _rendered(self, messages: list[dict[str, str]], add_prompt: bool) -> str:
        try:
            return self._template.render(messages=messages, add_generation_prompt=add_prompt, **self._tokens)
        except (TemplateError, TypeError, KeyError) as error:
            raise BadInput(f"the model's chat template refuses these messages: {error}", path=("messages",)) from error


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON as models are trained on it: not escaped for HTML, which is what Jinja's own filter does."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def refuse(message: str) -> NoReturn:
    """What templates call as `raise_exception`."""
    raise TemplateError(message)
