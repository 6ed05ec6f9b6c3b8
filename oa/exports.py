"""`oa export`: conversation trees, reports and free labels out of the document store.

Knows arguments and how the result is shown. The work is done in `core.tree_export` and `core.reports`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from core.anonymise import Anonymiser
from core.errors import BadInput
from oa.data_kit import Collections, Json, Langs, progress, say, with_database

if TYPE_CHECKING:
    from core.targets import Plan
    from core.tree_export import Choice

Out = Annotated[
    str,
    typer.Argument(
        help="A .jsonl, .jsonl.gz or .parquet file, a folder (with its last /), s3://BUCKET/KEY, or - for stdout."
    ),
]
Form = Annotated[
    str | None,
    typer.Option("--format", help="trees, messages (flat) or parquet (18 columns); default by the name, else trees."),
]
PerPart = Annotated[int, typer.Option(help="Messages of one file of a folder; a killed export writes as many again.")]
States = Annotated[list[str] | None, typer.Option("--state", help="Trees of this state only; may be repeated.")]
Deleted = Annotated[bool, typer.Option("--include-deleted", help="Deleted messages too.")]
Accepted = Annotated[bool, typer.Option("--accepted-only", help="Accepted messages only.")]
Pseudonyms = Annotated[
    str | None, typer.Option(envvar="OA_PSEUDONYMS", help="A secret that turns contributors' ids into pseudonyms.")
]
Anonymise = Annotated[bool, typer.Option("--anonymise", help="Replace all ids, by the secret salt in OA_EXPORT_SALT.")]
Dates = Annotated[str, typer.Option(help="With --anonymise: how exact dates stay: exact, day or month.")]
Scrub = Annotated[
    bool, typer.Option("--scrub-pii", help="With --anonymise: take personal data that has a form out of texts.")
]
Reports = Annotated[bool, typer.Option("--reports", help="Write people's reports of messages instead of the trees.")]
FreeLabels = Annotated[
    bool, typer.Option("--free-labels", help="Write the labels that people set outside of tasks instead.")
]
Anew = Annotated[bool, typer.Option("--anew", help="Begin again, where an export to the same place was interrupted.")]


def export_command(
    out: Out,
    form: Form = None,
    per_part: PerPart = 100_000,
    state: States = None,
    lang: Langs = None,
    collection: Collections = None,
    include_deleted: Deleted = False,
    accepted_only: Accepted = False,
    pseudonyms: Pseudonyms = None,
    anonymise: Anonymise = False,
    dates: Dates = "exact",
    scrub_pii: Scrub = False,
    reports: Reports = False,
    free_labels: FreeLabels = False,
    anew: Anew = False,
    as_json: Json = False,
) -> None:
    """Write conversation trees from the document store, in the forms of Open-Assistant's exports. One that was
    interrupted goes on when it is run again."""
    from core.targets import Plan
    from core.tree_export import Choice

    anonymiser = _anonymiser(anonymise, dates, scrub_pii)
    if reports or free_labels:
        _export_said(out, reports, free_labels, anonymiser, as_json)
        return
    choice = Choice(
        states=state or None, langs=lang or None, collections=collection or None, include_deleted=include_deleted,
        accepted_only=accepted_only, pseudonyms=pseudonyms, anonymiser=anonymiser,
    )  # fmt: skip
    _export_trees(out, choice, Plan(form=form, per_part=per_part, anew=anew), as_json)


def _export_trees(out: str, choice: Choice, plan: Plan, as_json: bool) -> None:
    from core.tree_export import ExportReport, export_trees

    def told(report: ExportReport) -> None:
        again = f", {report.resumed} trees were there" if report.resumed else ""
        making = ", making the file" if report.seen == report.total and not report.whole else ""
        show(report.seen, report.total, f"{report.messages} messages{again}{making}")

    with progress("export") as show:
        report = with_database(lambda database: export_trees(database, out, choice, plan, progress=told))
    if out != "-":
        again = f"; {report.resumed} of the trees before it was interrupted" if report.resumed else ""
        line = f"exported {report.trees} trees with {report.messages} messages to {out}{again}"
        say(report.as_dict(), as_json, line)


def _export_said(out: str, reports: bool, free_labels: bool, anonymiser: Anonymiser | None, as_json: bool) -> None:
    """What people said of messages outside of tasks."""
    from core.reports import export_free_labels, export_reports

    if reports and free_labels:
        raise BadInput("--reports and --free-labels are two exports; ask for one at a time")
    export, what = (export_reports, "reports") if reports else (export_free_labels, "free_labels")
    count = with_database(lambda database: export(database, out, anonymiser=anonymiser))
    if out != "-":
        say({what: count}, as_json, f"exported {count} {what.replace('_', ' ')} to {out}")


def _anonymiser(wanted: bool, dates: str, scrub_texts: bool) -> Anonymiser | None:
    """There is no salt unless one is set: one that others know would protect nobody."""
    if not wanted:
        if scrub_texts or dates != "exact":
            raise BadInput("--scrub-pii and --dates are parts of --anonymise; give that too")
        return None
    return Anonymiser(os.environ.get("OA_EXPORT_SALT", ""), dates, scrub_texts)
