"""Data in and out on the command line: `oa import`, `oa export`, `oa snapshot freeze|list|show`.

Knows arguments, progress bars and how results are shown. The work is done in `core.interchange` and `core.snapshots`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from core.anonymise import Anonymiser
from core.errors import BadInput, BadRecord
from core.objects import ObjectStore
from oa.terminal import lists, names_table

SECONDS = 5.0
"""Between two lines of progress, where there is no terminal."""

T = TypeVar("T")

snapshot_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Freeze, list and show dataset snapshots.")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@contextmanager
def _progress(title: str) -> Iterator[Callable[[float | None, float | None, str], None]]:
    """Progress on standard error: a bar on a terminal, else a line now and then.

    Call it with how far, of how much, and a few words.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(title)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task(title, total=None, note="")
        yield lambda done, total, note: bar.update(task, completed=done, total=total, note=note)


def _lines(title: str) -> Callable[[float | None, float | None, str], None]:
    last = time.monotonic()

    def show(done: float | None, total: float | None, note: str) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS:
            last = time.monotonic()
            far = f"{100 * done / total:.0f} %, " if done and total else ""
            print(f"{title}: {far}{note}", file=sys.stderr, flush=True)

    return show


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
        str,
        typer.Argument(
            help="A .jsonl, .jsonl.gz or .parquet file of trees, messages or rows, a folder of such, s3://BUCKET/KEY, "
            "hf:OWNER/NAME or hf:OWNER/NAME/FILE, oasst1, oasst2, or - for standard input."
        ),
    ],
    origin: Annotated[str | None, typer.Option(help="Where the trees come from, kept with each.")] = None,
    collection: Annotated[str, typer.Option(help="Id of the collection that they become part of.")] = "default",
    on_error: Annotated[str, typer.Option(help="At a wrong line: stop, or skip it and go on.")] = "stop",
    bad: Annotated[
        Path | None, typer.Option(help="Write each skipped line's number and reason to this file, one object a line.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything, write nothing. A tree that comes twice may count twice."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Read conversation trees into the document store. Reading the same again changes nothing, so one that was
    interrupted goes on when it is run again."""
    from core.interchange import ImportReport, import_trees
    from oa import hub

    with _progress("import") as show, _bad_lines(bad) as note_bad:
        trees = hub.fetch(source) if hub.is_hub(source) else source

        def told(report: ImportReport) -> None:
            note = f"{report.trees} trees, {report.messages} messages, {report.unchanged} unchanged, {report.bad} bad"
            show(report.bytes_read or report.lines, report.bytes_total, note)

        report = _with_database(
            lambda database: import_trees(
                database,
                trees,
                origin=origin or (None if source == "-" else Path(source).name),
                collection=collection,
                on_error=on_error,
                dry_run=dry_run,
                progress=told,
                on_bad=note_bad,
            )
        )
    for problem in report.problems:
        print(f"skipped {problem}", file=sys.stderr)
    if report.bad > len(report.problems):
        print(f"skipped {report.bad - len(report.problems)} more; --bad FILE names all", file=sys.stderr)
    done = "would import" if dry_run else "imported"
    line = f"{done} {report.trees} trees with {report.messages} messages and {report.rankings} rankings"
    _say(report.as_dict(), as_json, f"{line}; {report.unchanged} trees unchanged, {report.bad} lines bad")


@contextmanager
def _bad_lines(path: Path | None) -> Iterator[Callable[[BadRecord], None] | None]:
    """Where wrong lines go: a file of `{"line": number, "reason": text}`."""
    if path is None:
        yield None
        return
    try:
        with path.open("w", encoding="utf-8") as file:
            yield lambda error: print(
                json.dumps({"line": int(error.line or 0), "reason": error.message}, ensure_ascii=False), file=file
            )
    except OSError as error:
        raise BadInput(f"cannot write {str(path)!r}: {error.strerror}") from error


def export_command(
    out: Annotated[
        str,
        typer.Argument(
            help="A .jsonl, .jsonl.gz or .parquet file, a folder (with its last /), s3://BUCKET/KEY, or - for standard "
            "output."
        ),
    ],
    form: Annotated[
        str | None,
        typer.Option(
            "--format", help="trees, messages (flat) or parquet (18 columns); default by the name, else trees."
        ),
    ] = None,
    per_part: Annotated[int, typer.Option(help="Messages of one file of a folder.")] = 100_000,
    state: Annotated[list[str] | None, typer.Option(help="Trees of this state only; may be repeated.")] = None,
    lang: Annotated[list[str] | None, typer.Option(help="Trees of this language only; may be repeated.")] = None,
    collection: Annotated[
        list[str] | None, typer.Option(help="Trees of this collection (its id) only; may be repeated.")
    ] = None,
    include_deleted: Annotated[bool, typer.Option("--include-deleted", help="Deleted messages too.")] = False,
    accepted_only: Annotated[bool, typer.Option("--accepted-only", help="Accepted messages only.")] = False,
    pseudonyms: Annotated[
        str | None, typer.Option(envvar="OA_PSEUDONYMS", help="A secret that turns contributors' ids into pseudonyms.")
    ] = None,
    anonymise: Annotated[
        bool, typer.Option("--anonymise", help="Replace all ids, by the secret salt in OA_EXPORT_SALT.")
    ] = False,
    dates: Annotated[str, typer.Option(help="With --anonymise: how exact dates stay: exact, day or month.")] = "exact",
    scrub_pii: Annotated[
        bool, typer.Option("--scrub-pii", help="With --anonymise: take personal data that has a form out of texts.")
    ] = False,
    reports: Annotated[
        bool, typer.Option("--reports", help="Write people's reports of messages instead of the trees.")
    ] = False,
    free_labels: Annotated[
        bool, typer.Option("--free-labels", help="Write the labels that people set outside of tasks instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write conversation trees from the document store, in the forms of Open-Assistant's exports."""
    from core.interchange import ExportReport, export_trees
    from core.reports import export_free_labels, export_reports

    anonymiser = _anonymiser(anonymise, dates, scrub_pii)

    def told(report: ExportReport) -> None:
        show(report.trees, report.total, f"{report.messages} messages")

    if reports and free_labels:
        raise BadInput("--reports and --free-labels are two exports; ask for one at a time")
    if reports or free_labels:
        export, what = (export_reports, "reports") if reports else (export_free_labels, "free_labels")
        count = _with_database(lambda database: export(database, out, anonymiser=anonymiser))
        if out != "-":
            _say({what: count}, as_json, f"exported {count} {what.replace('_', ' ')} to {out}")
        return
    with _progress("export") as show:
        report = _with_database(
            lambda database: export_trees(
                database,
                out,
                form=form,
                per_part=per_part,
                states=state or None,
                langs=lang or None,
                collections=collection or None,
                include_deleted=include_deleted,
                accepted_only=accepted_only,
                pseudonyms=pseudonyms,
                anonymiser=anonymiser,
                progress=told,
            )
        )
    if out != "-":
        _say(report.as_dict(), as_json, f"exported {report.trees} trees with {report.messages} messages to {out}")


def _anonymiser(wanted: bool, dates: str, scrub_texts: bool) -> Anonymiser | None:
    """There is no salt unless one is set: one that others know would protect nobody."""
    if not wanted:
        if scrub_texts or dates != "exact":
            raise BadInput("--scrub-pii and --dates are parts of --anonymise; give that too")
        return None
    return Anonymiser(os.environ.get("OA_EXPORT_SALT", ""), dates, scrub_texts)


@snapshot_app.command("freeze")
def freeze_command(
    kind: Annotated[str, typer.Argument(help="sft, preference, prompts or trees.")],
    name: Annotated[str, typer.Argument(help="Name of the snapshot.")],
    state: Annotated[list[str] | None, typer.Option(help="Trees of this state; default ready_for_export.")] = None,
    lang: Annotated[list[str] | None, typer.Option(help="Trees of this language only; may be repeated.")] = None,
    origin: Annotated[list[str] | None, typer.Option(help="Trees of this origin only; may be repeated.")] = None,
    collection: Annotated[
        list[str] | None, typer.Option(help="Trees of this collection (its id) only; may be repeated.")
    ] = None,
    top_k: Annotated[int, typer.Option(help="sft: learn from the best-ranked so many replies.")] = 1,
    people_only: Annotated[
        bool, typer.Option("--people-only", help="No messages by models, and nothing that follows one.")
    ] = False,
    no_chats: Annotated[bool, typer.Option("--no-chats", help="No trees that were made of chats.")] = False,
    all_wrong: Annotated[
        bool, typer.Option("--all-wrong", help="Also replies of which most said that all are factually wrong.")
    ] = False,
    min_reviews: Annotated[int, typer.Option(help="Messages with so many reviews at least.")] = 0,
    min_label: Annotated[
        list[str] | None, typer.Option(help="LABEL=NUMBER: messages with such a mean at least; may be repeated.")
    ] = None,
    max_label: Annotated[
        list[str] | None, typer.Option(help="LABEL=NUMBER: messages with such a mean at most; may be repeated.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Trees begun on this day (YYYY-MM-DD, UTC) or later.")] = None,
    until: Annotated[str | None, typer.Option(help="Trees begun on this day or earlier.")] = None,
    validation_percent: Annotated[float, typer.Option(help="Percentage of the trees to hold out.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
    licence: Annotated[str, typer.Option(help="Licence of the texts, an SPDX identifier.")] = "Apache-2.0",
    as_json: Json = False,
) -> None:
    """Freeze the trees as they are now into a snapshot that jobs can train on."""
    from core.snapshots import FreezeProgress, freeze

    filters: dict[str, Any] = {"top_k": top_k, "synthetic": not people_only, "chats": not no_chats}
    filters |= {"all_wrong": all_wrong, "min_reviews": min_reviews, "since": since, "until": until}
    filters |= {"min_labels": _bounds(min_label), "max_labels": _bounds(max_label)}
    chosen = {"states": state, "langs": lang, "origins": origin, "collections": collection}
    filters |= {key: each for key, each in chosen.items() if each}

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


def _bounds(given: list[str] | None) -> dict[str, float]:
    """`quality=0.5` as {"quality": 0.5}."""
    try:
        return {name: float(number) for name, number in (each.split("=") for each in given or ())}
    except ValueError:
        raise BadInput(f"{', '.join(given or ())} is no LABEL=NUMBER, such as quality=0.5") from None


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

    manifest = load_manifest(ObjectStore.from_env(), *_name_and_version(snapshot))
    if as_json:
        print(json.dumps(manifest, ensure_ascii=False, indent=2))
        return
    table = Table(show_header=False)
    for key, value in manifest.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
        table.add_row(key, escape(shown))
    Console().print(table)


def _name_and_version(snapshot: str) -> tuple[str, str]:
    name, slash, version = snapshot.partition("/")
    if not (name and slash and version):
        raise BadInput(f"{snapshot!r} names no snapshot; the form is NAME/VERSION", path=("snapshot",))
    return name, version


@snapshot_app.command("fetch")
def fetch_command(
    snapshot: Annotated[str, typer.Argument(help="NAME/VERSION.")],
    folder: Annotated[Path, typer.Argument(help="Where to; what is there already and right is kept.")],
) -> None:
    """Bring a snapshot's files here, each checked by its hash."""
    from core import layout
    from core.manifest import fetch
    from core.snapshots import load_manifest

    store, (name, version) = ObjectStore.from_env(), _name_and_version(snapshot)
    load_manifest(store, name, version)
    manifest = fetch(store, layout.dataset(name, version), folder)
    print(f"{len(manifest['files'])} files of {snapshot} are in {folder}")


@snapshot_app.command("links")
def links_command(
    snapshot: Annotated[str, typer.Argument(help="NAME/VERSION.")],
    seconds: Annotated[int, typer.Option(help="How long the addresses are good, 60 to 86,400.")] = 900,
    as_json: Json = False,
) -> None:
    """Print addresses from which anyone can read a snapshot's files for a while."""
    from core.snapshots import load_manifest, signed_files

    store = ObjectStore.from_env()
    files = signed_files(store, load_manifest(store, *_name_and_version(snapshot)), seconds)
    print(json.dumps(files, indent=2) if as_json else "\n".join(each["url"] for each in files))
