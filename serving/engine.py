"""The continuous batcher: one thread that owns the graph and takes one step after another for everybody.

A step: drop who was cancelled or is late; read one chunk of prompts into free slots; decode one token for every reply
in the batch; draw each row's token; hand on what may be shown. A reply that ends frees its slot at once, and one that
arrives joins after its prompt is read, without waiting for the others.

Knows tokens in and text out. Does not know chat messages, HTTP or where models come from.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence as Items
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import BadInput, OaError, TooMany, Unavailable
from serving.graph import Graph, check_inputs, open_session
from serving.kv import shape_of
from serving.model_files import ModelFiles
from serving.options import EngineOptions
from serving.prefix import PrefixCache
from serving.requests import Event, Request, Sink, Ticket, Usage
from serving.sampling import choose, log_probability
from serving.scheduler import Scheduler
from serving.sequence import Sequence

log = logging.getLogger(__name__)


class Observer(Protocol):
    """Who is told what the engine does; called on its thread."""

    def first_token(self, seconds: float) -> None:
        """A reply's first token came so long after it was submitted."""

    def next_token(self, seconds: float) -> None:
        """A reply's next token came so long after the one before."""

    def batch(self, rows: int) -> None:
        """A decoding step ran with so many replies."""

    def ended(self, outcome: str, usage: Usage) -> None:
        """A reply ended: `stop`, `length`, `cancelled`, or an error's code."""


class Unobserved:
    """An `Observer` that nobody listens to."""

    def first_token(self, seconds: float) -> None:
        """Ignore it."""

    def next_token(self, seconds: float) -> None:
        """Ignore it."""

    def batch(self, rows: int) -> None:
        """Ignore it."""

    def ended(self, outcome: str, usage: Usage) -> None:
        """Ignore it."""


@dataclass(frozen=True)
class Load:
    """How busy an engine is: replies in slots and waiting, cache positions promised and in all."""

    active: int
    waiting: int
    reserved: int
    budget: int


class Engine:
    """A loaded model that generates.

    Args:
        files: the model.
        options: its share of the machine.
        observer: who counts.

    Raises:
        BadInput: the graph cannot be loaded, or its first run gives no finite numbers.
    """

    def __init__(self, files: ModelFiles, options: EngineOptions, observer: Observer | None = None) -> None:
        geometry = files.geometry
        self._files = files
        self._options = options
        self._observer = observer or Unobserved()
        session = open_session(files.graph_path, options.threads, spin=options.spin, device=options.device)
        width = np.dtype(check_inputs(session, geometry)).itemsize
        per_token = shape_of(geometry, 1, width).bytes_per_token
        budget = options.kv_bytes // per_token
        # Main memory is taken as it is used, so one reply may have all of it; a device's is taken whole for each slot.
        longest = budget if options.device == "cpu" else budget // options.slots
        self.context = min(geometry.context, options.context or geometry.context, longest)
        if self.context < 2:
            raise BadInput(f"{options.kv_bytes} bytes of cache hold {longest} tokens of {per_token} bytes; give more")
        self._graph = Graph(session, geometry, options.slots, self.context, options.chunk, options.device)
        self._prefixes = PrefixCache(options.prefix_bytes, per_token)
        self._scheduler = Scheduler(options.slots, budget)
        self._seconds_per_reply = 1.0
        self._wake = threading.Condition()
        self._closed = False
        self._warm_up()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request, sink: Sink) -> Ticket:
        """Queue one request; its events go to `sink`, on the engine's thread.

        Raises:
            BadInput: with code `CONTEXT_TOO_LONG` when the prompt leaves no room for a reply.
            TooMany: with code `QUEUE_FULL` and `retry_after`.
            Unavailable: the engine is closed.
        """
        return self.submit_all([request], [sink])[0]

    def submit_all(self, requests: Items[Request], sinks: Items[Sink]) -> list[Ticket]:
        """Queue several requests, or none of them; raises as `submit`."""
        sequences = [self._sequence(request, sink) for request, sink in zip(requests, sinks, strict=True)]
        with self._wake:
            if self._closed:
                raise Unavailable("the model is being unloaded; try again")
            # A free slot is not a place in the queue: a reply that may start at once is never refused.
            free = self._options.slots - sum(1 for _ in self._scheduler)
            if len(self._scheduler.waiting) + len(sequences) > self._options.queue + free:
                raise self._full()
            self._scheduler.waiting.extend(sequences)
            self._wake.notify()
        return [sequence.ticket for sequence in sequences]

    @property
    def alive(self) -> bool:
        """Whether its thread still takes steps."""
        return self._thread.is_alive()

    def load(self) -> Load:
        """How busy it is now."""
        books = self._scheduler
        return Load(sum(1 for _ in books), len(books.waiting), books.reserved, books.budget)

    def close(self) -> None:
        """Fail what is left and end the thread; returns when it has ended."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _sequence(self, request: Request, sink: Sink) -> Sequence:
        room = self.context - len(request.prompt)
        if not request.prompt:
            raise BadInput("the prompt is empty; it must have at least one token")
        if room < 1:
            raise BadInput(
                f"the prompt has {len(request.prompt)} tokens; prompt and reply together may have {self.context}",
                code="CONTEXT_TOO_LONG", path=("messages",),
            )  # fmt: skip
        request = replace(request, max_tokens=min(room, request.max_tokens))
        need = len(request.prompt) + request.max_tokens
        return Sequence(request, sink, self._files.tokenizer, self._files.geometry.eos, need)

    def _full(self) -> TooMany:
        waiting = len(self._scheduler.waiting) + 1
        seconds = max(1.0, waiting * self._seconds_per_reply / self._options.slots)
        message = f"{waiting - 1} requests wait already; try again in {seconds:.0f} s"
        return TooMany(message, code="QUEUE_FULL", retry_after=round(seconds))

    def _warm_up(self) -> None:
        """Run both calls once, so that the first user does not pay for it and a broken graph is seen now."""
        ids = np.zeros(2, np.int64)
        ok = np.isfinite(self._graph.prefill(0, ids, 0)).all()
        ok = ok and np.isfinite(self._graph.decode(ids[:1], np.array([1], np.int64))).all()
        if not ok:
            raise BadInput(f"{self._files.graph_path} gives logits that are not finite")

    def _run(self) -> None:
        while self._has_work():
            try:
                self._step()
            except Exception as error:
                log.exception("an engine step failed; all replies under way fail with it")
                self._fail_all(Unavailable(f"the model failed: {type(error).__name__}"))
        self._fail_all(Unavailable("the model is being unloaded; try again"))

    def _has_work(self) -> bool:
        """Wait for work; False when closed."""
        with self._wake:
            self._wake.wait_for(lambda: self._closed or self._scheduler.waiting or any(self._scheduler))
            return not self._closed

    def _step(self) -> None:
        self._drop()
        self._prefill()
        self._decode()

    def _drop(self) -> None:
        """End those who were cancelled or whose time is over."""
        now = time.monotonic()
        with self._wake:
            gone = [item for item in self._scheduler.waiting if item.ticket.cancelled or item.late(now)]
            for sequence in gone:
                self._scheduler.waiting.remove(sequence)
        holders = [item for item in self._scheduler if item.ticket.cancelled or item.late(now)]
        for sequence in holders:
            self._leave(sequence)
        for sequence in [*gone, *holders]:
            self._deliver(sequence, self._gone(sequence))

    def _gone(self, sequence: Sequence) -> Event:
        if sequence.ticket.cancelled:
            return sequence.end("cancelled")
        made, waited = len(sequence.reply), time.monotonic() - sequence.submitted
        return Event(error=Unavailable(f"the deadline passed after {waited:.1f} s and {made} tokens", code="DEADLINE"))

    def _prefill(self) -> None:
        """Read up to one chunk of prompts."""
        left = self._options.chunk
        while left > 0:
            with self._wake:
                sequence = self._scheduler.admit()
            if sequence is None:
                return
            slot = self._scheduler.slot(sequence)
            if sequence.cached == 0:
                sequence.reused = sequence.cached = self._prefixes.load(sequence.prompt, self._graph.cache, slot)
            part = sequence.prompt[sequence.cached : sequence.cached + left]
            logits = self._graph.prefill(slot, np.asarray(part, np.int64), sequence.cached)
            sequence.cached += len(part)
            left -= len(part)
            if sequence.cached == len(sequence.prompt):
                self._prefixes.store(sequence.prompt, self._graph.cache, slot)
                self._scheduler.filled()
                self._advance([sequence], logits[None])

    def _decode(self) -> None:
        """One token for every reply in the batch."""
        rows = list(self._scheduler.active)
        if not rows:
            return
        ids = np.fromiter((row.newest for row in rows), np.int64, len(rows))
        lengths = np.fromiter((row.cached for row in rows), np.int64, len(rows))
        logits = self._graph.decode(ids, lengths)
        self._observer.batch(len(rows))
        for row in rows:
            row.cached += 1
        self._advance(rows, logits)

    def _advance(self, rows: list[Sequence], logits: NDArray[np.float32]) -> None:
        """Draw each row's token from logits [rows, vocabulary] and hand on what it makes."""
        now = time.monotonic()
        for index, (row, token) in enumerate(zip(rows, choose(logits, rows), strict=True)):
            wanted = row.request.logprobs
            logprob = None if wanted is None else log_probability(logits[index], token, wanted)
            event = row.take(token, logprob)
            self._time(row, now)
            if event.last:
                self._leave(row)
            if event.text or event.last:
                self._deliver(row, event)

    def _time(self, row: Sequence, now: float) -> None:
        if row.last_token_at is None:
            self._observer.first_token(now - row.submitted)
        else:
            self._observer.next_token(now - row.last_token_at)
        row.last_token_at = now

    def _leave(self, sequence: Sequence) -> None:
        """Free a slot: keep its prefix, close the gap."""
        cache = self._graph.cache
        tokens = [*sequence.prompt, *sequence.reply][: sequence.cached]
        self._prefixes.store(tokens, cache, self._scheduler.slot(sequence))
        for move in self._scheduler.remove(sequence):
            cache.move(move.source, move.target, move.positions)
        cache.trim(sum(1 for _ in self._scheduler))
        took = time.monotonic() - sequence.submitted
        self._seconds_per_reply += 0.1 * (took - self._seconds_per_reply)

    def _deliver(self, sequence: Sequence, event: Event) -> None:
        if event.last:
            outcome = event.error.code if isinstance(event.error, OaError) else str(event.finish)
            usage = event.usage or Usage(len(sequence.prompt), sequence.reused, len(sequence.reply))
            self._observer.ended(outcome, usage)
        try:
            sequence.sink(event)
        except Exception:
            log.exception("a reply's reader failed; the reply is cancelled")
            sequence.ticket.cancel()

    def _fail_all(self, error: OaError) -> None:
        with self._wake:
            sequences = self._scheduler.clear()
        for sequence in sequences:
            self._deliver(sequence, Event(error=error))
