"""The types of the Swift and Kotlin examples are those of the schema and of the documents that the examples send.

Kotlin is compiled and run besides, in tests/api/test_kotlin_example.py. Swift has no compiler in the registries that
tests use, so its grammar is checked here, and what Apollo's generator for Swift makes of the schema.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import tree_sitter_swift
from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    build_schema,
    get_named_type,
    is_enum_type,
    is_list_type,
    is_non_null_type,
    parse,
    validate,
    visit,
)
from tree_sitter import Language, Parser

ROOT = Path(__file__).parents[2]
MOBILE = ROOT / "docs" / "api" / "examples" / "mobile"
SCHEMA = build_schema((ROOT / "graphql_schema" / "schema.graphql").read_text("utf-8"))
OPERATIONS = {file.stem: file.read_text("utf-8") for file in sorted((MOBILE / "operations").glob("*.graphql"))}
SCALARS = {"ID": "String", "DateTime": "String", "String": "String", "Int": "Int", "Float": "Double", "Boolean": "Bool"}

GENERATOR = MOBILE / "node_modules" / "apollo-codegen-swift"
GRAMMAR = Parser(Language(tree_sitter_swift.language()))

Fields = dict[str, str]


def is_swift(source: str) -> bool:
    """Whether the grammar of Swift has it."""
    return not GRAMMAR.parse(source.encode()).root_node.has_error


def swift() -> dict[str, Fields]:
    """Fields by type; a field as `Message`, `[Message]`, with `?` where it may be null."""
    text = (MOBILE / "swift" / "Types.swift").read_text("utf-8")
    structs = re.findall(r"^struct (\w+)[^{\n]*\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    return {name: dict(re.findall(r"^    let (\w+): (\S+)$", body, re.MULTILINE)) for name, body in structs}


def kotlin() -> dict[str, Fields]:
    """The same, written as in Swift."""
    text = (MOBILE / "kotlin" / "Types.kt").read_text("utf-8")
    found = {}
    for name, body in re.findall(r"^data class (\w+)\(\n(.*?)^\)", text, re.MULTILINE | re.DOTALL):
        fields = re.findall(r"^    (?:override )?val (\w+): (\S+?)(?: = null)?,$", body, re.MULTILINE)
        found[name] = {
            field: re.sub(r"List<(\w+)>", r"[\1]", kind).replace("Boolean", "Bool") for field, kind in fields
        }
    return found


def asked_for() -> dict[str, set[str]]:
    """The fields that the documents ask for, by type; of an interface also those of the types behind it."""
    found: dict[str, set[str]] = {}

    class Collect(Visitor):
        def enter_field(self, node, *_):
            found.setdefault(info.get_parent_type().name, set()).add(node.name.value)

    for name, text in OPERATIONS.items():
        info = TypeInfo(SCHEMA)
        document = parse(text)
        assert validate(SCHEMA, document) == [], name
        (operation,) = document.definitions
        assert isinstance(operation, OperationDefinitionNode)
        assert operation.name is not None
        assert operation.name.value == name
        (root,) = operation.selection_set.selections
        found[f"{name}Data"] = {root.name.value}
        visit(document, TypeInfoVisitor(info, Collect()))
    for below in ("ConversationTask", "ReviewTask", "RankingTask"):
        found["Task"] |= found.pop(below)
    return found


def written(field: GraphQLField, only_some: bool) -> str:
    """A field's type as Swift writes it; one that only some types behind an interface have may be absent."""
    kind, named = field.type, get_named_type(field.type)
    inner = "String" if is_enum_type(named) else SCALARS.get(named.name, named.name)
    required = is_non_null_type(kind) and not only_some
    listed = is_list_type(kind.of_type if is_non_null_type(kind) else kind)
    return (f"[{inner}]" if listed else inner) + ("" if required else "?")


def field_of(schema: GraphQLSchema, owner: str, name: str) -> str:
    """A field's type, of a type of the schema or of the root under an operation's `Data`."""
    if name == "__typename":
        return "String"
    if owner.endswith("Data"):
        definition = parse(OPERATIONS[owner.removesuffix("Data")]).definitions[0]
        kind = schema.get_root_type(definition.operation)  # type: ignore[attr-defined]
    else:
        kind = schema.type_map[owner]
    assert isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)
    if name in kind.fields:
        return written(kind.fields[name], only_some=False)
    behind = [each for each in schema.get_possible_types(kind) if name in each.fields]
    return written(behind[0].fields[name], only_some=True)


@pytest.mark.parametrize("types", [swift, kotlin])
def test_the_types_are_those_of_schema_and_documents(types) -> None:
    found = types()
    asked = {name: fields for name, fields in asked_for().items() if name not in ("Query", "Mutation", "Subscription")}
    assert {name: set(fields) for name, fields in found.items()} == asked
    assert found == {name: {field: field_of(SCHEMA, name, field) for field in found[name]} for name in found}


@pytest.mark.parametrize("file", ["swift/Client.swift", "kotlin/Client.kt"])
def test_every_document_that_is_run_is_there(file: str) -> None:
    run = set(re.findall(r'(?:run|follow|send)\("(\w+)"', (MOBILE / file).read_text("utf-8")))
    assert run
    assert run <= set(OPERATIONS)


@pytest.mark.parametrize("file", sorted((MOBILE / "swift").glob("*.swift")), ids=lambda file: file.stem)
def test_the_swift_is_grammatical(file: Path) -> None:
    source = file.read_text("utf-8")
    assert is_swift(source)
    assert not is_swift(source.rstrip().removesuffix("}"))


def fenced() -> dict[str, str]:
    """Every operation and fragment of the pages for frontends, by name."""
    found = dict(OPERATIONS)
    for page in sorted((ROOT / "docs").glob("**/*.md")):
        if "node_modules" not in page.parts:
            for text in re.findall(r"```graphql\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
                found[text.split()[1].partition("(")[0]] = text
    return found


@pytest.mark.skipif(shutil.which("node") is None, reason="Apollo's generator needs Node, which is not on this machine")
@pytest.mark.skipif(not GENERATOR.is_dir(), reason="Apollo's generator is not installed (`make examples`)")
def test_apollos_generator_for_swift_takes_schema_and_documents(tmp_path: Path) -> None:
    documents = fenced()
    for name, text in documents.items():
        (tmp_path / f"{name}.graphql").write_text(text, "utf-8")
    command = ["node", MOBILE / "apollo.mjs", ROOT / "graphql_schema" / "schema.graphql", tmp_path]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert is_swift(ran.stdout)
    for name, text in documents.items():
        kind = text.split()[0].capitalize()
        if kind != "Fragment":
            assert re.search(rf"^public final class {name}{kind}: GraphQL{kind} ", ran.stdout, re.MULTILINE), name
