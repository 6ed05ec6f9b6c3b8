"""`python -m oa.reference`: writes docs/commands.md, every command of `oa` with its arguments and options, and
docs/job-spec.schema.json, the JSON schema of a job's specification.

Reads the commands and the specification themselves, so the pages cannot say what they do not do; a test compares them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "commands.md"
SCHEMA = DOCS / "job-spec.schema.json"
HEAD = """# Commands

Written by `make docs` from the commands themselves. An error is one line on standard error, `error CODE: message`, and
exit code 2.
"""


def page() -> str:
    """The whole page."""
    from oa.main import ENTRIES, load

    return "\n".join([HEAD, *(line for name in ENTRIES for line in _section(load(name), f"oa {name}", 2))])


def spec_schema() -> str:
    """The JSON schema of a job's specification."""
    from core.jobspec import JobSpec

    return json.dumps(JobSpec.model_json_schema(), indent=2, sort_keys=True) + "\n"


def _section(command: Any, name: str, level: int) -> Iterator[str]:
    yield f"{'#' * level} {name}\n"
    yield f"{' '.join((command.help or '').split())}\n"
    lines = [_parameter(one) for one in command.params if one.name != "help" and not getattr(one, "hidden", False)]
    if lines:
        yield "\n".join(lines) + "\n"
    for child, one in getattr(command, "commands", {}).items():
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
