"""How much one document may hold: found out before any other rule looks at it, in one pass over its nodes.

Threat: a small text that makes a server work for long. Fragments that spread the next one twice double the work at
each step; one field repeated hundreds of times is compared with itself in pairs; a thousand unknown names each get a
search for the name that was meant. So each definition is walked once and without recursion, what fragments add is
looked up instead of walked again, and a document that is over a limit is refused before the rules of GraphQL see it.
Knows documents and variables, no schema: what an operation costs is in `cost`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from graphql import (
    ASTValidationRule,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
)
from graphql.validation import MaxIntrospectionDepthRule
from graphql.validation.validate import ValidationAbortedError
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from core.errors import BadInput


class Limit(NamedTuple):
    """The most that is allowed, and of what."""

    most: int
    meaning: str


LIMITS: dict[str, Limit] = {
    "characters": Limit(15_000, "Characters of a document."),
    "tokens": Limit(1_000, "Lexical tokens of a document."),
    "depth": Limit(8, "Fields within fields, through fragments too."),
    "introspection depth": Limit(16, "The same below `__schema` and `__type`."),
    "root fields": Limit(10, "Fields of the root of an operation, through fragments too."),
    "aliases": Limit(30, "Aliases that stand in a document."),
    "directives": Limit(50, "Directives that stand in a document."),
    "fragment spreads": Limit(200, "Spreads of named fragments that stand in a document."),
    "repeats": Limit(10, "Times that one name stands in one selection, inline fragments included."),
    "list length": Limit(100, "Items of a list in a document or in the variables."),
    "value depth": Limit(16, "Lists and objects within each other, in a document or in the variables."),
    "values": Limit(1_000, "Values in the variables, those within lists and objects included."),
    "errors": Limit(10, "Errors after which the validation of a document ends."),
}
"""Every limit of a document by name; `docs/api/limits.md` shows them."""

BESIDES: tuple[type[ASTValidationRule], ...] = (
    MaybeNullValidationRule,
    OneOfInputValidationRule,
    MaxIntrospectionDepthRule,
)
"""Strawberry's own rules, which it adds where it validates itself, and GraphQL's for lists within lists of types."""
INTROSPECTION = frozenset({"__schema", "__type"})


@dataclass
class Survey:
    """What stands in one definition; fragments that it spreads are only named.

    Attributes:
        counts: by name of a limit.
        depth, introspection_depth: of the deepest field, 1 for a field of the root; 0 without any.
        root_fields: fields at depth 1.
        spreads: name of each fragment spread, and how many fields it is within.
        visited: nodes looked at.
    """

    counts: Counter[str] = field(default_factory=Counter)
    depth: int = 0
    introspection_depth: int = 0
    root_fields: int = 0
    spreads: list[tuple[str, int]] = field(default_factory=list)
    visited: int = 0

    def most(self, name: str, value: int) -> None:
        """Note `value` if it is the largest of that name so far."""
        self.counts[name] = max(self.counts[name], value)


def survey(definition: OperationDefinitionNode | FragmentDefinitionNode) -> Survey:
    """What stands in `definition`: each of its nodes is looked at once."""
    found = Survey()
    _directives(found, definition)
    for variable in definition.variable_definitions or ():
        _directives(found, variable)
        _value(found, variable.default_value)
    condition = getattr(definition, "type_condition", None)
    inside = condition is not None and condition.name.value.startswith("__")
    pending: list[_Selection] = [_Selection(definition.selection_set, 0, inside, Counter())]
    while pending:
        pending += _selections(found, pending.pop())
    return found


class _Selection(NamedTuple):
    """A selection to be walked; `names` are those of the selection that it belongs to, over inline fragments."""

    nodes: SelectionSetNode
    depth: int
    inside: bool
    names: Counter[str]


def _selections(found: Survey, selection: _Selection) -> Iterator[_Selection]:
    """Note the nodes of one selection; yields the selections within."""
    for node in selection.nodes.selections:
        found.visited += 1
        _directives(found, node)
        if isinstance(node, FragmentSpreadNode):
            found.counts["fragment spreads"] += 1
            found.spreads.append((node.name.value, selection.depth))
        elif isinstance(node, InlineFragmentNode):
            yield selection._replace(nodes=node.selection_set)
        elif isinstance(node, FieldNode):
            inside = _field(found, node, selection)
            if node.selection_set is not None:
                yield _Selection(node.selection_set, selection.depth + 1, inside, Counter())


def _field(found: Survey, node: FieldNode, selection: _Selection) -> bool:
    """Note a field; whether what it holds is introspection."""
    inside = selection.inside or node.name.value in INTROSPECTION
    depth = selection.depth + 1
    if inside:
        found.introspection_depth = max(found.introspection_depth, depth)
    else:
        found.depth = max(found.depth, depth)
    found.root_fields += depth == 1
    found.counts["aliases"] += node.alias is not None
    name = (node.alias or node.name).value
    selection.names[name] += 1
    found.most("repeats", selection.names[name])
    for argument in node.arguments or ():
        _value(found, argument.value)
    return inside


def _directives(found: Survey, node: Any) -> None:
    for directive in node.directives or ():
        found.visited += 1
        found.counts["directives"] += 1
        for argument in directive.arguments or ():
            _value(found, argument.value)


def _value(found: Survey, value: Any) -> None:
    pending = [(value, 1)]
    while pending:
        node, depth = pending.pop()
        found.visited += 1
        if isinstance(node, ListValueNode):
            found.most("value depth", depth)
            found.most("list length", len(node.values))
            pending += [(item, depth + 1) for item in node.values]
        elif isinstance(node, ObjectValueNode):
            found.most("value depth", depth)
            pending += [(item.value, depth + 1) for item in node.fields]


def leaf_first(spreads: Mapping[str, Sequence[str]]) -> list[str]:
    """Fragments in such an order that each stands behind those that it spreads. Linear, and without recursion.

    Args:
        spreads: by fragment, the fragments that it spreads; unknown names are passed over.

    Raises:
        BadInput: a fragment contains itself.
    """
    order: dict[str, None] = {}
    for start in spreads:
        path = [] if start in order else [(start, iter(spreads[start]))]
        on_path = {start}
        while path:
            name, rest = path[-1]
            following = next((each for each in rest if each in spreads and each not in order), None)
            if following is None:
                order[name] = None
                on_path.discard(name)
                path.pop()
            elif following in on_path:
                raise BadInput(f"fragment {following!r} contains itself; fragments must not be circular")
            else:
                on_path.add(following)
                path.append((following, iter(spreads[following])))
    return list(order)


def measure(document: DocumentNode) -> Counter[str]:
    """What `document` reaches of each limit that is about its shape, and the nodes looked at, as `visited`.

    Raises:
        BadInput: a fragment contains itself.
    """
    fragments: dict[str, Survey] = {}
    operations: list[Survey] = []
    total: Counter[str] = Counter()
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode | FragmentDefinitionNode):
            found = survey(definition)
            if isinstance(definition, FragmentDefinitionNode):
                fragments[definition.name.value] = found
            else:
                operations.append(found)
            _add(total, found)
    for name in leaf_first({name: [each for each, _ in it.spreads] for name, it in fragments.items()}):
        _reach(fragments[name], fragments)
    for operation in operations:
        _reach(operation, fragments)
        total["depth"] = max(total["depth"], operation.depth)
        total["introspection depth"] = max(total["introspection depth"], operation.introspection_depth)
        total["root fields"] = max(total["root fields"], operation.root_fields)
    return total


def _add(total: Counter[str], found: Survey) -> None:
    total["visited"] += found.visited
    for name, value in found.counts.items():
        largest = name in ("repeats", "list length", "value depth")
        total[name] = max(total[name], value) if largest else total[name] + value


def _reach(found: Survey, fragments: Mapping[str, Survey]) -> None:
    """Add to `found` what the fragments reach that it spreads; theirs is complete already."""
    for name, within in found.spreads:
        if (spread := fragments.get(name)) is not None:
            found.visited += 1
            if spread.depth:
                found.depth = max(found.depth, within + spread.depth)
            if spread.introspection_depth:
                found.introspection_depth = max(found.introspection_depth, within + spread.introspection_depth)
            found.root_fields += spread.root_fields if within == 0 else 0


def exceeded(reached: Mapping[str, int]) -> list[str]:
    """A sentence for each limit that is exceeded: what there is, and what there may be."""
    return [
        f"{name}: {reached[name]}; at most {limit.most} are allowed"
        for name, limit in LIMITS.items()
        if reached.get(name, 0) > limit.most
    ]


class DocumentLimits(ASTValidationRule):
    """Ends the validation of a document that is over a limit, with one error that names each such limit.

    One class for all requests: a class made anew for each would keep the cache of validated documents from hitting.
    """

    def enter_document(self, node: DocumentNode, *_: Any) -> None:
        """Measure the document before any other rule has seen a node of it."""
        try:
            over = exceeded(measure(node))
        except BadInput as error:
            raise ValidationAbortedError(error.message) from None
        if over:
            raise ValidationAbortedError(f"the document is too much: {'; '.join(over)}")


def check_variables(variables: Mapping[str, Any]) -> int:
    """Look at every value of the variables once; returns how many there are.

    Raises:
        BadInput: a list is too long, there are too many values, or they are nested too deep.
    """
    seen = 0
    pending: list[tuple[Any, int]] = [(value, 1) for value in variables.values()]
    while pending:
        value, depth = pending.pop()
        seen += 1
        inner: Iterable[Any] = ()
        reached = {"values": seen + len(pending)}
        if isinstance(value, list | dict):
            inner = value.values() if isinstance(value, dict) else value
            reached |= {"value depth": depth, "list length": len(value) if isinstance(value, list) else 0}
        if over := exceeded(reached):
            raise BadInput(f"the variables are too much: {'; '.join(over)}", code="BAD_QUERY")
        pending += [(each, depth + 1) for each in inner]
    return seen
