"""The card of a model version: what it is, what it learned from, how it did, in Markdown with plots.

Knows the manifest's content and the histories that stages left. Does not know weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.context import StageContext

CURVES: dict[str, tuple[str, ...]] = {
    "sft": ("loss",),
    "reward": ("loss", "accuracy"),
    "ppo": ("reward", "kl", "entropy", "length"),
}
"""Numbers drawn for each kind of stage, over steps."""

SHOWN_SAMPLES = 6

LIMITS = (
    "The numbers are from held-out rows of the snapshots above and from a reward model trained on the same people's "
    "rankings. A high win rate by that reward model is no proof that people prefer the replies."
)


def write_card(context: StageContext, about: Mapping[str, Any], folder: Path) -> None:
    """Write `card.md`, and `plots/<stage>.png` for each stage with a history, into a model's folder."""
    plots = {}
    for kind, names in CURVES.items():
        history = _read_json(context, kind, "history.json")
        if history:
            plots[kind] = draw(history, names, folder / "plots" / f"{kind}.png", title=kind)
    samples = _read_json(context, "evaluate", "samples.json")
    (folder / "card.md").write_text(card_text(about, plots, samples), encoding="utf-8")


def card_text(about: Mapping[str, Any], plots: Mapping[str, Path], samples: Sequence[Mapping[str, Any]]) -> str:
    """The card as Markdown. Pure."""
    data = [_data_row(item) for item in about["datasets"]]
    checks = [_check_row(name, check) for name, check in about["checks"].items()]
    parts = [
        f"# {about['name']} {about['version']}",
        f"A chat model: {about['base']} after {about['stage']}, job `{about['job_id']}`, {about['created_at']}.",
        f"Context of {about['context_length']} tokens. Licence of the base weights: {about['licence']}.",
        *("## Data", _table(("snapshot", "kind", "content hash"), data)),
        *("## Results", _results(about["metrics"])),
        *("## Checks", _table(("check", "passed", "numbers"), checks)),
        *(f"![{kind}](plots/{path.name})" for kind, path in plots.items()),
    ]
    if samples:
        shown = [_sample(item) for item in samples[:SHOWN_SAMPLES]]
        parts += ["## Samples", "Greedy replies to held-out prompts, with the reward model's scores.", *shown]
    return "\n\n".join([*parts, "## Limits", LIMITS]) + "\n"


def draw(history: Sequence[Mapping[str, float]], names: Sequence[str], path: Path, *, title: str) -> Path:
    """One small plot a name over steps, side by side, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [name for name in names if any(name in row for row in history)]
    figure = Figure(figsize=(3.2 * max(1, len(drawn)), 2.4), layout="constrained")
    FigureCanvasAgg(figure)
    for index, name in enumerate(drawn):
        axes = figure.add_subplot(1, len(drawn), index + 1)
        points = [(row["step"], row[name]) for row in history if name in row]
        axes.plot([x for x, _ in points], [y for _, y in points], linewidth=1.2)
        axes.set_title(f"{title}: {name}", fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def _read_json(context: StageContext, kind: str, name: str) -> list[dict[str, Any]]:
    """A file that a finished stage left; empty where there was no such stage or file."""
    output = context.outputs.get(kind)
    path = output.folder / name if output else None
    if path is None or not path.is_file():
        return []
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def _results(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [(kind, name, value) for kind, found in metrics.items() for name, value in _flat(found)]
    return _table(("stage", "measure", "value"), rows)


def _flat(found: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested numbers as dotted names with readable values."""
    rows: list[tuple[str, str]] = []
    for name, value in found.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        elif value is not None:
            rows.append((prefix + name, _readable(value)))
    return rows


def _readable(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return " to ".join(_readable(item) for item in value)
    return str(value)


def _data_row(item: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{item['name']}/{item['version']}", str(item.get("kind", "")), f"`{str(item.get('content_hash', ''))[:12]}`"


def _check_row(name: str, check: Mapping[str, Any]) -> tuple[str, str, str]:
    numbers = [f"{key} {_readable(value)}" for key, value in check.items() if key not in ("passed", "limits")]
    return name, "yes" if check["passed"] else "no", ", ".join(numbers)


def _sample(item: Mapping[str, Any]) -> str:
    lines = [
        f"> {_quoted(item['prompt'])}",
        f"**policy** ({item['policy_score']:.2f}): {_quoted(item['policy'])}",
        f"**SFT** ({item['baseline_score']:.2f}): {_quoted(item['baseline'])}",
    ]
    return "\n\n".join(lines)


def _quoted(text: str) -> str:
    """A model's text on one line that cannot become markup of the card."""
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|")[:600]


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
