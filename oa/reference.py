"""`python -m oa.reference`: writes docs/commands.md, every command of `oa` with its arguments and options,
docs/job-spec.schema.json, the JSON schema of a job's specification, the table of docs/api/limits.md of the limits that
operators set, and that of docs/collections.md of a collection's settings.

Reads the commands and the specification themselves, so the pages cannot say what they do not do; a test compares them.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "commands.md"
SCHEMA = DOCS / "job-spec.schema.json"
LIMITS = DOCS / "api" / "limits.md"
COLLECTIONS = DOCS / "collections.md"
LIMITING = (
    "body_bytes", "max_cost", "rate_limits", "operation_seconds", "database_seconds", "subscription_seconds",
    "streams_per_caller", "streams_per_address", "body_seconds", "connection_init_seconds", "stream_check_seconds",
    "token_seconds",
)  # fmt: skip
"""Settings of the API that limit its callers."""
HEAD = """# Commands

Written by `make docs` from the commands themselves. An error is one line on standard error, `error CODE: message`, and
exit code 2.
"""


def page() -> str:
    """The whole page."""
    from oa.main import ENTRIES, cli, load

    sections = (line for name in ENTRIES for line in _section(load(name), f"oa {name}", 2))
    return "\n".join([HEAD, *_section(cli, "oa", 2, deep=False), *sections])


def spec_schema() -> str:
    """The JSON schema of a job's specification."""
    from core.jobspec import JobSpec

    return json.dumps(JobSpec.model_json_schema(), indent=2, sort_keys=True) + "\n"


def limits_page(text: str) -> str:
    """`text` of the page about limits with the table of settings."""
    from api.settings import Settings
    from graphql_schema.export import between_marks

    told = _told(Settings)
    rows = ["| setting | default |", "| --- | --- |"]
    for field in dataclasses.fields(Settings):
        if field.name in LIMITING:
            default = f"`{field.default:g}`" if isinstance(field.default, int | float) else "as above"
            rows.append(f"| {told[field.name]} | {default} |")
    return between_marks(text, {"settings": "\n".join(rows)}, LIMITS)


def collections_page(text: str) -> str:
    """`text` of the page about collections with the table of their settings."""
    from core.config import CollectionConfig
    from graphql_schema.export import between_marks

    told = _told(CollectionConfig)
    rows = ["| setting | default | it may be | what |", "| --- | --- | --- | --- |"]
    for field in dataclasses.fields(CollectionConfig):
        default = json.dumps(field.default).replace('", "', "`, `").replace('["', "`").replace('"]', "`")
        shown = default if default.startswith("`") else f"`{default}`"
        rows.append(f"| `{field.name}` | {shown} | {_range(field)} | {told[field.name]} |")
    return between_marks(text, {"rules": "\n".join(rows)}, COLLECTIONS)


def _range(field: Any) -> str:
    """What a collection's setting may be, in words."""
    from core.config import MODES, OF_POLICY, span
    from core.rules import IN_WORDS, LEASE

    kind = str(field.type).removesuffix(" | None")
    if field.name == "mode":
        return " or ".join(f"`{mode}`" for mode in MODES)
    if kind not in ("int", "float"):
        return IN_WORDS[kind]
    least, most = span(field.name)
    least = 1 if field.name.startswith(LEASE) else least
    return OF_POLICY.get(field.name, f"{least} to {most:,.12g}") + (", whole" if kind == "int" else "")


def _told(settings: type) -> dict[str, str]:
    """What stands below each field of a class of settings."""
    fields = re.compile(r'^    (\w+): [^\n]*\n    """(.*?)"""', re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in fields.findall(inspect.getsource(settings))}


def _section(command: Any, name: str, level: int, *, deep: bool = True) -> Iterator[str]:
    yield f"{'#' * level} {name}\n"
    yield f"{' '.join((command.help or '').split())}\n"
    lines = [_parameter(one) for one in command.params if one.name != "help" and not getattr(one, "hidden", False)]
    if lines:
        yield "\n".join(lines) + "\n"
    for child, one in (getattr(command, "commands", {}) if deep else {}).items():
        yield from _section(one, f"{name} {child}", level + 1)


def _parameter(one: Any) -> str:
    option = one.param_type_name == "option"
    spelled = ", ".join([*one.opts, *one.secondary_opts]) if option else one.name.upper()
    about = " ".join((getattr(one, "help", None) or "").split())
    needed = " (needed)" if one.required else ""
    default = f" Default: `{one.default}`." if isinstance(one.default, str | int | float) and one.default else ""
    return f"- `{spelled}`{needed}: {about}{default}" if about or default else f"- `{spelled}`{needed}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(spec_schema(), encoding="utf-8")
    for path, written in ((LIMITS, limits_page), (COLLECTIONS, collections_page)):
        path.write_text(written(path.read_text("utf-8")), encoding="utf-8")
