"""From logits to tokens. Pure: numpy in, token ids out; each row's randomness is its own.

Rows that want the likeliest token share one argmax; rows that draw share one softmax. A row's draw depends on its
logits, settings and generator alone, never on who shares its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serving.requests import Sampling, TokenLogprob

Floats = NDArray[np.float32]


class Row(Protocol):
    """What sampling needs of one reply."""

    @property
    def sampling(self) -> Sampling:
        """Its settings."""

    @property
    def random(self) -> np.random.Generator:
        """Its generator."""

    @property
    def prompt(self) -> Sequence[int]:
        """Token ids of its prompt."""

    @property
    def reply(self) -> Sequence[int]:
        """Token ids generated so far."""


def choose(logits: Floats, rows: Sequence[Row]) -> list[int]:
    """The next token of each row.

    Args:
        logits: [rows, vocabulary], of the last position; not changed.
        rows: as many as logits has.
    """
    if any(row.sampling.penalised for row in rows):
        logits = logits.copy()
        for index, row in enumerate(rows):
            penalise(logits[index], row)
    tokens: list[int] = logits.argmax(axis=1).tolist()
    drawn = [index for index, row in enumerate(rows) if row.sampling.temperature > 0]
    if drawn:
        probabilities = softmax(logits[drawn], [rows[index].sampling.temperature for index in drawn])
        for place, index in enumerate(drawn):
            tokens[index] = draw(probabilities[place], rows[index].sampling, rows[index].random)
    return tokens


def penalise(logits: Floats, row: Row) -> None:
    """Apply the repetition, presence and frequency penalties to one row, [vocabulary], in place."""
    settings = row.sampling
    if settings.repetition_penalty != 1.0:
        seen = np.unique(np.asarray([*row.prompt, *row.reply]))
        values = logits[seen]
        factor = np.float32(settings.repetition_penalty)
        logits[seen] = np.where(values > 0, values / factor, values * factor)
    if row.reply and (settings.presence_penalty or settings.frequency_penalty):
        tokens, counts = np.unique(np.asarray(row.reply), return_counts=True)
        logits[tokens] -= (settings.presence_penalty + settings.frequency_penalty * counts).astype(np.float32)


def softmax(logits: Floats, temperatures: Sequence[float]) -> Floats:
    """Probabilities [rows, vocabulary] of logits divided by each row's temperature."""
    scaled: Floats = logits - logits.max(axis=1, keepdims=True)
    scaled /= np.asarray(temperatures, dtype=np.float32)[:, None]
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled


def draw(probabilities: Floats, settings: Sampling, random: np.random.Generator) -> int:
    """One token from one row [vocabulary], after top-k, then top-p, then min-p."""
    uniform = random.random()
    kept = candidates(probabilities, settings)
    if kept is None:
        return pick(np.arange(len(probabilities)), probabilities, uniform)
    return pick(kept, probabilities[kept], uniform)


def candidates(probabilities: Floats, settings: Sampling) -> NDArray[np.intp] | None:
    """Token ids that the filters leave, likeliest first; None when there is no filter.

    With top-p alone only tokens of at least (1 - top_p) / vocabulary are sorted: all the others together weigh less
    than 1 - top_p, so none of them can be inside the set.
    """
    size = len(probabilities)
    found: NDArray[np.intp]
    if settings.top_k and settings.top_k < size:
        found = np.argpartition(probabilities, size - settings.top_k)[size - settings.top_k :]
    elif settings.top_p < 1.0:
        found = np.flatnonzero(probabilities >= (1.0 - settings.top_p) / size)
    elif settings.min_p > 0.0:
        found = np.flatnonzero(probabilities >= settings.min_p * probabilities.max())
    else:
        return None
    found = found[np.lexsort((found, -probabilities[found]))]
    ordered = probabilities[found].astype(np.float64)
    keep = ordered >= settings.min_p * ordered[0]
    if settings.top_p < 1.0:
        total = ordered.sum() if settings.top_k else 1.0
        keep &= np.cumsum(ordered) - ordered < settings.top_p * total
    keep[0] = True
    kept: NDArray[np.intp] = found[keep]
    return kept


def pick(tokens: NDArray[np.intp], weights: Floats, uniform: float) -> int:
    """The token in whose share of the summed weights `uniform`, in [0, 1), falls; one of weight 0 never does."""
    sums = np.cumsum(weights, dtype=np.float64)
    place = int(np.searchsorted(sums, uniform * sums[-1], side="right"))
    return int(tokens[min(place, len(tokens) - 1)])


def log_probability(logits: Floats, token: int, alternatives: int) -> TokenLogprob:
    """Log-probability of `token` under logits [vocabulary], with the likeliest `alternatives` tokens."""
    values = logits.astype(np.float64)
    values -= values.max()
    values -= np.log(np.exp(values).sum())
    alternatives = min(alternatives, len(values))
    if not alternatives:
        return TokenLogprob(token, float(values[token]))
    top = np.argpartition(values, len(values) - alternatives)[len(values) - alternatives :]
    top = top[np.lexsort((top, -values[top]))]
    return TokenLogprob(token, float(values[token]), tuple((int(item), float(values[item])) for item in top))
