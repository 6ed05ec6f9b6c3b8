"""`oa import`: conversation trees into the document store.

Knows arguments and how the result is shown. The work is done in `core.interchange`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import BadInput, BadRecord
from oa.data_kit import Json, progress, say, with_database

if TYPE_CHECKING:
    from core.interchange import ImportReport


Trees = Annotated[
    str,
    typer.Argument(
        help="A .jsonl, .jsonl.gz or .parquet file of trees, messages or rows, a folder of such, s3://BUCKET/KEY, "
        "hf:OWNER/NAME or hf:OWNER/NAME/FILE, oasst1, oasst2, or - for standard input."
    ),
]
Origin = Annotated[str | None, typer.Option(help="Where the trees come from, kept with each.")]
Collection = Annotated[str, typer.Option(help="Id of the collection that they become part of.")]
OnError = Annotated[str, typer.Option(help="At a wrong line: stop, or skip it and go on.")]
Bad = Annotated[
    Path | None, typer.Option(help="Write each skipped line's number and reason to this file, one object a line.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, write nothing. A tree that comes twice may count twice.")
]


def import_command(
    source: Trees,
    origin: Origin = None,
    collection: Collection = "default",
    on_error: OnError = "stop",
    bad: Bad = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Read conversation trees into the document store. Reading the same again changes nothing, so one that was
    interrupted goes on when it is run again."""
    with _bad_lines(bad) as note_bad:
        origin = origin or (None if source == "-" else Path(source).name)
        settings = {"origin": origin, "collection": collection, "on_error": on_error, "dry_run": dry_run}
        report = _imported(source, settings | {"on_bad": note_bad})
    for problem in report.problems:
        print(f"skipped {problem}", file=sys.stderr)
    if report.bad > len(report.problems):
        print(f"skipped {report.bad - len(report.problems)} more; --bad FILE names all", file=sys.stderr)
    done = "would import" if dry_run else "imported"
    line = f"{done} {report.trees} trees with {report.messages} messages and {report.rankings} rankings"
    say(report.as_dict(), as_json, f"{line}; {report.unchanged} trees unchanged, {report.bad} lines bad")


def _imported(source: str, settings: dict[str, Any]) -> ImportReport:
    """How the import of `source` went, with its progress shown."""
    from core.interchange import import_trees
    from oa import hub

    def told(report: ImportReport) -> None:
        note = f"{report.trees} trees, {report.messages} messages, {report.unchanged} unchanged, {report.bad} bad"
        show(report.bytes_read or report.lines, report.bytes_total, note)

    with progress("import") as show:
        trees = hub.fetch(source) if hub.is_hub(source) else source
        try:
            return with_database(lambda database: import_trees(database, trees, **settings, progress=told))
        except BadRecord as error:
            raise BadRecord(
                f"{error.message}; mend it and run this again (what is imported already stays as it is), or leave such "
                "lines out by --on-error skip"
            ) from error


@contextmanager
def _bad_lines(path: Path | None) -> Iterator[Callable[[BadRecord], None] | None]:
    """Where wrong lines go: a file of `{"file": name, "line": number, "reason": text}`; one file has no name."""
    if path is None:
        yield None
        return
    try:
        with path.open("w", encoding="utf-8") as file:
            yield lambda error: print(json.dumps(_bad_line(error), ensure_ascii=False), file=file)
    except OSError as error:
        raise BadInput(f"cannot write {str(path)!r}: {error.strerror}") from error


def _bad_line(error: BadRecord) -> dict[str, Any]:
    place = error.line or 0
    named = {"file": name} if (name := getattr(place, "file", "")) else {}
    return {**named, "line": int(place), "reason": error.message}
