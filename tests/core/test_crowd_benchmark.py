"""The crowd's benchmark: a small run on the samples tells what it should, and the same each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
METRICS = ("consensus_accuracy", "junk_accepted", "reviews_per_message")


def run(folder: Path, *options: str) -> dict:
    pytest.importorskip("matplotlib")
    out, data = folder / "crowd.json", ROOT / "samples" / "trees.jsonl"
    command = [sys.executable, "benchmarks/crowd.py", "--json", out, "--plot", folder / "crowd.png", "--data", data]
    subprocess.run([*command, *options], cwd=ROOT, check=True, capture_output=True, env=os.environ)
    assert (folder / "crowd.png").read_bytes().startswith(b"\x89PNG")
    return json.loads(out.read_text())


def test_numbers_are_told_for_both_rules_and_come_again(tmp_path) -> None:
    found = run(tmp_path, "--runs", "3")
    assert (found["runs"], found["data"], found["spammers"]) == (3, "trees.jsonl", 20)
    for metric in METRICS:
        assert {"ours", "parity"} <= set(found[metric])
        gain = found["ours_less_parity"][metric]
        assert gain["mean"] == pytest.approx(found[metric]["ours"] - found[metric]["parity"])
    assert found["reviews_per_message"]["parity"] == 3
    assert 2 <= found["reviews_per_message"]["ours"] <= 5
    # Half of the junk is of sorts that the parity rules do not look at.
    assert found["junk_accepted"]["ours"] < 0.25 < 0.4 < found["junk_accepted"]["parity"]
    assert run(tmp_path, "--runs", "3") == found


def test_an_honest_crowd_is_ordered_better_than_one_full_of_spammers(tmp_path) -> None:
    honest = run(tmp_path, "--runs", "3", "--spammers", "0", "--backwards", "0")
    spoiled = run(tmp_path, "--runs", "3", "--spammers", "100", "--backwards", "40")
    for rule in ("ours", "parity"):
        assert honest["consensus_accuracy"][rule] > spoiled["consensus_accuracy"][rule] + 0.1
    assert honest["alpha"] > 0.4 > 0.15 > spoiled["alpha"]
