"""Every operation that the docs, the examples and our own programs show or send is one that the contract has."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import DocumentNode, GraphQLSchema, OperationDefinitionNode, build_schema, parse, validate

from graphql_schema.cost import MAX_COST, price, units

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "api" / "examples" / "typescript"
IN_FENCE = re.compile(r"```graphql\n(.*?)```", re.DOTALL)
IN_JSON = re.compile(r'"query":\s*("(?:[^"\\]|\\.)*")')
SPREAD = re.compile(r"\.\.\.(?!on\b)(\w+)")
IN_PYTHON = re.compile(r"\s*(query|mutation|subscription)\b[^{]*\{")


def documents() -> Iterator[tuple[str, str]]:
    """(where it is, its text) of every document."""
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        if "node_modules" in page.parts:
            continue
        for place, quoted in enumerate(IN_JSON.findall(page.read_text("utf-8"))):
            yield f"{page.name}-{place}", json.loads(quoted)
        fences = IN_FENCE.findall(page.read_text("utf-8"))
        shared = {text.split()[1]: text for text in fences if text.startswith("fragment ")}
        for place, text in enumerate(fences):
            if not text.startswith("fragment "):
                yield f"{page.name}-graphql-{place}", "".join([text, *(shared[name] for name in SPREAD.findall(text))])
    for file in sorted(EXAMPLE.glob("*.graphql")):
        yield file.name, file.read_text("utf-8")
    for file in sorted((EXAMPLE.parent / "mobile" / "operations").glob("*.graphql")):
        yield f"mobile-{file.name}", file.read_text("utf-8")
    for module in sorted((ROOT / "oa").glob("*.py")):
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and IN_PYTHON.match(node.value):
                yield f"{module.name}-{node.lineno}", node.value


DOCUMENTS = dict(documents())


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    """The contract, as a client's tools read it."""
    return build_schema((ROOT / "graphql_schema" / "schema.graphql").read_text("utf-8"))


def operations(document: DocumentNode) -> list[OperationDefinitionNode]:
    return [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]


@pytest.mark.parametrize("where", DOCUMENTS)
def test_it_fits_the_schema_and_may_be_asked(where: str, schema: GraphQLSchema) -> None:
    document = parse(DOCUMENTS[where])
    assert validate(schema, document) == []
    for operation in operations(document):
        assert units(price(schema, document, operation, {"first": 50})) <= MAX_COST


def test_there_are_some_of_each_sort() -> None:
    for sort in ("README.md-", "operations.graphql", "demo_operations.py-", "demo_people.py-"):
        assert any(where.startswith(sort) for where in DOCUMENTS), sort


def test_the_example_has_what_it_imports_and_uses_what_it_has() -> None:
    given = {operation.name.value for operation in operations(parse(DOCUMENTS["operations.graphql"])) if operation.name}
    used = set(re.findall(r"\b(\w+)Document\b", (EXAMPLE / "main.ts").read_text("utf-8")))
    assert used == given
