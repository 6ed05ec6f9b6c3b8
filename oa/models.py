"""Published models on the command line: `oa models list|promote|pull`.

Knows arguments and how results are shown. What a model is and when it may serve is in `core.models`.
"""

from __future__ import annotations

import getpass
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from core import layout, manifest
from core.errors import BadInput
from core.models import list_versions, load_version, split_version
from core.models import promote as promote_version
from core.objects import ObjectStore
from oa.terminal import lists, names_table

app = typer.Typer(no_args_is_help=True, add_completion=False, help="List, promote and pull models.")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Label = Annotated[str, typer.Argument(help="The version, as name@version.")]


class Form(StrEnum):
    """What of a model is fetched."""

    ONNX = "onnx"
    HF = "hf"
    ALL = "all"


@app.command("list")
def list_command(
    name: Annotated[str | None, typer.Argument(help="Only versions of this model.")] = None, as_json: Json = False
) -> None:
    """Show published versions, newest first, and which of them serve."""
    versions = list_versions(ObjectStore.from_env(), name)
    if as_json:
        typer.echo(json.dumps([{**each.manifest, "promoted": each.promoted} for each in versions]))
        return
    table = names_table("model", "serves", "made", "checks", "job")
    for each in versions:
        passed = sum(1 for check in each.checks.values() if check.get("passed"))
        job = str(each.manifest.get("job_id") or "")
        serves = "yes" if each.promoted else ""
        table.add_row(each.label, serves, each.created_at[:19], f"{passed} of {len(each.checks)} passed", job)
    lists().print(table)


@app.command()
def promote(label: Label, as_json: Json = False) -> None:
    """Let a version serve: nodes switch to it within seconds. Refused unless all its checks passed."""
    name, version = split_version(label)
    found = promote_version(ObjectStore.from_env(), name, version, by=getpass.getuser())
    answer = {"name": name, "version": version, "promoted": found.promoted}
    typer.echo(json.dumps(answer) if as_json else f"{found.label} serves now")


@app.command()
def pull(
    label: Label,
    folder: Annotated[Path, typer.Argument(help="Where to; files that are there and right are kept.")],
    form: Annotated[Form, typer.Option(help="Which form to fetch.")] = Form.ALL,
) -> None:
    """Fetch a version to a local folder, every file checked by its hash."""
    name, version = split_version(label)
    store = ObjectStore.from_env()
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file; name a folder")
    found = load_version(store, name, version)
    only = "" if form is Form.ALL else f"{form.value}/"
    files = [entry for entry in manifest.entries(dict(found.manifest)) if entry.path.startswith(only)]
    if not files:
        raise BadInput(f"{found.label} has no form {form.value!r}")
    manifest.fetch(store, layout.model(name, version), folder, only=only)
    size = sum(entry.bytes for entry in files)
    typer.echo(f"{found.label}: {len(files)} files, {size / 1e6:.1f} MB, verified, in {folder}")
