"""`python -m benchmarks`: every benchmark beside this file, one after the other, and a summary with the goals.

    python -m benchmarks [--full] [NAME ...]

Each benchmark is a module with `--json FILE` and runs in a process of its own; results are in `var/bench/NAME.json`,
the summary in `var/bench/summary.json`. Names run those alone. `--full` takes the sizes of a million messages too,
which need 10 GB of disk and an hour more. The exit code counts the benchmarks that gave no result; goals missed are
told.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import goals

HERE = Path(__file__).parent
RESULTS = HERE.parent / "var" / "bench"

PLANS: dict[str, tuple[str, str]] = {
    "coldstart": ("", ""),
    "attacks": ("", ""),
    "api": ("", ""),
    "crowd": ("", ""),
    "serving": ("", ""),
    "dataio": ("--sizes 20000 60000", "--sizes 20000 200000 --export 1000000"),
    "collection": ("--sizes 10000 100000", "--sizes 10000 100000 1000000"),
}
"""Options of each benchmark, and those with `--full`; in the order in which they run."""


def run(name: str, full: bool) -> Any:
    """The result of one benchmark; None when it gave none."""
    out = RESULTS / f"{name}.json"
    out.unlink(missing_ok=True)
    options = [*PLANS[name][full].split(), "--json", str(out)]
    print(f"== {name} {' '.join(options)}", flush=True)
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], cwd=HERE.parent, check=False)
    print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    return json.loads(out.read_text()) if out.exists() else None


def main(wanted: list[str], full: bool) -> int:
    """Run the benchmarks named, or all; returns how many gave no result."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    results = {name: run(name, full) for name in wanted or PLANS}
    failed = [name for name, result in results.items() if result is None]
    rows = goals.rows({name: result for name, result in results.items() if result is not None})
    show(rows)
    (RESULTS / "summary.json").write_text(json.dumps({"goals": rows, "failed": failed}, indent=1) + "\n")
    print(f"results in {RESULTS}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return len(failed)


def show(rows: list[dict[str, Any]]) -> None:
    """The summary for people."""
    table = Table("benchmark", "figure", "goal", "measured", "", title="Goals")
    for row in rows:
        measured = "not measured" if row["measured"] is None else f"{row['measured']:.3g}"
        word = {None: "", True: "met", False: "missed"}[row["met"]]
        table.add_row(row["benchmark"], row["figure"], row["goal"], measured, word)
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="*", choices=[*PLANS, []], help="which to run; all if none is given")
    parser.add_argument("--full", action="store_true", help="with sizes of a million messages")
    options = parser.parse_args()
    sys.exit(main(options.name, options.full))
