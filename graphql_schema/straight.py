"""Which fields can be answered without graphql-core's help, and how: found once, when the schema is built.

Such a field takes no arguments, has no permission or other extension around it and does not wait: an attribute, or a
method of the object that takes at most `info` and asks it for nothing but the context. Its type is a leaf, an object
type, or a list of these. What an object guards within its methods is guarded on either way, as both call them.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from operator import attrgetter
from types import CoroutineType
from typing import Any, NamedTuple, NoReturn, TypeAlias

from graphql import (
    GRAPHQL_MAX_INT,
    GRAPHQL_MIN_INT,
    GraphQLBoolean,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLString,
    get_nullable_type,
    is_enum_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField
from strawberry.types.info import Info

STRAIGHT = "straight-fields"
"""Key of an object type's extensions: its straight fields by name."""
BACK = "strawberry-definition"
AS_IT_IS: dict[Any, type] = {GraphQLString: str, GraphQLID: str, GraphQLBoolean: bool}
"""Scalars, and the Python type whose values are their wire form already."""


class NotStraight(Exception):
    """graphql-core has to look at it."""


class Leaf(NamedTuple):
    """A scalar or an enum.

    Attributes:
        required: whether it may not be null.
        same: the type of values that need no coercing; None where all do.
        coerce: a value in its wire form; raises where it is no value of the type.
    """

    required: bool
    same: type | None
    coerce: Callable[[Any], Any]


class Single(NamedTuple):
    """An object type; `classes` are those of its values."""

    required: bool
    kind: GraphQLObjectType
    classes: frozenset[type]


class Several(NamedTuple):
    """A list of one of the three."""

    required: bool
    item: Shape


Shape: TypeAlias = Leaf | Single | Several


class Straight(NamedTuple):
    """A field.

    Attributes:
        read: the value of an object; where `with_info`, from the object and what has a `context`.
        with_info: see there.
        shape: its type.
    """

    read: Callable[..., Any]
    with_info: bool
    shape: Shape


def prepare_fields(schema: GraphQLSchema) -> None:
    """Note on each object type which of its fields are straight, and shorten its resolvers."""
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__"):
            found = {name: each for name, field in kind.fields.items() if (each := straight_field(field)) is not None}
            kind.extensions[STRAIGHT] = found
            for field in kind.fields.values():
                shorten(field)


def straight_field(field: GraphQLField) -> Straight | None:
    """How a field is answered straight; None for one that is not."""
    ours, shape = field.extensions.get(BACK), shape_of(field.type)
    if not isinstance(ours, StrawberryField) or shape is None:
        return None
    if ours.is_basic_field:
        return Straight(attrgetter(ours.python_name), False, shape)
    if not _is_short(ours):
        return None
    if isinstance(shape, Leaf):
        shape = shape._replace(coerce=_unless_awaitable(shape.coerce))
    resolver: Any = ours.base_resolver
    return Straight(resolver.wrapped_func, resolver.info_parameter is not None, shape)


def _is_short(field: StrawberryField) -> bool:
    """Whether it has a resolver that takes nothing but the object and `info`, does not wait, and has nothing around."""
    resolver = field.base_resolver
    if resolver is None or field.extensions or field.arguments or field.is_subscription:
        return False
    return not field.is_async and resolver.self_parameter is not None


def shorten(field: GraphQLField) -> None:
    """Have graphql-core call a short resolver without Strawberry's machinery for arguments and extensions."""
    ours = field.extensions.get(BACK)
    if not isinstance(ours, StrawberryField) or not _is_short(ours):
        return
    resolver: Any = ours.base_resolver
    call: Any = resolver.wrapped_func
    if (parameter := resolver.info_parameter) is None:
        field.resolve = lambda source, _: call(source)
    else:
        name = parameter.name
        field.resolve = lambda source, info: call(source, **{name: Info(_raw_info=info, _field=ours)})


def shape_of(kind: Any) -> Shape | None:
    """The shape of a type; None for interfaces, unions and what has a say of its own about its values."""
    required, bare = is_non_null_type(kind), get_nullable_type(kind)
    if is_leaf_type(bare):
        return Leaf(required, AS_IT_IS.get(bare), wire_form(bare))
    if is_list_type(bare):
        item = shape_of(bare.of_type)
        return None if item is None else Several(required, item)
    definition = bare.extensions.get(BACK)
    if not isinstance(bare, GraphQLObjectType) or not isinstance(definition, StrawberryObjectDefinition):
        return None
    if definition.is_type_of is not None:
        return None
    generic = definition.concrete_of
    return Single(required, bare, frozenset({definition.origin} | ({generic.origin} if generic else set())))


def wire_form(leaf: Any) -> Callable[[Any], Any]:
    """What makes the wire form of a value; raises where it is no value of the type."""
    coerce: Callable[[Any], Any] = leaf.coerce_output_value
    if is_enum_type(leaf):  # Strawberry looks a member up by going through all values
        members: Any = leaf
        return {member: coerce(member) for member in members.wrapped_cls}.__getitem__
    if leaf is GraphQLInt:
        return lambda value: value if type(value) is int and _fits(value) else coerce(value)
    if leaf is GraphQLFloat:
        return lambda value: value if type(value) is float and isfinite(value) else coerce(value)
    return coerce


def _fits(value: int) -> bool:
    return GRAPHQL_MIN_INT <= value <= GRAPHQL_MAX_INT


def _unless_awaitable(coerce: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`coerce` for what a resolver gives, which may have to be waited for."""

    def coerced(value: Any) -> Any:
        if hasattr(type(value), "__await__"):
            refuse(value)
        return coerce(value)

    return coerced


def refuse(value: Any) -> NoReturn:
    """Leave a value to graphql-core, which asks for it again."""
    if isinstance(value, CoroutineType):
        value.close()
    raise NotStraight
