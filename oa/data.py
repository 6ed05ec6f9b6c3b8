"""Data in and out on the command line: `oa import`, `oa export`, `oa snapshot freeze|list|show`.

Knows arguments, progress bars and how results are shown. The work is done in `core.interchange` and `core.snapshots`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from core.errors import BadInput
from core.objects import ObjectStore
from oa.terminal import lists, names_table

HUB_NAMES = {"oasst1": "OpenAssistant/oasst1", "oasst2": "OpenAssistant/oasst2"}
"""Names that stand for data sets of the Hugging Face hub."""

T = TypeVar("T")

snapshot_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Freeze, list and show dataset snapshots.")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@contextmanager
def _progress(title: str) -> Iterator[Callable[[float | None, float | None, str], None]]:
    """A bar on standard error, for a terminal only; call it with how far, of how much, and a few words."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None, note="")
        yield lambda done, total, note: bar.update(task, completed=done, total=total, note=note)


def _with_database(action: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Run `action` on the migrated database that the environment names."""
    from core.database import connect, migrate

    uri = os.environ.get("OA_MONGODB_URI")
    if not uri:
        raise BadInput("OA_MONGODB_URI is not set; start the stack with `oa up`, or set it to mongodb://HOST:PORT")

    async def run() -> T:
        async with connect(uri) as client:
            database = client[os.environ.get("OA_MONGODB_DATABASE") or "open_assistant"]
            await _migrated(database, migrate)
            return await action(database)

    return asyncio.run(run())


async def _migrated(database: Any, migrate: Callable[[Any], Coroutine[Any, Any, Any]]) -> None:
    from pymongo.errors import PyMongoError

    from core.database import unavailable

    try:
        await migrate(database)
    except PyMongoError as error:
        raise unavailable(error) from error


def _say(values: dict[str, Any], as_json: bool, line: str) -> None:
    print(json.dumps(values, ensure_ascii=False, indent=2) if as_json else line)


def import_command(
    source: Annotated[
        str, typer.Argument(help="A .jsonl or .jsonl.gz file of trees or messages, - for standard input, or oasst2.")
    ],
    origin: Annotated[str | None, typer.Option(help="Where the trees come from, kept with each.")] = None,
    on_error: Annotated[str, typer.Option(help="At a wrong line: stop, or skip it and go on.")] = "stop",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Read conversation trees into the document store. Reading the same again changes nothing."""
    from core.interchange import ImportReport, import_trees

    with _progress("import") as show:
        rows = hub_rows(HUB_NAMES[source]) if source in HUB_NAMES else source

        def told(report: ImportReport) -> None:
            note = f"{report.trees} trees, {report.messages} messages, {report.bad} bad"
            show(report.bytes_read or report.lines, report.bytes_total, note)

        report = _with_database(
            lambda database: import_trees(
                database,
                rows,
                origin=origin or (None if source == "-" else Path(source).name),
                on_error=on_error,
                dry_run=dry_run,
                progress=told,
            )
        )
    for problem in report.problems:
        print(f"skipped {problem}", file=sys.stderr)
    done = "would import" if dry_run else "imported"
    line = f"{done} {report.trees} trees with {report.messages} messages and {report.rankings} rankings"
    _say(report.as_dict(), as_json, f"{line}; {report.unchanged} trees unchanged, {report.bad} lines bad")


def hub_rows(identity: str) -> Iterator[dict[str, Any]]:
    """The rows of a data set of the Hugging Face hub, all splits, streaming.

    Raises:
        Unavailable: the hub does not answer.
    """
    from datasets import load_dataset

    from core.errors import Unavailable

    try:
        for rows in load_dataset(identity, streaming=True).values():
            yield from rows
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise Unavailable(
            f"data set {identity!r} cannot be read from the Hugging Face hub ({type(error).__name__}: {reason}); check "
            "the network and HF_ENDPOINT, or download a .jsonl.gz file of its trees elsewhere and give that"
        ) from error


def export_command(
    out: Annotated[str, typer.Argument(help="A .jsonl or .jsonl.gz file, or - for standard output.")],
    state: Annotated[list[str] | None, typer.Option(help="Trees of this state only; may be repeated.")] = None,
    lang: Annotated[list[str] | None, typer.Option(help="Trees of this language only; may be repeated.")] = None,
    include_deleted: Annotated[bool, typer.Option("--include-deleted", help="Deleted messages too.")] = False,
    accepted_only: Annotated[bool, typer.Option("--accepted-only", help="Accepted messages only.")] = False,
    pseudonyms: Annotated[
        str | None, typer.Option(envvar="OA_PSEUDONYMS", help="A secret that turns contributors' ids into pseudonyms.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write conversation trees from the document store, in the form of Open-Assistant's exports."""
    from core.interchange import ExportReport, export_trees

    def told(report: ExportReport) -> None:
        show(report.trees, report.total, f"{report.messages} messages")

    with _progress("export") as show:
        report = _with_database(
            lambda database: export_trees(
                database,
                out,
                states=state or None,
                langs=lang or None,
                include_deleted=include_deleted,
                accepted_only=accepted_only,
                pseudonyms=pseudonyms,
                progress=told,
            )
        )
    if out != "-":
        _say(report.as_dict(), as_json, f"exported {report.trees} trees with {report.messages} messages to {out}")


@snapshot_app.command("freeze")
def freeze_command(
    kind: Annotated[str, typer.Argument(help="sft, preference or prompts.")],
    name: Annotated[str, typer.Argument(help="Name of the snapshot.")],
    state: Annotated[list[str] | None, typer.Option(help="Trees of this state; default ready_for_export.")] = None,
    lang: Annotated[list[str] | None, typer.Option(help="Trees of this language only; may be repeated.")] = None,
    origin: Annotated[list[str] | None, typer.Option(help="Trees of this origin only; may be repeated.")] = None,
    top_k: Annotated[int, typer.Option(help="sft: learn from the best-ranked so many replies.")] = 1,
    people_only: Annotated[bool, typer.Option("--people-only", help="preference: no replies by models.")] = False,
    validation_percent: Annotated[float, typer.Option(help="Percentage of the trees to hold out.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
    licence: Annotated[str, typer.Option(help="Licence of the texts, an SPDX identifier.")] = "Apache-2.0",
    as_json: Json = False,
) -> None:
    """Freeze the trees as they are now into a snapshot that jobs can train on."""
    from core.snapshots import FreezeProgress, freeze

    filters: dict[str, Any] = {"top_k": top_k, "synthetic": not people_only}
    filters |= {key: each for key, each in (("states", state), ("langs", lang), ("origins", origin)) if each}

    def told(so_far: FreezeProgress) -> None:
        show(so_far.trees, so_far.total, f"{so_far.rows} rows")

    with _progress("freeze") as show:
        store = ObjectStore.from_env()
        store.check_bucket()
        manifest = _with_database(
            lambda database: freeze(
                database,
                store,
                kind=kind,
                name=name,
                filters=filters,
                validation_percent=validation_percent,
                seed=seed,
                licence=licence,
                progress=told,
            )
        )
    counts = manifest["counts"]
    split = f"{counts['train']} train, {counts['validation']} validation"
    _say(manifest, as_json, f"{manifest['name']}/{manifest['version']}: {counts['rows']} {kind} rows ({split})")


@snapshot_app.command("list")
def list_command(
    name: Annotated[str | None, typer.Argument(help="Snapshots of this name only.")] = None, as_json: Json = False
) -> None:
    """List snapshots, newest first."""
    from core.snapshots import list_snapshots

    found = list_snapshots(ObjectStore.from_env(), name)
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    table = names_table("snapshot", "kind", "rows", "train", "validation", "trees", "created")
    for each in found:
        counts = [str(each["counts"][key]) for key in ("rows", "train", "validation", "trees")]
        table.add_row(f"{each['name']}/{each['version']}", each["kind"], *counts, each["created_at"][:19])
    lists().print(table)


@snapshot_app.command("show")
def show_command(
    snapshot: Annotated[str, typer.Argument(help="NAME/VERSION.")],
    as_json: Json = False,
) -> None:
    """Show one snapshot's manifest."""
    from core.snapshots import load_manifest

    name, slash, version = snapshot.partition("/")
    if not (name and slash and version):
        raise BadInput(f"{snapshot!r} names no snapshot; the form is NAME/VERSION", path=("snapshot",))
    manifest = load_manifest(ObjectStore.from_env(), name, version)
    if as_json:
        print(json.dumps(manifest, ensure_ascii=False, indent=2))
        return
    table = Table(show_header=False)
    for key, value in manifest.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
        table.add_row(key, escape(shown))
    Console().print(table)
