"""What an operation costs, known before it runs: the sum of its fields' costs, each times the nodes it is asked for.

    { trees(first: 20) { nodes { id messages(first: 10) { nodes { text } } } } }
      2             + 20 * (2    + 1 + 2            + 10 * (2 + 1))              = 702

An object costs 2, a plain value 1, a mutation or subscription 10 more; one that makes a model write costs 100 more, as
does a query that searches. What stands below a field with `first` counts that often, what stands in another list
`LIST_SIZE` times. Both branches of a condition count, and so does what is asked for twice: a cost is the most that an
operation can make the server do, not what it will. What a fragment costs is computed once, wherever it is spread.
Introspection reads memory only, so a field of it costs a fraction of the others.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLField,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    NullValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_list_type,
)

from .limits import leaf_first, survey
from .relay import MAX_FIRST

MAX_COST = 10_000
"""The most that one operation may cost, unless the deployment says otherwise."""
VALUE, OBJECT = 1, 2
"""Cost of a plain value, and of an object."""
LIST_SIZE = 10
"""Items taken for granted of a list that has no `first`; such lists of ours are short."""
ROOT = 10
"""Cost of a mutation or subscription, besides that of its fields."""
ACTIONS: dict[str, tuple[str, int]] = {
    "developmentSignIn": ("sign_in", 0),
    "requestTask": ("request_task", 0),
    "sendMessage": ("generate", 100),
    "editMessage": ("generate", 100),
    "regenerate": ("generate", 100),
}
"""Mutations that are counted by themselves: the name they are counted by, and their cost besides."""
SEARCH = 100
"""Cost of looking at much that is not among the nodes asked for, however small the page: up to 10,000 records, or all
manifests that the object store has."""
SEARCHES: dict[str, frozenset[str]] = {
    "messages": frozenset({"state", "role", "authorId", "search", "collectionId"}),
    "trees": frozenset({"collectionId"}),
    **dict.fromkeys(("models", "snapshots", "learnedFrom", "similarTexts", "textGroups"), frozenset()),
}
"""Queries, and the arguments with which they search; those without always do."""
GIVEN = "given"
"""Stands for the value of a variable that is no whole number and not null."""
INTROSPECTION = 0.05
"""Cost of a field of introspection."""
TYPE_SIZE = 4
"""Fields taken for granted of a type, in introspection; few have arguments, or are enumerations or interfaces."""
MOST = 10**12
"""Costs are not told apart above this."""


@dataclass
class Price:
    """What an operation, or one use of a fragment, comes to.

    Attributes:
        cost: in units.
        actions: mutations of each name in `ACTIONS`.
        visited: fields and spreads looked at for it.
    """

    cost: float = 0
    actions: Counter[str] = field(default_factory=Counter)
    visited: int = 0

    def add(self, other: Price, times: float) -> None:
        """Add `other`, used `times` times."""
        self.cost = min(MOST, self.cost + other.cost * times)
        for name, count in other.actions.items():
            self.actions[name] = min(MOST, self.actions[name] + count)


class _Part(NamedTuple):
    """A selection on the type `kind`, made `times` times."""

    nodes: SelectionSetNode
    kind: GraphQLCompositeType
    times: float


class _Walk:
    """Prices selections of one document under one set of variables; fragments are priced before they are spread."""

    def __init__(self, schema: GraphQLSchema, values: Mapping[str, Any]) -> None:
        self.schema = schema
        self.values = values
        self.fragments: dict[str, Price] = {}

    def price(self, nodes: SelectionSetNode, kind: Any) -> Price:
        """The price of one selection on the type `kind`, made once."""
        price = Price()
        pending = [_Part(nodes, kind, 1)]
        while pending:
            part = pending.pop()
            for node in part.nodes.selections:
                price.visited += 1
                if isinstance(node, FragmentSpreadNode):
                    price.add(self.fragments[node.name.value], part.times)
                elif isinstance(node, InlineFragmentNode):
                    pending.append(part._replace(nodes=node.selection_set, kind=self.condition(node, part.kind)))
                elif isinstance(node, FieldNode):
                    pending += self._field(price, node, part)
        return price

    def condition(self, node: InlineFragmentNode | FragmentDefinitionNode, otherwise: Any) -> Any:
        """The type that a fragment is on."""
        named = node.type_condition
        return otherwise if named is None else self.schema.get_type(named.name.value)

    def _field(self, price: Price, node: FieldNode, part: _Part) -> list[_Part]:
        """Add a field to `price`; returns the selection below it, if any."""
        definition = self.schema.get_field(part.kind, node.name.value)
        if definition is None:
            return []  # an unknown field, which validation has refused
        kind = get_named_type(definition.type)
        price.cost = min(MOST, price.cost + part.times * self._weight(price, node, kind, part.kind))
        if node.selection_set is None or not is_composite_type(kind):
            return []
        return [_Part(node.selection_set, kind, part.times * self._times(node, definition, part.kind))]

    def _weight(self, price: Price, node: FieldNode, kind: Any, parent: GraphQLCompositeType) -> float:
        if parent.name.startswith("__") or kind.name.startswith("__"):
            return INTROSPECTION
        weight = OBJECT if is_composite_type(kind) else VALUE
        if parent is self.schema.query_type:
            return weight + (SEARCH if self._searches(node) else 0)
        if parent not in (self.schema.mutation_type, self.schema.subscription_type):
            return weight
        action, more = ACTIONS.get(node.name.value, ("", 0))
        if action:
            price.actions[action] += 1
        return weight + ROOT + more

    def _searches(self, node: FieldNode) -> bool:
        """Whether a query searches, as it always does or by an argument that is given."""
        by = SEARCHES.get(node.name.value)
        if not by:
            return by is not None
        return any(each.name.value in by and self._value(each) is not None for each in node.arguments or ())

    def _value(self, argument: ArgumentNode) -> Any:
        """What is given: a node, or what the variable has; None for null."""
        value: Any = argument.value
        if isinstance(value, VariableNode):
            value = self.values.get(value.name.value)
        return None if isinstance(value, NullValueNode) else value

    def _times(self, node: FieldNode, definition: GraphQLField, parent: GraphQLCompositeType) -> float:
        """How many objects a field is asked for, each with all that stands below it."""
        if "first" in definition.args:
            return self._first(node)
        if not is_list_type(get_nullable_type(definition.type)) or parent.name.endswith("Connection"):
            return 1  # a page's nodes are as many as `first`, which counts already
        if parent.name.startswith("__"):
            return {"types": len(self.schema.type_map), "fields": TYPE_SIZE}.get(node.name.value, 1)
        return LIST_SIZE

    def _first(self, node: FieldNode) -> int:
        """The page asked for, within its bounds; the largest one where it cannot be told."""
        value = next((self._value(each) for each in node.arguments or () if each.name.value == "first"), None)
        if isinstance(value, IntValueNode):
            value = int(value.value)
        return max(1, min(MAX_FIRST, value)) if isinstance(value, int) else MAX_FIRST


def price(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> Price:
    """What `operation` of `document` comes to; each node of the document is looked at once.

    Args:
        schema: the document is valid in it.
        variables: the request's, of which whole numbers count, and whether others are null; where one has no value its
            default counts, and without that the largest page.
    """
    defaults = {each.variable.name.value: each.default_value for each in operation.variable_definitions or ()}
    walk = _Walk(schema, {**defaults, **variables})
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    spreads = {name: [spread for spread, _ in survey(each).spreads] for name, each in fragments.items()}
    visited = 0
    for name in leaf_first(spreads):
        fragment = fragments[name]
        walk.fragments[name] = walk.price(fragment.selection_set, walk.condition(fragment, None))
        visited += walk.fragments[name].visited
    total = walk.price(operation.selection_set, schema.get_root_type(operation.operation))
    total.visited += visited
    return total


def units(price: Price) -> int:
    """The cost in whole units, at least 1."""
    return max(1, math.ceil(price.cost))
