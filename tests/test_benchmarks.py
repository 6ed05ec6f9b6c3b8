"""The summary of the benchmarks: each one is run, and figures stand beside their goals."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import goals
from benchmarks.__main__ import PLANS


def test_every_benchmark_is_run_and_every_goal_belongs_to_one() -> None:
    modules = {path.stem for path in Path(goals.__file__).parent.glob("[a-z]*.py")}
    assert set(PLANS) == modules - {"goals"}
    assert {goal.benchmark for goal in goals.GOALS} == set(PLANS)


def test_figures_are_read_and_judged() -> None:
    engines = (("ours", 8, 120, 1.0), ("ours", 1, 10, 1.0), (goals.STATIC, 8, 80, 1.0), (goals.SERIAL, 8, 100, 2.5))
    serving = [dict(zip(("engine", "users", "tokens", "cpu_seconds"), each, strict=True)) for each in engines]
    dataio = [
        {"who": "ours", "action": "import", "messages": size, "peak_mib": peak} for size, peak in ((9, 70), (1, 50))
    ]
    found = goals.rows(
        {"serving": serving, "dataio": dataio, "coldstart": {"cases": {"import": {"wall_s": 0.4, "mb": 99}}}}
    )
    assert [(row["goal"], row["measured"], row["met"]) for row in found] == [
        ("<= 0.5", 0.4, True),
        ("<= 150", 99, True),
        ("<= 10", 20, False),
        ("<= 10", None, None),
        (">= 1.4", pytest.approx(1.5), True),
        (">= 3", pytest.approx(3.0), True),
    ]
