"""Operations that fit our schema, or nearly: a Hypothesis strategy that knows types, ids and what attackers try.

Documents are built as text. Most fit the schema, so that they reach resolvers; some have one thing wrong. Values are
given as literals or as variables; ids are real ones, of every kind and owner, and broken ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)
from hypothesis import strategies as st

LONG = "w\u00f6rd " * 900
TEXTS = (
    "", " ", "en", "a text", "\u0000", "\u202e\u200b", "$where", '{"$gt": ""}', "__proto__", "'; drop", "../../etc",
    LONG, "\U0001f600" * 40, "%s%n", "<script>alert(1)</script>", "null", "de", "sft", "+1", "1970-01-01T00:00:00Z",
)  # fmt: skip
INTS = (0, 1, 2, 5, 100, 101, -1, 2**31 - 1, -(2**31), 2**31, 2**53 + 1)
FLOATS = (0.0, 0.5, 1.0, -1.0, 1e308, 2, 1e-300)
JSONS: tuple[Any, ...] = ({}, [], None, "x", 1, {"$where": "1"}, {"langs": ["en"]}, {"a.b": {"$gt": 1}}, [[[[]]]])
WRONG: tuple[Any, ...] = (None, 7, "x", [], {}, True, {"$gt": ""}, 1.5, ["a"] * 101)


@dataclass
class Writer:
    """One document being written.

    Attributes:
        draw: Hypothesis's.
        schema: what it should fit.
        ids: global ids to be tried.
        declared, variables: the operation's variables, and their values.
        room: fields that may still be asked for.
    """

    draw: Any
    schema: GraphQLSchema
    ids: tuple[str, ...]
    declared: list[str] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    room: int = 40

    def one(self, *values: Any) -> Any:
        """One of the values."""
        return self.draw(st.sampled_from(values))

    def rarely(self, times: int) -> bool:
        """True once in about so many times."""
        return self.draw(st.integers(1, times)) == times

    def value(self, kind: Any) -> Any:
        """A value that fits an input type, or, rarely, does not."""
        if self.rarely(60):
            return self.one(*WRONG)
        if isinstance(kind, GraphQLNonNull):
            return self.value(kind.of_type)
        if isinstance(kind, GraphQLList):
            return [self.value(kind.of_type) for _ in range(self.one(0, 1, 1, 2, 3))]
        if isinstance(kind, GraphQLEnumType):
            return self.one(*kind.values)
        if isinstance(kind, GraphQLInputObjectType):
            return {
                name: self.value(about.type)
                for name, about in kind.fields.items()
                if is_required_input_field(about) or self.rarely(3)
            }
        known = {"Int": INTS, "Float": FLOATS, "Boolean": (True, False), "JSON": JSONS, "String": TEXTS}
        return self.one(*(known.get(kind.name) or self.ids))

    def arguments(self, about: GraphQLField) -> str:
        """The arguments of a field, each as a literal or a variable."""
        given = []
        for name, argument in about.args.items():
            if is_required_argument(argument) and self.rarely(80):
                continue
            if not is_required_argument(argument) and not self.rarely(3):
                continue
            value = self.one(1, 2, 5) if name == "first" and not self.rarely(10) else self.value(argument.type)
            given.append(f"{name}: {self._written(value, argument.type)}")
        return f"({', '.join(given)})" if given else ""

    def _written(self, value: Any, kind: Any) -> str:
        if self.rarely(2):
            name = f"v{len(self.variables)}"
            self.declared.append(f"${name}: {kind}")
            self.variables[name] = value
            return f"${name}"
        return literal(value, kind)

    def selection(self, kind: Any, depth: int) -> str:
        """Some of the fields of a type; nothing for a plain value."""
        kind = get_named_type(kind)
        if is_leaf_type(kind):
            return ""
        parts = ["__typename"] if self.rarely(4) or depth == 0 else []
        names = sorted(kind.fields)
        for _ in range(self.one(1, 2, 3, 4) if depth else 1):
            if self.room <= 0:
                break
            name = self.one(*names)
            about = kind.fields[name]
            if depth == 0 and not is_leaf_type(get_named_type(about.type)):
                continue
            parts.append(self.field(name, about, depth))
        if is_abstract_type(kind) and depth and self.rarely(2):
            possible = self.one(*sorted(self.schema.get_possible_types(kind), key=lambda each: each.name))
            parts.append(f"... on {possible.name} {self.selection(possible, depth)}")
        return f"{{ {' '.join(parts) or '__typename'} }}"

    def field(self, name: str, about: GraphQLField, depth: int) -> str:
        """One field, with what stands around it."""
        self.room -= 1
        alias = f"a{self.room}: " if self.rarely(2) else ""
        name = "nothing" if self.rarely(200) else name
        condition = self.one(" @include(if: true)", " @skip(if: false)", " @x") if self.rarely(25) else ""
        return f"{alias}{name}{self.arguments(about)}{condition} {self.selection(about.type, max(0, depth - 1))}"


def literal(value: Any, kind: Any) -> str:
    """A value as GraphQL writes it."""
    kind = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
    if isinstance(kind, GraphQLEnumType) and isinstance(value, str):
        return value if value.isidentifier() else json.dumps(value)
    if isinstance(value, list):
        inner = kind.of_type if isinstance(kind, GraphQLList) else kind
        return f"[{', '.join(literal(each, inner) for each in value)}]"
    if isinstance(value, dict):
        known = kind.fields if isinstance(kind, GraphQLInputObjectType) else {}
        named = {name: each for name, each in value.items() if name.isidentifier()}
        parts = (f"{name}: {literal(each, getattr(known.get(name), 'type', None))}" for name, each in named.items())
        return f"{{{', '.join(parts)}}}"
    return json.dumps(value)


@st.composite
def operations(draw: Any, schema: GraphQLSchema, ids: tuple[str, ...], without: frozenset[str]) -> dict[str, Any]:
    """The body of a request: `query`, and `variables`.

    Args:
        draw: Hypothesis's.
        schema: what most of them fit.
        ids: global ids to be tried.
        without: root fields that are left out.
    """
    writer = Writer(draw, schema, ids)
    kind = writer.one("query", "query", "query", "mutation", "mutation", "mutation", "mutation", "subscription")
    roots = {
        "query": schema.query_type, "mutation": schema.mutation_type, "subscription": schema.subscription_type,
    }  # fmt: skip
    root = roots[kind]
    names = sorted(set(root.fields) - without)
    chosen = [writer.one(*names) for _ in range(2 if writer.rarely(20 if kind == "subscription" else 6) else 1)]
    parts = [writer.field(name, root.fields[name], 3) for name in chosen]
    declared = f"({', '.join(writer.declared)})" if writer.declared else ""
    return {"query": f"{kind} {declared} {{ {' '.join(parts)} }}", "variables": writer.variables}
