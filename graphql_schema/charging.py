"""What stands between a valid document and its execution: size of variables, ceiling of cost, the caller's buckets.

Runs for every operation over every transport. What is refused here was not executed, and what a bucket refuses is not
taken from it. The cost comes back as `extensions.cost`; over a subscription it would come with every event, so there it
does not. Knows buckets by the name of what they count, and no HTTP: `api.rate` makes headers of the verdicts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    OperationDefinitionNode,
    get_operation_ast,
)
from strawberry.types.execution import ExecutionContext

from core.errors import BadInput

from .context import Context
from .cost import Price, price, units
from .limits import CACHED_DOCUMENTS, LIMITS, Parsed, check_variables

BY_ADDRESS = frozenset({"sign_in"})
"""Actions of operations that are counted by address, because who is behind them is not known yet."""
ELSEWHERE: dict[str, tuple[str, str]] = {
    "token": ("calls of `/oauth/token` and its neighbours, codes given", "confidential client, or address"),
    "letter": ("letters that sign somebody in", "address, and e-mail address"),
    "device_code": ("codes of devices typed by hand", "person, and address"),
}
"""Actions that no operation is charged for: what they count, and by whom."""


async def admit(operation: ExecutionContext, context: Context) -> None:
    """Price a valid operation, and charge it to the caller's buckets.

    Raises:
        BadInput: its variables are too much, or it is too costly.
        TooMany: a bucket does not hold as much now, or the caller has too many subscriptions open.
        Unavailable: it is a subscription, and the process stops.
    """
    variables = operation.variables or {}
    check_variables(variables)
    document = operation.graphql_document
    _check_named(document, operation._provided_operation_name)
    asked = None if document is None else get_operation_ast(document, operation.operation_name)
    if document is None or asked is None:
        return
    context.asked = (asked.operation.value, _first_field(document, asked))
    if context.asked[0] == "subscription":
        context.services.streams.admit(context)
    schema: Any = operation.schema
    pages = tuple((name, value if type(value) is int else None) for name, value in variables.items())
    charge = _priced(schema._schema, Parsed(document), operation.operation_name, pages)
    _tell(operation, asked, units(charge), context.services.max_cost)
    await take(context, charge)


@lru_cache(maxsize=CACHED_DOCUMENTS)
def _priced(schema: GraphQLSchema, key: Parsed, name: str | None, pages: tuple[tuple[str, int | None], ...]) -> Price:
    """The price, to be read only; of the variables only whole numbers bear on it, so that others share an entry."""
    asked = get_operation_ast(key.document, name)
    assert asked is not None, "priced before it was found"  # noqa: S101 - for the types
    return price(schema, key.document, asked, dict(pages))


def _tell(operation: ExecutionContext, asked: OperationDefinitionNode, cost: int, most: int) -> None:
    """Say what it costs; raise `BadInput` when that is too much."""
    if asked.operation.value != "subscription":
        operation.extensions_results["cost"] = {"requested": cost, "maximum": most}
    if cost > most:
        raise BadInput(
            f"the operation costs {cost}, and one may cost {most}; ask for smaller pages or fewer fields",
            code="TOO_COSTLY",
        )


def _check_named(document: DocumentNode | None, name: str | None) -> None:
    """Raise `BadInput` where several operations stand in a document and none is named; Strawberry takes the first."""
    kinds = [] if document is None else document.definitions
    count = sum(isinstance(each, OperationDefinitionNode) for each in kinds)
    if name is None and count > 1:
        raise BadInput(f"the document has {count} operations; say which one with operationName", code="BAD_QUERY")


def _first_field(document: DocumentNode, asked: OperationDefinitionNode) -> str:
    """Name of the first field of the root, which is one of the schema's; looked for no further than it must be."""
    pending: list[Any] = list(asked.selection_set.selections)
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    for _ in range(LIMITS["fragment spreads"].most):
        node = pending[0]
        if isinstance(node, FieldNode):
            return node.name.value
        named = fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
        pending = list(named.selection_set.selections)
    return "none"


async def take(context: Context, charge: Price) -> None:
    """Charge the caller's buckets; what they say is added to `context.verdicts`.

    Raises:
        TooMany: a bucket does not hold as much now.
    """
    rates = context.services.rates
    if rates is None:
        return
    for action, amount in [*charge.actions.items(), ("cost", units(charge))]:
        caller = context.address if action in BY_ADDRESS else context.caller()
        verdict = await rates.take(caller, action, int(amount))
        if verdict is not None and context.verdicts is not None:
            context.verdicts.append(verdict)
