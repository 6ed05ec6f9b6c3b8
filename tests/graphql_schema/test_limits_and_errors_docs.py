"""docs/api/errors.md and limits.md leave nothing out: every code that is raised, every constant that limits a value."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import CODES
from graphql_schema import export
from graphql_schema.error_guide import GUIDES
from graphql_schema.schema import build_schema
from graphql_schema.value_limits import VALUES

ROOT = Path(__file__).parents[2]
ROOMS = ("core", "graphql_schema", "api", "jobs", "serving", "oa")
LIMIT = re.compile(r"MAX_\w+|MOST(_\w+)?|\w+_(LIMIT|MOST)")
INTERNAL = {
    "core.accounts.NAME_LIMIT": "names that providers give",
    "core.bradley_terry.MOST_STEPS": "steps of a computation",
    "core.chat_stream.MAX_CHUNK": "how tokens are stored",
    "core.chat_wheel.MAX_DRAFTS": "tries in the background",
    "core.chat_wheel.MAX_TURNS": "tries in the background",
    "core.config.MOST_OF_ANY": "settings of collections, each refusal of which says its bounds",
    "core.jsonl.MAX_LINE_BYTES": "files of imports",
    "core.pages.MAX_FIRST": "above what the API allows",
    "core.runs.MAX_KEY": "the same as that of the API",
    "core.settle.COUNTED_MOST": "counting in the background",
    "core.treecheck.MAX_TEXT": "files of imports",
    "core.treecheck.MAX_ID": "files of imports",
    "core.treecheck.MAX_DEPTH": "files of imports",
    "core.treecheck.MAX_MESSAGES": "files of imports",
    "core.treecheck.MAX_COUNT": "files of imports",
    "graphql_schema.chats.MAX_KEY": "the same as that of all mutations",
    "graphql_schema.cost.MAX_COST": "in the table of costs",
    "graphql_schema.cost.MOST": "where counting ends",
}
"""Constants that are named like a limit and are none that a caller meets by itself, and why."""


def constants() -> Iterator[str]:
    """Whole numbers of `core` and `graphql_schema` that are named like a limit."""
    for path in sorted([*(ROOT / "core").glob("*.py"), *(ROOT / "graphql_schema").glob("*.py")]):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if LIMIT.fullmatch(name) and isinstance(node.value, ast.Constant | ast.BinOp):
                    yield f"{path.parent.name}.{path.stem}.{name}"


def test_every_constant_that_limits_a_value_is_on_the_page():
    assert set(constants()) == set(VALUES) | set(INTERNAL)
    assert not set(VALUES) & set(INTERNAL)


def test_every_code_has_a_section_and_every_section_a_code():
    page = export.ERRORS_FILE.read_text("utf-8")
    assert set(GUIDES) == set(CODES) == set(re.findall(r"^## (\w+)$", page, re.MULTILINE))


@pytest.mark.parametrize("code", sorted(CODES))
def test_the_code_is_raised_somewhere(code):
    quoted = re.compile(rf'"{code}"')
    files = (path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.name != "error_guide.py")
    named = sum(len(quoted.findall(path.read_text("utf-8"))) for path in files)
    assert named > 1, "it stands in core.errors.CODES and nowhere else"


def test_examples_name_fields_that_there_are():
    schema = build_schema()._schema
    names = {name for kind in schema.type_map.values() for name in getattr(kind, "fields", {})}
    for code, guide in GUIDES.items():
        for quoted in re.findall(r"`([^`]+)`", f"{guide.do} {guide.example}"):
            for word in re.findall(r"\b[a-z]+[A-Z]\w+", quoted):
                assert word in names | {"correlationId", "taskId"}, (code, word)
