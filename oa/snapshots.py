"""`oa snapshot`: freeze, list, show, fetch and link data sets.

Knows arguments and how results are shown. The work is done in `core.snapshots`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from core.errors import BadInput
from core.objects import ObjectStore
from oa.data_kit import Collections, Json, Langs, progress, say, with_database
from oa.terminal import lists, names_table

snapshot_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Freeze, list and show dataset snapshots.")


Strings = list[str] | None
Kind = Annotated[str, typer.Argument(help="sft, preference, prompts or trees.")]
Name = Annotated[str, typer.Argument(help="Name of the snapshot.")]
States = Annotated[Strings, typer.Option("--state", help="Trees of this state; default ready_for_export.")]
Origins = Annotated[Strings, typer.Option("--origin", help="Trees of this origin only; may be repeated.")]
TopK = Annotated[int, typer.Option(help="sft: learn from the best-ranked so many replies.")]
People = Annotated[bool, typer.Option("--people-only", help="No messages by models, and nothing that follows one.")]
NoChats = Annotated[bool, typer.Option("--no-chats", help="No trees that were made of chats.")]
AllWrong = Annotated[
    bool, typer.Option("--all-wrong", help="Also replies of which most said that all are factually wrong.")
]
MinReviews = Annotated[int, typer.Option(help="Messages with so many reviews at least.")]
MinLabel = Annotated[Strings, typer.Option(help="LABEL=NUMBER: messages with such a mean at least; may be repeated.")]
MaxLabel = Annotated[Strings, typer.Option(help="LABEL=NUMBER: messages with such a mean at most; may be repeated.")]
Since = Annotated[str | None, typer.Option(help="Trees begun on this day (YYYY-MM-DD, UTC) or later.")]
Until = Annotated[str | None, typer.Option(help="Trees begun on this day or earlier.")]
HeldOut = Annotated[float, typer.Option(help="Percentage of the trees to hold out.")]
Seed = Annotated[int, typer.Option(help="Of the split.")]
Anew = Annotated[bool, typer.Option("--anew", help="Begin again, where one was interrupted.")]
Licence = Annotated[str, typer.Option(help="Licence of the texts, an SPDX identifier.")]


@snapshot_app.command("freeze")
def freeze_command(
    kind: Kind,
    name: Name,
    state: States = None,
    lang: Langs = None,
    origin: Origins = None,
    collection: Collections = None,
    top_k: TopK = 1,
    people_only: People = False,
    no_chats: NoChats = False,
    all_wrong: AllWrong = False,
    min_reviews: MinReviews = 0,
    min_label: MinLabel = None,
    max_label: MaxLabel = None,
    since: Since = None,
    until: Until = None,
    validation_percent: HeldOut = 10,
    seed: Seed = 0,
    licence: Licence = "Apache-2.0",
    anew: Anew = False,
    as_json: Json = False,
) -> None:
    """Freeze the trees as they are now into a snapshot that jobs can train on; one that was interrupted goes on."""
    filters: dict[str, Any] = {"top_k": top_k, "synthetic": not people_only, "chats": not no_chats}
    filters |= {"all_wrong": all_wrong, "min_reviews": min_reviews, "since": since, "until": until}
    filters |= {"min_labels": _bounds(min_label), "max_labels": _bounds(max_label)}
    chosen = {"states": state, "langs": lang, "origins": origin, "collections": collection}
    filters |= {key: each for key, each in chosen.items() if each}
    manifest = _frozen(
        kind=kind, name=name, filters=filters, validation_percent=validation_percent, seed=seed, licence=licence,
        anew=anew,
    )  # fmt: skip
    counts = manifest["counts"]
    split = f"{counts['train']} train, {counts['validation']} validation"
    say(manifest, as_json, f"{manifest['name']}/{manifest['version']}: {counts['rows']} {kind} rows ({split})")


def _frozen(**settings: Any) -> dict[str, Any]:
    """The manifest of a snapshot that is frozen with these settings, with its progress shown."""
    from core.snapshots import FreezeProgress, freeze

    def told(so_far: FreezeProgress) -> None:
        before = f" ({so_far.resumed} trees before)" if so_far.resumed else ""
        show(so_far.trees, so_far.total, f"{so_far.rows} rows{before}")

    with progress("freeze") as show:
        store = ObjectStore.from_env()
        store.check_bucket()
        return with_database(lambda database: freeze(database, store, **settings, progress=told))


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
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in manifest.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
        table.add_row(key, escape(shown))
    lists().print(table)


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
