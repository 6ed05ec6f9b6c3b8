"""The root of the command line: which commands there are, where each lives, how an error looks.

Knows one line of help for each command and imports a command's module only when that command runs, so that `oa --help`
is quick and a part whose extra is absent does not stop the others. Does not know what any command does.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from core import __version__
from core.errors import OaError
from oa.settings import settings

EXIT_BAD = 2


@dataclass(frozen=True)
class Entry:
    """One command: the module and attribute that hold it (a function, or a `typer.Typer` with commands of its own)."""

    module: str
    attribute: str
    help: str


ENTRIES: dict[str, Entry] = {
    "up": Entry("oa.up", "up_command", "Start and watch the whole stack on this machine."),
    "down": Entry("oa.up", "down_command", "Stop what `oa up` started."),
    "status": Entry("oa.up", "status_command", "Show what runs, where, and how often it was restarted."),
    "doctor": Entry("oa.doctor", "doctor_command", "Say what is missing on this machine, and how to get it."),
    "import": Entry("oa.data", "import_command", "Read conversation trees into the document store."),
    "export": Entry("oa.exports", "export_command", "Write conversation trees from the document store."),
    "snapshot": Entry("oa.snapshots", "snapshot_app", "Freeze, list and show dataset snapshots."),
    "jobs": Entry("oa.jobs", "app", "Launch, list, show, follow, cancel and work on training jobs."),
    "models": Entry("oa.models", "app", "List, promote and pull models."),
    "serve": Entry("oa.serve", "serve_command", "Serve chat from promoted ONNX models."),
    "users": Entry("oa.users", "app", "List users, set their roles, mint tokens."),
}
"""In the order of help. One whose module is not there is not shown."""

ALONE = {"up", "down", "status"}
"""Commands about the stack itself; every other finds the running stack's addresses in its environment."""

EXTRAS: dict[str, str] = {
    "strawberry": "api", "starlette": "api", "uvicorn": "api", "joserfc": "api", "authlib": "api", "httpx": "api",
    "ray": "jobs", "torch": "jobs", "transformers": "jobs", "trl": "jobs", "peft": "jobs", "accelerate": "jobs",
    "datasets": "jobs", "onnx": "jobs",
    "onnxruntime": "serving", "tokenizers": "serving", "jinja2": "serving",
    "nx_27017": "embedded", "neosqlite": "embedded", "localbucket": "embedded", "psutil": "embedded",
}  # fmt: skip
"""Which extra brings a package that some command imports."""


class LazyGroup(TyperGroup):
    """A group that shows every command without importing any, and imports the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands whose module is there, in the order of help."""
        return [name for name, entry in ENTRIES.items() if find_spec(entry.module) is not None]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with the name and the help of the command; `resolve_command` gives the command itself."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return TyperCommand(cmd_name, help=ENTRIES[cmd_name].help, callback=lambda: None)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that `args` call, imported."""
        name, command, rest = super().resolve_command(ctx, args)
        if name not in ALONE:
            os.environ.update(settings())
        return name, load(name) if command is not None and name else command, rest


def load(name: str) -> Any:
    """The command `name` as typer's command object."""
    entry = ENTRIES[name]
    found = getattr(import_module(entry.module), entry.attribute)
    if isinstance(found, typer.Typer):
        command: Any = typer.main.get_group(found)
    else:
        holder = typer.Typer(add_completion=False)
        holder.command(name)(found)
        command = typer.main.get_command(holder)
    command.name = name
    command.help = command.help or entry.help
    return command


def _say_version(asked: bool) -> None:
    if asked:
        print(f"oa {__version__}")
        raise typer.Exit()


root = typer.Typer(
    name="oa",
    cls=LazyGroup,
    help="Open Assistant: collect and rank conversations, train on them, serve what was trained.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@root.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Print the version.")
    ] = False,
) -> None: ...


cli = typer.main.get_group(root)


def app() -> None:
    """Run the command line. An `OaError`, or a full disk, becomes one line, `error CODE: message`, and exit code 2."""
    try:
        cli.main(prog_name="oa")
    except OaError as error:
        fail(error.code, error.message)
    except OSError as error:
        if error.errno not in (ENOSPC, EDQUOT):
            raise
        fail("UNAVAILABLE", f"no space is left on the disk ({error.filename or 'while writing'}); free some and go on")
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        fail(
            "UNAVAILABLE", f"{error.name} is not installed; get it with: pip install -c constraints.txt -e '.[{extra}]'"
        )


def fail(code: str, message: str) -> None:
    """Say what is wrong on standard error and end with exit code 2."""
    print(f"error {code}: {message}", file=sys.stderr)
    sys.exit(EXIT_BAD)


if __name__ == "__main__":
    app()
