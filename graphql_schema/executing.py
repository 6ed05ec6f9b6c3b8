"""A quicker way through graphql-core for what most fields are: plain attributes of plain values.

graphql-core makes a `ResolveInfo` for every field and goes through five functions to find out that a string is a
string; Strawberry goes through three more to read an attribute. Of a tree of 40 messages that is most of the CPU time.
Here such a field is read and turned into its wire form directly; everything that is out of the ordinary (null where
there must be none, a value of another type, an error) is left to graphql-core, which does it over and says what is
wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Any, NamedTuple

from graphql import (
    GraphQLBoolean,
    GraphQLField,
    GraphQLID,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLString,
    Undefined,
    get_nullable_type,
    is_enum_type,
    is_leaf_type,
    is_non_null_type,
)
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types.field import StrawberryField
from strawberry.types.info import Info

PLAIN = "plain-fields"
"""Key of an object type's extensions: its plain fields by name."""
BACK = "strawberry-definition"
AS_IT_IS: dict[Any, type] = {GraphQLString: str, GraphQLID: str, GraphQLBoolean: bool}
"""Scalars, and the Python type whose values are their wire form already."""


class Plain(NamedTuple):
    """A field that is an attribute of a leaf type.

    Attributes:
        read: the attribute of an object.
        same: the type of values that need no coercing; None where all do.
        coerce: a value in its wire form.
        required: whether it may not be null.
    """

    read: Callable[[Any], Any]
    same: type | None
    coerce: Callable[[Any], Any]
    required: bool


class Executing(StrawberryGraphQLCoreExecutionContext):
    """The execution of one operation."""

    def execute_fields(
        self, parent_type: GraphQLObjectType, source_value: Any, path: Any, grouped_field_set: Any, position: Any
    ) -> Any:
        """The fields of one object, in the order asked for, or what will give them."""
        plain_fields: dict[str, Plain] = parent_type.extensions.get(PLAIN, {})
        results: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for response_name, details in grouped_field_set.items():
            plain = plain_fields.get(details[0].node.name.value)
            results[response_name] = value = Undefined if plain is None else read(plain, source_value)
            if value is Undefined:
                others[response_name] = details
        if not others:
            return results
        found = super().execute_fields(parent_type, source_value, path, others, position)
        return merged(results, found) if isinstance(found, dict) else later(results, found)


def read(plain: Plain, source: Any) -> Any:
    """The wire form of a plain field; `Undefined` where graphql-core shall look at it."""
    try:
        value = plain.read(source)
        if type(value) is plain.same:
            return value
        if value is None:
            return Undefined if plain.required else None
        return plain.coerce(value)
    except Exception:
        return Undefined


async def later(results: dict[str, Any], found: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """`merged`, once the others are there."""
    return merged(results, await found)


def merged(results: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """`results` with the others at their places."""
    results.update(found)
    return {name: value for name, value in results.items() if value is not Undefined}


def find_plain_fields(schema: GraphQLSchema) -> None:
    """Note on each object type which of its fields are plain."""
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__"):
            found = {name: plain for name, field in kind.fields.items() if (plain := plain_field(field)) is not None}
            kind.extensions[PLAIN] = found
            for field in kind.fields.values():
                shorten(field)


def plain_field(field: GraphQLField) -> Plain | None:
    """How a plain field is read; None for one that has a resolver, an extension, arguments or is no leaf."""
    ours, leaf = field.extensions.get(BACK), get_nullable_type(field.type)
    if not isinstance(ours, StrawberryField) or not ours.is_basic_field or ours.extensions or not is_leaf_type(leaf):
        return None
    return Plain(
        attrgetter(ours.python_name), AS_IT_IS.get(leaf), wire_form(leaf), is_non_null_type(field.type)
    )  # fmt: skip


def shorten(field: GraphQLField) -> None:
    """Call a resolver that takes nothing but the object and `info`, and has nothing around it, without Strawberry's
    machinery for arguments and extensions."""
    ours = field.extensions.get(BACK)
    if not isinstance(ours, StrawberryField) or ours.extensions or ours.arguments or ours.is_subscription:
        return
    resolver = ours.base_resolver
    if resolver is None or ours.is_async or resolver.self_parameter is None:
        return
    call: Any = resolver.wrapped_func
    if (parameter := resolver.info_parameter) is None:
        field.resolve = lambda source, _: call(source)
    else:
        name = parameter.name
        field.resolve = lambda source, info: call(source, **{name: Info(_raw_info=info, _field=ours)})


def wire_form(leaf: Any) -> Callable[[Any], Any]:
    """What makes the wire form of a value; raises where it is no value of the type."""
    if not is_enum_type(leaf):
        coerce: Callable[[Any], Any] = leaf.coerce_output_value
        return coerce
    # Strawberry looks a member up by going through all values.
    members: Any = leaf
    return {member: members.coerce_output_value(member) for member in members.wrapped_cls}.__getitem__
