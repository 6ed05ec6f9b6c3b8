"""How the demonstration shows progress and results: bars on a terminal, plain lines elsewhere, two tables at the end.

Knows the forms of job events, stage metrics and lineage; does not know where they come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

STEP_NUMBERS = ("loss", "accuracy", "reward", "kl", "eos_rate")
"""Numbers of a training step that its bar shows."""

MEASURES = (
    ("sft", "loss", "loss"),
    ("sft", "perplexity", "perplexity"),
    ("sft", "token accuracy", "token_accuracy"),
    ("reward", "pair accuracy", "accuracy"),
    ("ppo", "reward", "reward"),
    ("ppo", "KL of a reply, nats", "kl"),
    ("ppo", "replies that end by themselves", "eos_rate"),
    ("evaluate", "win rate of PPO against SFT", "win_rate"),
    ("export", "largest logit difference to torch", "onnx_parity.max_logit_difference"),
    ("export", "same likeliest token as torch", "onnx_parity.top1_agreement"),
)
"""What the table at the end shows: stage, words, and the number's dotted name (before and after, where both exist)."""


@contextmanager
def counting(console: Console, title: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """A bar that is moved by calling it with how many are done and a few words."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("[dim]{task.fields[note]}"), console=console, transient=True) as bar:
        task = bar.add_task(title, total=total, note="")
        yield lambda done, note: bar.update(task, completed=done, note=note)


class StageBars:
    """One bar for each stage of a job, moved by the job's events; off a terminal, a line for each tenth of a stage."""

    def __init__(self, console: Console, stages: Sequence[str]) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("  {task.description:9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.bars: dict[str, TaskID] = {
            f"{index:02d}-{kind}": self.progress.add_task(kind, total=None, start=False, note="")
            for index, kind in enumerate(stages)
        }
        self.told: dict[str, int] = {}

    def __enter__(self) -> StageBars:
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.progress.stop()

    def show(self, event: Mapping[str, Any]) -> None:
        """Move the bar that the event is about, or print what it says."""
        match event["type"]:
            case "progress":
                self._move(event["stage"], event["step"], event["total"], _numbers(event["metrics"]))
            case "state":
                self._mark(event["stage"], event["body"]["state"])
            case "log":
                self.console.print(f"  [dim]{event['message']}[/]", highlight=False)
            case "sample":
                words = _line(event["body"]["reply"]) or "(nothing that can be seen)"
                self.console.print(f"  [dim]{event['stage']} says:[/] {escape(words)}", highlight=False)

    def _mark(self, stage: str, state: str) -> None:
        """Start a bar with its stage, and fill it when the stage is done: not every stage has steps to count."""
        if stage not in self.bars:
            return
        self.progress.start_task(self.bars[stage])
        if state == "succeeded":
            task = next(task for task in self.progress.tasks if task.id == self.bars[stage])
            total = task.total or 1
            self.progress.update(self.bars[stage], total=total, completed=total)
        if not self.console.is_terminal:
            self.console.print(f"  {stage} {state}", highlight=False)

    def _move(self, stage: str, step: int, total: int, note: str) -> None:
        if stage in self.bars:
            bar = self.bars[stage]
            self.progress.start_task(bar)
            self.progress.update(bar, total=total, completed=step, note=note)
        tenth = 10 * step // max(total, 1)
        if not self.console.is_terminal and self.told.get(stage) != tenth:
            self.told[stage] = tenth
            self.console.print(f"  {stage} {step}/{total} {note}", highlight=False)


def result_table(stages: Sequence[Mapping[str, Any]]) -> Table:
    """The main numbers of each stage, before and after it where both were measured."""
    table = Table(title="Measured on conversations that were never trained on", title_justify="left")
    for column in ("stage", "seconds", "what", "before", "after"):
        table.add_column(column, justify="left" if column in ("stage", "what") else "right")
    for stage in stages:
        kind, seconds = stage["kind"], "" if stage["seconds"] is None else f"{stage['seconds']:.0f}"
        for _, words, name in [measure for measure in MEASURES if measure[0] == kind]:
            table.add_row(kind, seconds, words, _measured(stage["metrics"], "before", name), _after(stage, name))
            kind = seconds = ""
        table.add_section()
    return table


def _after(stage: Mapping[str, Any], name: str) -> str:
    return _measured(stage["metrics"], "after", name) or _measured({"": stage["metrics"]}, "", name)


def _measured(metrics: Mapping[str, Any], group: str, name: str) -> str:
    """A number by its dotted name within a group of metrics, with its 95 % interval where there is one."""
    found: Any = metrics.get(group)
    interval = found.get("interval") if isinstance(found, Mapping) else None
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if not isinstance(found, int | float):
        return ""
    has_interval = interval is not None and name in ("accuracy", "win_rate")
    return f"{found:.3g}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if has_interval and interval else "")


def lineage_table(reply: Mapping[str, Any]) -> Table:
    """From a reply back to the rankings that taught its model."""
    lineage = reply["lineage"]
    table = Table(title="Why does the model say this?", title_justify="left", show_header=False)
    table.add_row("reply", reply["id"])
    table.add_row("model", f"{lineage['model']['label']} from {lineage['model']['base']}")
    table.add_row("job", str(lineage["jobId"]))
    for use in lineage["snapshots"]:
        counts = ", ".join(f"{use[kind]} {kind}" for kind in ("trees", "messages", "rankings", "reviews"))
        first = "".join(
            f"\n  {it['kind']} {it['sourceId']} sha256 {it['hash'][:12]}…" for it in use["sources"]["nodes"]
        )
        table.add_row(f"{use['kind']} snapshot", f"{use['name']}/{use['version']}: {counts}{first}")
    return table


def _numbers(metrics: Mapping[str, Any]) -> str:
    """The numbers worth watching, three digits each."""
    return "  ".join(f"{name} {metrics[name]:.3g}" for name in STEP_NUMBERS if name in metrics)


def _line(text: str, length: int = 140) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
