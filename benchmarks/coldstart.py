"""Cold start of the API: what `import api.app` costs, against importing its libraries bare.

    python benchmarks/coldstart.py [--rounds 10] [--json FILE]

`import` is `import api.app` (settings, types, tokens, middleware; no driver); `create_app` is that and the schema built
and the app made, which is what a server does before it listens. The peer is `import starlette.applications,
strawberry, pymongo`: the least that any such API imports. Each is a fresh process, in turn, so that they share the
machine's moods; the median is told, with the spread. Time is wall clock inside the process, from its first statement
on, beside CPU seconds; memory is the peak resident set.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "ray", "onnxruntime")
MAKE = """
from pathlib import Path
from api.settings import Settings
api.app.create_app(Settings(mode="embedded", mongodb_uri="mongodb://127.0.0.1:1", token_key_file=Path(KEY)))
"""
CASES = {
    "python": "",
    "peer": "import starlette.applications, strawberry, pymongo",
    "import": "import api.app",
    "create_app": "import api.app" + MAKE,
}
PROBE = """
import json, resource, sys, time
KEY = sys.argv[1]
wall, cpu = time.perf_counter(), time.process_time()
{body}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({{"wall_s": wall, "cpu_s": cpu, "mb": peak, "modules": len(sys.modules), "names": list(sys.modules)}}))
"""
PEER, OURS = "peer", "import"


def measure(body: str, key: Path) -> dict[str, float]:
    """One fresh process: wall and CPU seconds of `body`, peak megabytes, modules loaded."""
    command = [sys.executable, "-c", PROBE.format(body=body), str(key)]
    # As installed: with the code compiled, whatever this shell says of that.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    found = json.loads(subprocess.check_output(command, cwd=ROOT, env=environment))
    loaded = {name.partition(".")[0] for name in found.pop("names")}
    assert loaded.isdisjoint(HEAVY), f"{sorted(loaded & set(HEAVY))} came along"
    return found


def summary(runs: list[dict[str, float]]) -> dict[str, float]:
    """Medians, and the least and the most wall seconds."""
    walls = [run["wall_s"] for run in runs]
    return {name: median(run[name] for run in runs) for name in runs[0]} | {"min_s": min(walls), "max_s": max(walls)}


def run(rounds: int) -> dict[str, dict[str, float]]:
    """Every case `rounds` times, in turn, after one round that only warms the disk cache."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds + 1):
            for name, body in CASES.items():
                result = measure(body, Path(folder) / "token.pem")
                if turn:
                    found[name].append(result)
    return {name: summary(runs) for name, runs in found.items()}


def show(results: dict[str, dict[str, float]], rounds: int) -> None:
    """A table for people."""
    table = Table(title=f"Cold start, median of {rounds} fresh processes each, interleaved")
    for column in ("", "wall s", "min to max", "CPU s", "peak MB", "modules", "wall x peer", "CPU x peer"):
        table.add_column(column, justify="left" if not column else "right")
    for name, row in results.items():
        ratios = [f"{row[name] / results[PEER][name]:.2f}" for name in ("wall_s", "cpu_s")]
        spread = f"{row['min_s']:.3f} to {row['max_s']:.3f}"
        cells = (f"{row['wall_s']:.3f}", spread, f"{row['cpu_s']:.3f}", f"{row['mb']:.0f}", f"{row['modules']:.0f}")
        table.add_row(name, *cells, *ratios)
    Console().print(table)


def main() -> None:
    """Measure, show, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="processes for each case")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results there")
    options = parser.parse_args()
    results = run(options.rounds)
    show(results, options.rounds)
    if options.json:
        ratios = {f"{name}_ratio": results[OURS][name] / results[PEER][name] for name in ("wall_s", "cpu_s")}
        options.json.write_text(json.dumps({"rounds": options.rounds, "cases": results, **ratios}, indent=2))


if __name__ == "__main__":
    main()
