"""Counters, gauges and histograms as Prometheus reads them (text format 0.0.4), and those that a node keeps.

Each number is written by one thread (an engine's) or by the event loop; readers may see it a moment late.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from serving.requests import Usage

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)

Labels = tuple[tuple[str, str], ...]


class Counter:
    """A number that only grows, for each set of labels."""

    kind = "counter"

    def __init__(self, name: str, about: str) -> None:
        self.name, self.about = name, about
        self._values: dict[Labels, float] = {}

    def add(self, amount: float = 1, **labels: str) -> None:
        """Let it grow."""
        key = tuple(sorted(labels.items()))
        self._values[key] = self._values.get(key, 0) + amount

    def samples(self) -> Iterator[tuple[str, Labels, float]]:
        """Suffix, labels and value of each line."""
        for labels, value in list(self._values.items()):
            yield "", labels, value


class Gauge:
    """Numbers that are read when they are asked for: labels and value each."""

    kind = "gauge"

    def __init__(self, name: str, about: str, read: Callable[[], list[tuple[Labels, float]]]) -> None:
        self.name, self.about, self._read = name, about, read

    def samples(self) -> Iterator[tuple[str, Labels, float]]:
        """Suffix, labels and value of each line."""
        for labels, value in self._read():
            yield "", labels, value


class Histogram:
    """How often a value fell below each bound, for each set of labels."""

    kind = "histogram"

    def __init__(self, name: str, about: str, bounds: Sequence[float]) -> None:
        self.name, self.about, self._bounds = name, about, tuple(bounds)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, value: float, labels: Labels = ()) -> None:
        """Count one value."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
            self._sums[labels] = 0.0
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[labels] += value

    def samples(self) -> Iterator[tuple[str, Labels, float]]:
        """Suffix, labels and value of each line."""
        for labels, counts in list(self._counts.items()):
            total = 0
            for bound, count in zip((*map(str, self._bounds), "+Inf"), list(counts), strict=True):
                total += count
                yield "_bucket", (*labels, ("le", bound)), total
            yield "_sum", labels, self._sums[labels]
            yield "_count", labels, total


Metric = Counter | Gauge | Histogram


def render(metrics: Sequence[Metric]) -> str:
    """The text that Prometheus scrapes."""
    lines = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.about}", f"# TYPE {metric.name} {metric.kind}"]
        lines += [
            f"{metric.name}{suffix}{braced(labels)} {float(value)!r}" for suffix, labels, value in metric.samples()
        ]
    return "\n".join(lines) + "\n"


def braced(labels: Labels) -> str:
    """Labels as the text format has them."""
    if not labels:
        return ""
    escaped = ((name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels)
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"


class NodeMetrics:
    """What one node counts."""

    def __init__(self) -> None:
        self.first_token = Histogram("oa_serving_first_token_seconds", "From request to first token.", SECONDS)
        self.next_token = Histogram("oa_serving_next_token_seconds", "Between two tokens of a reply.", SECONDS)
        self.batch = Histogram("oa_serving_batch_rows", "Replies in one decoding step.", ROWS)
        self.tokens = Counter("oa_serving_tokens_total", "Tokens: of prompts, of these cached, and generated.")
        self.replies = Counter("oa_serving_replies_total", "Replies by outcome.")
        self.requests = Counter("oa_serving_requests_total", "HTTP requests for chat by status.")
        self.refused = Counter("oa_serving_models_refused_total", "Model versions that could not be loaded.")

    def of(self, model: str) -> ModelMetrics:
        """The observer of one model version's engine."""
        return ModelMetrics(self, model)

    def all(self) -> list[Metric]:
        """Every metric that a node keeps."""
        return [
            self.first_token, self.next_token, self.batch, self.tokens, self.replies, self.requests, self.refused,
        ]  # fmt: skip


class ModelMetrics:
    """An engine's observer that adds to a node's metrics under the model's name."""

    def __init__(self, node: NodeMetrics, model: str) -> None:
        self._node = node
        self._model = model
        self._labels: Labels = (("model", model),)

    def first_token(self, seconds: float) -> None:
        """A reply began."""
        self._node.first_token.observe(seconds, self._labels)

    def next_token(self, seconds: float) -> None:
        """A reply went on."""
        self._node.next_token.observe(seconds, self._labels)

    def batch(self, rows: int) -> None:
        """A decoding step ran."""
        self._node.batch.observe(rows, self._labels)

    def ended(self, outcome: str, usage: Usage) -> None:
        """A reply ended."""
        self._node.replies.add(model=self._model, outcome=outcome)
        for kind, count in (("prompt", usage.prompt), ("cached", usage.cached), ("generated", usage.generated)):
            self._node.tokens.add(count, model=self._model, kind=kind)
