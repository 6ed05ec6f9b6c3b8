"""`python -m benchmarks`: every benchmark beside this file, one after the other, results in `var/bench/<name>.json`.

Each benchmark is a module with `--json FILE`, and runs in a process of its own. Names as arguments run those alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE.parent / "var" / "bench"


def names() -> list[str]:
    """The benchmarks there are."""
    return sorted(path.stem for path in HERE.glob("[a-z]*.py"))


def main(wanted: list[str]) -> int:
    """Run the benchmarks named, or all; returns how many failed."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in wanted or names():
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(RESULTS / f"{name}.json")]
        if subprocess.run(command, cwd=HERE.parent, check=False).returncode:
            failed.append(name)
    print(f"results in {RESULTS}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return len(failed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="*", choices=[*names(), []], help="which to run; all if none is given")
    sys.exit(main(parser.parse_args().name))
