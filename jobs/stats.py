"""Small statistics that reports are made of. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def wilson(successes: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927), 95 % by default; (0, 1) when nothing was counted.

    Args:
        successes: may be fractional, since a tie counts one half.
        count: trials.
        z: normal quantile.
    """
    if count == 0:
        return 0.0, 1.0
    share = successes / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def share_won(first: Sequence[float], second: Sequence[float]) -> float:
    """Sum over pairs of 1 where `first` is higher, 0.5 where equal: the successes of a paired comparison."""
    return sum(0.5 if a == b else float(a > b) for a, b in zip(first, second, strict=True))


def mean_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean and population standard deviation; (0, 1) for no value, a deviation of 0 is given as 1."""
    if not values:
        return 0.0, 1.0
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    return mean, deviation or 1.0


def mean_interval(values: Sequence[float], z: float = 1.96) -> tuple[float, float] | None:
    """Interval of the mean of independent values, 95 % by default, by the normal approximation; None for fewer than 2.

    Args:
        values: of a paired comparison, the differences.
        z: normal quantile.
    """
    count = len(values)
    if count < 2:
        return None
    mean = sum(values) / count
    spread = z * math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1) / count)
    return mean - spread, mean + spread


def repetition(ids: Sequence[int], n: int = 4) -> float:
    """Share of n-grams that occurred before in the same sequence: 0 for no repetition, towards 1 for a loop."""
    grams = [tuple(ids[index : index + n]) for index in range(len(ids) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
