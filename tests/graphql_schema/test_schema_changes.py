"""No client is broken in silence: a breaking change of the schema has an entry in its changelog."""

from __future__ import annotations

import pytest

from graphql_schema.changes import CHANGELOG_FILE, RELEASED_FILE, breaking, dangerous, unexplained
from graphql_schema.export import SCHEMA_FILE

BEFORE = "type Query { a: Int b(x: Int): String! } enum E { A B }"


def test_every_breaking_change_since_the_last_release_has_an_entry() -> None:
    changes = breaking(RELEASED_FILE.read_text("utf-8"), SCHEMA_FILE.read_text("utf-8"))
    missing = unexplained(changes, CHANGELOG_FILE.read_text("utf-8"))
    lines = "\n".join(f"- `{change}` WHY, AND WHAT TO DO INSTEAD" for change in missing)
    assert not missing, f"put these under '## Unreleased' of docs/api/schema-changelog.md, or take them back:\n{lines}"


@pytest.mark.parametrize(
    ("after", "change"),
    [
        ("type Query { b(x: Int): String! } enum E { A B }", "Query.a was removed"),
        ("type Query { a: Int b(x: Int): String } enum E { A B }", "Query.b changed type from String! to String."),
        ("type Query { a: Int b(x: Int, y: Int!): String! } enum E { A B }", "A required argument"),
        ("type Query { a: Int b(x: Int): String! } enum E { A }", "Enum value E.B was removed."),
    ],
)
def test_a_breaking_change_is_found_until_it_is_told(after: str, change: str) -> None:
    (found,) = breaking(BEFORE, after)
    assert change.rstrip(".") in found
    assert unexplained([found], "## Unreleased\n\n## 0.1.0\n\n- `" + found + "` told too early") == [found]
    assert unexplained([found], "## Unreleased\n\n- `" + found.replace(" ", "\n  ", 1) + "` Ask for c.\n") == []


def test_additions_break_nobody() -> None:
    after = "type Query { a: Int! b(x: Int, y: Int): String! c: Int } enum E { A B C }"
    assert breaking(BEFORE, after) == []
    assert len(dangerous(BEFORE, after)) == 2


def test_a_changelog_without_the_section_is_refused() -> None:
    with pytest.raises(ValueError, match="Unreleased"):
        unexplained([], "# Changes")
