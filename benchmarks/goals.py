"""What each benchmark is to show: the figure, where it stands in the benchmark's result, and the goal beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

STATIC, SERIAL = "transformers, static 8", "transformers, one at a time"


@dataclass(frozen=True)
class Goal:
    """A figure of one benchmark and its bound.

    Attributes:
        benchmark: module of this package.
        figure: what it is, with its unit.
        read: gives it from the benchmark's JSON; raises `LookupError` where the run left it out.
        most: the goal is at most this, or
        least: at least this.
    """

    benchmark: str
    figure: str
    read: Callable[[Any], float]
    most: float | None = None
    least: float | None = None

    @property
    def bound(self) -> str:
        """The goal for people."""
        return f"<= {self.most:g}" if self.least is None else f">= {self.least:g}"

    def met(self, value: float) -> bool:
        """Whether `value` reaches it."""
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)


def _worst_attack(key: str) -> Callable[[Any], float]:
    return lambda result: max(attack[key] for attack in result["attacks"].values())


def _over_parity(metric: str) -> Callable[[Any], float]:
    return lambda result: result["ours_less_parity"][metric]["mean"]


def _cycle(*parts: str, of: str = "cycle") -> Callable[[Any], float]:
    return lambda result: sum(result["10000"][of][part] for part in parts)


def _taking(result: Any) -> float:
    """The most that any kind takes at any size, without the one for who calls and the one that shows a conversation."""
    return max(each["commands"] for size in result.values() for name, each in size.items() if name[:4] == "take") - 2


def _growth(result: Any) -> float:
    sizes = sorted(result, key=int)
    if len(sizes) < 2:
        raise LookupError("one size only")
    return _both(result[sizes[-1]]["cycle"]) / _both(result[sizes[0]]["cycle"])


def _both(cycle: Mapping[str, float]) -> float:
    return cycle["api_ms"] + cycle["store_ms"]


def _memory(action: str) -> Callable[[Any], float]:
    """MiB that the largest takes more than the smallest."""

    def read(result: Any) -> float:
        ours = [each for each in result if each["who"] == "ours" and each["action"] == action]
        ours.sort(key=lambda each: each["messages"])
        if len(ours) < 2:
            raise LookupError("one size only")
        return float(ours[-1]["peak_mib"] - ours[0]["peak_mib"])

    return read


def _tokens_over(peer: str) -> Callable[[Any], float]:
    """Tokens a CPU-second at 8 users, ours over the peer's; all rounds together."""

    def rate(result: Any, engine: str) -> float:
        rows = [row for row in result if (row["engine"], row["users"]) == (engine, 8)]
        if not rows:
            raise LookupError(engine)
        return sum(row["tokens"] for row in rows) / sum(row["cpu_seconds"] for row in rows)

    return lambda result: rate(result, "ours") / rate(result, peer)


GOALS = (
    Goal("coldstart", "import api.app, s", lambda result: result["cases"]["import"]["wall_s"], most=0.5),
    Goal("coldstart", "import api.app, MB at the peak", lambda result: result["cases"]["import"]["mb"], most=150),
    Goal("attacks", "CPU ms to refuse the worst attack", _worst_attack("cpu_ms"), most=50),
    Goal("attacks", "MB to refuse the worst attack", _worst_attack("peak_mb"), most=10),
    Goal("crowd", "siblings in the right order, ours less parity", _over_parity("consensus_accuracy"), least=0),
    Goal("crowd", "junk accepted, ours less parity", _over_parity("junk_accepted"), most=0),
    Goal("crowd", "reviews a message, ours less parity", _over_parity("reviews_per_message"), most=0),
    Goal("api", "hello within the process, CPU ms", lambda result: result["process"]["hello"]["cpu_ms"], most=0.2),
    Goal("collection", "commands to hand out a task", _taking, most=6),
    Goal("collection", "a cycle at 10 k messages, CPU ms of the API", _cycle("api_ms"), most=10.2),
    Goal("collection", "the same with the embedded store's", _cycle("api_ms", "store_ms"), most=10.2),
    Goal("collection", "the same by eight callers at once", _cycle("api_ms", "store_ms", of="together"), most=10.2),
    Goal("collection", "a cycle at the largest size over one at the smallest", _growth, most=1.3),
    Goal("dataio", "import, MiB more for the largest than the smallest", _memory("import"), most=10),
    Goal("dataio", "export, MiB more for the largest than the smallest", _memory("export"), most=10),
    Goal("serving", "tokens a CPU-second at 8 users over static batches", _tokens_over(STATIC), least=1.4),
    Goal("serving", "tokens a CPU-second at 8 users over one at a time", _tokens_over(SERIAL), least=3),
)
"""The embedded store is Python; a cycle's 10.2 ms are a 25th of what the original's server and database took."""


def rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every goal of the benchmarks in `results`, by name, with what was measured; None where a run left it out."""
    found = []
    for goal in GOALS:
        if goal.benchmark not in results:
            continue
        try:
            value = goal.read(results[goal.benchmark])
        except LookupError:
            value = None
        row = {"benchmark": goal.benchmark, "figure": goal.figure, "goal": goal.bound, "measured": value}
        found.append(row | {"met": None if value is None else goal.met(value)})
    return found
