"""The schema uses no name that the code generators of TypeScript, Swift and Kotlin cannot turn into one of their own.

Apollo's generators of today (a Mac program, a Gradle plugin) are not run here. Both put a keyword into backticks; what
they cannot mend is a name that two things would share once its case is changed, one that their own members have, and an
input that holds itself, which a Swift structure cannot.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest
from graphql import GraphQLInputObjectType, GraphQLSchema, build_schema, get_named_type, is_enum_type

from graphql_schema.export import SCHEMA_FILE

SCHEMA = build_schema(SCHEMA_FILE.read_text("utf-8"))
TYPES = {name: kind for name, kind in SCHEMA.type_map.items() if not name.startswith("__")}
FIELDS_TAKEN = {"_", "self", "fragments", "__data", "hashValue"}
"""Members of the classes that the generators write."""
TYPES_OF_THEIRS = """
Any Bool Double Type Protocol Self Error Array Dictionary Optional Schema Fragments Selection SelectionSet DataDict
Unit List Map Object Record Promise Date Symbol
"""
ENUM_VALUES_OF_THEIRS = "none some self type name ordinal entries values companion unknown__ rawvalue"
RESERVED = """
as break class continue do else false for fun if in interface is null object package return super this throw true try
typealias typeof val var when while associatedtype deinit enum extension fileprivate func import init inout internal let
operator private precedencegroup protocol public rethrows static struct subscript case catch default defer fallthrough
guard repeat switch where nil throws await function new delete export with yield void
"""
"""Keywords of the three languages, without those that are reserved in some places only."""
TYPES_TAKEN = frozenset(TYPES_OF_THEIRS.split())
ENUM_VALUES_TAKEN = frozenset(ENUM_VALUES_OF_THEIRS.split())
KEYWORDS = frozenset(RESERVED.split())


def camel(value: str) -> str:
    """An enum value as Swift has it: INITIAL_PROMPT, initialprompt. Case is left out, since it tells nothing apart."""
    return value.replace("_", "").lower()


def members(kind: object) -> list[str]:
    return list(getattr(kind, "fields", {}))


def shared(names: Iterator[str] | list[str]) -> list[str]:
    return [name for name, count in Counter(name.lower() for name in names).items() if count > 1]


def test_names_are_plain() -> None:
    every = {*TYPES, *(field for kind in TYPES.values() for field in members(kind))}
    assert [name for name in every if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name)] == []
    assert [name for name in TYPES if not name[0].isupper()] == []


def test_no_two_names_differ_by_case_alone() -> None:
    assert shared(list(TYPES)) == []
    assert {name: found for name, kind in TYPES.items() if (found := shared(members(kind)))} == {}
    enums = {name: [camel(value) for value in kind.values] for name, kind in TYPES.items() if is_enum_type(kind)}
    assert {name: found for name, values in enums.items() if (found := shared(values))} == {}


def test_no_name_is_one_of_the_generators_own() -> None:
    assert set(TYPES) & TYPES_TAKEN == set()
    for name, kind in TYPES.items():
        arguments = {each for field in getattr(kind, "fields", {}).values() for each in getattr(field, "args", {})}
        assert {*members(kind), *arguments} & (FIELDS_TAKEN | KEYWORDS) == set(), name
        if is_enum_type(kind):
            assert {value.lower() for value in kind.values} & ENUM_VALUES_TAKEN == set(), name


def reached(schema: GraphQLSchema, kind: GraphQLInputObjectType) -> set[str]:
    """The inputs inside an input, however deep."""
    found: set[str] = set()
    todo = [kind]
    while todo:
        for field in todo.pop().fields.values():
            inner = get_named_type(field.type)
            if isinstance(inner, GraphQLInputObjectType) and inner.name not in found:
                found.add(inner.name)
                todo.append(inner)
    return found


INPUTS = [kind for kind in TYPES.values() if isinstance(kind, GraphQLInputObjectType)]


def test_no_input_holds_itself() -> None:
    assert [kind.name for kind in INPUTS if kind.name in reached(SCHEMA, kind)] == []


@pytest.mark.parametrize(
    ("bad", "check"),
    [
        ("type Query { a: Int A: Int }", test_no_two_names_differ_by_case_alone),
        ("type Query { a: E } enum E { A_B AB }", test_no_two_names_differ_by_case_alone),
        ("type Query { a(class: Int): Int }", test_no_name_is_one_of_the_generators_own),
        ("type Query { a: E } enum E { NONE }", test_no_name_is_one_of_the_generators_own),
        ("type Query { a_b: Int }", test_names_are_plain),
    ],
)
def test_the_checks_find_what_they_look_for(bad: str, check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "TYPES", {k: v for k, v in build_schema(bad).type_map.items() if k[:2] != "__"})
    with pytest.raises(AssertionError):
        check()
