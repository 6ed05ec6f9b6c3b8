"""How a conversation becomes tokens, for every stage: what is trained is what is scored and what is sampled.

Knows chat templates and truncation. Does not know data sets or models.

A template may write something after the end-of-turn token (ChatML writes a newline), where a sampled reply ends at the
end-of-turn token itself. A reward model trained at the one place and read at the other is wrong by several points, so
every reply here ends at the end-of-turn token, in training and in scoring alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import BadInput

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Rendered:
    """One prompt and one reply as token ids.

    Attributes:
        prompt: ids up to where the assistant begins to write.
        reply: ids of the reply; the last is the end-of-turn token unless the reply was cut.
        cut_prompt: tokens removed from the prompt's left end.
        cut_reply: tokens removed from the reply's right end.
    """

    prompt: list[int]
    reply: list[int]
    cut_prompt: int = 0
    cut_reply: int = 0

    @property
    def ids(self) -> list[int]:
        """Prompt and reply in one."""
        return self.prompt + self.reply


def render_prompt(tokenizer: Any, messages: Messages) -> list[int]:
    """Ids of a conversation that ends in a user turn, up to where the assistant begins to write."""
    turns = _plain(messages)
    if not turns or turns[-1]["role"] != "user":
        raise BadInput("a prompt must end in a user turn", path=("prompt",))
    ids: list[int] = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    return ids


def render(tokenizer: Any, messages: Messages, reply: str) -> Rendered:
    """A prompt and the assistant's reply to it, the reply closed by the end-of-turn token, nothing cut.

    Raises:
        BadInput: the chat template writes the prompt differently once a reply follows, or closes no turn.
    """
    turns = _plain(messages)
    prompt = render_prompt(tokenizer, turns)
    whole: list[int] = tokenizer.apply_chat_template(
        [*turns, {"role": "assistant", "content": reply}], add_generation_prompt=False, return_dict=False
    )
    if whole[: len(prompt)] != prompt:
        raise BadInput("the model's chat template changes the prompt when a reply follows it; it cannot be trained on")
    rest = whole[len(prompt) :]
    end = tokenizer.eos_token_id
    if end not in rest:
        raise BadInput(f"the model's chat template does not close a turn with its end token {tokenizer.eos_token!r}")
    last = len(rest) - rest[::-1].index(end)
    return Rendered(prompt, rest[:last])


def fit(rendered: Rendered, max_length: int, *, close: bool = False) -> Rendered:
    """At most `max_length` tokens: the prompt loses its left end, to a quarter of the room, then the reply its right.

    Args:
        rendered: what to fit.
        max_length: tokens of prompt and reply together.
        close: a cut reply still ends in its last token (the end of turn): a reward is read there.
    """
    floor = min(len(rendered.prompt), max_length // 4)
    prompt_room = max(floor, max_length - len(rendered.reply))
    prompt = rendered.prompt[max(0, len(rendered.prompt) - prompt_room) :]
    reply_room = max_length - len(prompt)
    reply = rendered.reply[:reply_room]
    if close and len(reply) < len(rendered.reply):
        reply = [*reply[:-1], rendered.reply[-1]]
    return Rendered(prompt, reply, len(rendered.prompt) - len(prompt), len(rendered.reply) - len(reply))


def scored_ids(tokenizer: Any, messages: Messages, reply: str, max_length: int) -> Rendered:
    """What a reward model reads for `reply`: the only rendering for its training, its evaluation and its use."""
    return fit(render(tokenizer, messages, reply), max_length, close=True)


def reply_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of sampled ids, without marks."""
    text: str = tokenizer.decode(list(ids), skip_special_tokens=True)
    return text


def _plain(messages: Messages) -> list[dict[str, str]]:
    return [{"role": str(message["role"]), "content": str(message["content"])} for message in messages]
