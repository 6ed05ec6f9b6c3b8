"""What the engine is asked and what it answers: plain records between the HTTP door and the engine thread.

Knows token ids, limits and sampling settings. Does not know chat messages, HTTP or ONNX.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from the logits.

    Attributes:
        temperature: 0 takes the most likely token; else logits are divided by it.
        top_p: keep the smallest set of likeliest tokens whose mass reaches this (Holtzman et al. 2020).
        top_k: keep this many; 0 keeps all.
        min_p: keep tokens at least this fraction as likely as the likeliest.
        repetition_penalty: positive logits of tokens seen in prompt or reply are divided by it, negative ones
            multiplied (Keskar et al. 2019); 1 does nothing.
        presence_penalty: taken off the logit of each token that the reply has.
        frequency_penalty: taken off for each time that the reply has it.
        seed: makes the draw repeatable on the same build and machine; None draws anew.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None

    @property
    def penalised(self) -> bool:
        """Whether earlier tokens change the logits."""
        return self.repetition_penalty != 1.0 or self.presence_penalty != 0.0 or self.frequency_penalty != 0.0


GREEDY = Sampling(temperature=0.0)


@dataclass(frozen=True)
class Request:
    """One reply to generate.

    Attributes:
        prompt: token ids, at least one.
        max_tokens: most tokens of the reply.
        sampling: how to draw.
        stop: strings before which the reply ends.
        logprobs: None, or how many alternatives to report beside each token's log-probability.
        deadline: `time.monotonic()` after which the reply fails; None for never.
        ignore_eos: go on past the end-of-sequence token, for load tests.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling = GREEDY
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    deadline: float | None = None
    ignore_eos: bool = False


@dataclass(frozen=True)
class TokenLogprob:
    """Log-probability (nats, of the model's own distribution) of a token taken, and of the likeliest ones."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Usage:
    """Tokens of a reply: of its prompt, of these taken from the prefix cache, and of what was generated."""

    prompt: int
    cached: int
    generated: int


@dataclass(frozen=True)
class Event:
    """Something that happened to a reply; the last one has `finish` or `error`.

    Attributes:
        text: what was added to the reply, whole characters, cleared of stop strings; may be empty.
        logprobs: of the tokens since the last event, when asked for.
        finish: why it ended.
        usage: with `finish`.
        error: why it failed.
    """

    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: FinishReason | None = None
    usage: Usage | None = None
    error: Exception | None = None

    @property
    def last(self) -> bool:
        """Whether nothing follows."""
        return self.finish is not None or self.error is not None


Sink = Callable[[Event], None]
"""Called on the engine thread, once for each event; must return at once."""


@dataclass
class Ticket:
    """What a caller holds of a reply under way."""

    request: Request
    cancelled: bool = field(default=False)

    def cancel(self) -> None:
        """Ask the engine to stop; it does so before its next step. Safe from any thread, any number of times."""
        self.cancelled = True
