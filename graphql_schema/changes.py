"""What a client of the last released schema must know: `python -m graphql_schema.changes` prints the changes since.

graphql_schema/released.graphql   the schema of the last release; the first one counts as released
docs/api/schema-changelog.md      an entry for every breaking change, by its description; a test demands it

At a release `python -m graphql_schema.changes --release` makes the schema the released one.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from graphql import build_schema, find_breaking_changes, find_dangerous_changes

from .export import SCHEMA_FILE

RELEASED_FILE = Path(__file__).with_name("released.graphql")
CHANGELOG_FILE = Path(__file__).resolve().parents[1] / "docs" / "api" / "schema-changelog.md"
UNRELEASED = re.compile(r"^## Unreleased$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def breaking(before: str, after: str) -> list[str]:
    """Descriptions of the changes that break a client's documents, of schemas in their definition language."""
    return sorted(change.description for change in find_breaking_changes(build_schema(before), build_schema(after)))


def dangerous(before: str, after: str) -> list[str]:
    """The same of changes that may break a client at run time, such as a new enum value."""
    return sorted(change.description for change in find_dangerous_changes(build_schema(before), build_schema(after)))


def unexplained(changes: list[str], changelog: str) -> list[str]:
    """Those of `changes` that the section "Unreleased" does not quote.

    Raises:
        ValueError: there is no such section.
    """
    found = UNRELEASED.search(changelog)
    if found is None:
        raise ValueError(f"{CHANGELOG_FILE.name} has no section '## Unreleased'")
    told = " ".join(found[1].split())
    return [change for change in changes if f"`{change}`" not in told]


def main() -> None:
    """Print, or release."""
    before, after = RELEASED_FILE.read_text("utf-8"), SCHEMA_FILE.read_text("utf-8")
    if "--release" in sys.argv[1:]:
        RELEASED_FILE.write_text(after, "utf-8")
        return
    for title, changes in (("Breaking", breaking(before, after)), ("Dangerous", dangerous(before, after))):
        print(f"{title}: {len(changes)}", *(f"- `{change}`" for change in changes), sep="\n")


if __name__ == "__main__":
    main()
