"""How the running stack looks in a terminal: interleaved lines with coloured part names, and a table of parts.

Every line also goes to `<OA_VAR>/logs/<part>.log`, where it stays when the terminal is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = {"oa": "bold white", "documents": "green", "objects": "cyan", "api": "blue", "serving": "magenta"}
OTHER_COLOUR = "yellow"
STATE_COLOURS = {"running": "green", "starting": "yellow", "restarting": "red", "missing": "red"}
CHATTER = {"objects": re.compile(r'\[INFO\]: 127\.0\.0\.1 "|Buckets: |^[ /_\\,<]*$')}
"""Lines of a part that only its log file keeps: one for every request of every other part, and a banner."""
WIDTH = 9
PIPE_WIDTH = 400
LOG_BYTES = 20 << 20
"""Size at which a log file is moved to `<part>.log.1`, whose former content goes."""


class Lines:
    """Shows lines and keeps them.

    Args:
        folder: where the log files go.
        console: where people look.
    """

    def __init__(self, folder: Path, console: Console) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.console = console

    def say(self, name: str, text: str, *, show: bool = True) -> None:
        """Keep one line of the part `name`, and show it unless `show` is false."""
        with suppress(OSError):  # a full disk must not end the parts
            self._keep(self.folder / f"{name}.log", text)
        if not show or (name in CHATTER and CHATTER[name].search(text)):
            return
        with suppress(BrokenPipeError):  # the terminal is gone; the parts need not know
            line = Text.assemble((f"{name:<{WIDTH}}", COLOURS.get(name, OTHER_COLOUR)), " | ", Text.from_ansi(text))
            self.console.print(line, soft_wrap=True)

    def _keep(self, path: Path, text: str) -> None:
        with suppress(FileNotFoundError):
            if path.stat().st_size > LOG_BYTES:
                path.replace(path.with_suffix(".log.1"))
        with path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


def parts_table(parts: Iterable[Mapping[str, Any]], given: Mapping[str, str]) -> Table:
    """A table of the parts that `run.json` lists, and of addresses that were given instead."""
    table = Table("part", "state", "address", "process", "restarts", "last end", box=None, pad_edge=False)
    for part in parts:
        state = Text(part["state"], STATE_COLOURS.get(part["state"], ""))
        end = "" if part["exit_code"] is None else str(part["exit_code"])
        pid = "" if part["pid"] is None else str(part["pid"])
        table.add_row(part["name"], state, part["missing"] or part["address"], pid, str(part["restarts"]), end)
    for name, address in given.items():
        table.add_row(name, "given", without_password(address), "", "", "")
    return table


def names_table(*columns: str) -> Table:
    """An empty table of names to copy: no column is cut, the last one goes on in the next line if it must."""
    table = Table(box=None, pad_edge=False)
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(columns[-1], overflow="fold")
    return table


def lists(console: Console | None = None) -> Console:
    """Where lists are printed. What is no terminal is read by programs: there no line is broken."""
    console = console or Console()
    return console if console.is_terminal else Console(file=console.file, width=PIPE_WIDTH)


def without_password(address: str) -> str:
    """`address` with `user:password@` replaced by `...@`."""
    scheme, slashes, rest = address.partition("://")
    credentials, at, host = rest.rpartition("@")
    return f"{scheme}{slashes}...@{host}" if at and credentials else address
