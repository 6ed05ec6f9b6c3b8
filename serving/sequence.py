"""One reply under way: what it has generated, what of it may be shown, when it ends.

Knows one request's own state. Does not know slots, batches or ONNX.
"""

from __future__ import annotations

import time
from collections.abc import Sequence as Items

import numpy as np

from serving.detokenize import Decoder, Detokenizer, StopStrings
from serving.requests import Event, FinishReason, Request, Sampling, Sink, Ticket, TokenLogprob, Usage


class Sequence:
    """The state of one reply.

    Args:
        request: what was asked.
        sink: where its events go.
        decoder: the model's tokenizer.
        eos: token ids that end a reply.
        need: positions of the cache that it may come to use.

    Attributes:
        cached: positions of its slot that hold its tokens.
        reused: of these, how many came from the prefix cache.
    """

    def __init__(self, request: Request, sink: Sink, decoder: Decoder, eos: frozenset[int], need: int) -> None:
        self.request = request
        self.ticket = Ticket(request)
        self.sink = sink
        self.need = need
        self.cached = 0
        self.reused = 0
        self.submitted = time.monotonic()
        self.last_token_at: float | None = None
        self.reply: list[int] = []
        self.random = np.random.default_rng(request.sampling.seed)
        self._eos = frozenset() if request.ignore_eos else eos
        self._text = Detokenizer(decoder, request.prompt)
        self._stops = StopStrings(request.stop)
        self._logprobs: list[TokenLogprob] = []

    @property
    def sampling(self) -> Sampling:
        """How its tokens are drawn."""
        return self.request.sampling

    @property
    def prompt(self) -> Items[int]:
        """Token ids of its prompt."""
        return self.request.prompt

    @property
    def newest(self) -> int:
        """The token that the graph is to read next."""
        return self.reply[-1]

    def late(self, now: float) -> bool:
        """Whether its deadline has passed."""
        return self.request.deadline is not None and now > self.request.deadline

    def take(self, token: int, logprob: TokenLogprob | None) -> Event:
        """Add a drawn token; returns what may be shown now, and whether that was the end."""
        if token in self._eos:
            return self.end("stop")
        self.reply.append(token)
        if logprob is not None:
            self._logprobs.append(logprob)
        shown, stopped = self._stops.push(self._text.push(token))
        if stopped:
            return self._event(shown, "stop")
        if len(self.reply) >= self.request.max_tokens:
            return self.end("length", shown)
        return self._event(shown, None)

    def end(self, reason: FinishReason, before: str = "") -> Event:
        """The last event: all that was held back, after `before`."""
        shown, stopped = self._stops.push(self._text.rest())
        if not stopped:
            shown += self._stops.rest()
        return self._event(before + shown, "stop" if stopped else reason)

    def _event(self, text: str, finish: FinishReason | None) -> Event:
        """Log-probabilities go out with the text that their tokens made, so they wait while nothing is shown."""
        if not text and finish is None:
            return Event()
        logprobs, self._logprobs = tuple(self._logprobs), []
        usage = Usage(len(self.prompt), self.reused, len(self.reply)) if finish else None
        return Event(text, logprobs, finish, usage)
