"""What stands between a valid document and its execution: size of variables, ceiling of cost, the caller's buckets.

Runs for every operation over every transport. What is refused here was not executed, and what a bucket refuses is not
taken from it. The cost comes back as `extensions.cost`; over a subscription it would come with every event, so there it
does not. Knows buckets by the name of what they count, and no HTTP: `api.rate` makes headers of the verdicts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    get_operation_ast,
)
from strawberry.extensions import SchemaExtension

from core.errors import BadInput, OaError

from .context import Context
from .cost import Price, price, units
from .limits import LIMITS, check_variables

BY_ADDRESS = frozenset({"sign_in"})
"""Actions of operations that are counted by address, because who is behind them is not known yet."""
ELSEWHERE: dict[str, tuple[str, str]] = {
    "token": ("calls of `/oauth/token` and its neighbours, codes given", "confidential client, or address"),
    "letter": ("letters that sign somebody in", "address, and e-mail address"),
    "device_code": ("codes of devices typed by hand", "person, and address"),
}
"""Actions that no operation is charged for: what they count, and by whom."""


class Charging(SchemaExtension):
    """Prices a valid operation, and refuses or charges it."""

    async def on_validate(self) -> AsyncIterator[None]:
        """After validation: errors found here end the operation like any error of validation."""
        operation = self.execution_context
        if operation.graphql_document is not None and not operation.pre_execution_errors:
            try:
                await self._admit()
            except OaError as error:
                operation.pre_execution_errors = [GraphQLError(error.message, original_error=error)]
        yield

    async def _admit(self) -> None:
        operation, context = self.execution_context, self.execution_context.context
        variables = operation.variables or {}
        check_variables(variables)
        document = operation.graphql_document
        asked = None if document is None else get_operation_ast(document, operation.operation_name)
        if document is None or asked is None or not isinstance(context, Context):
            return
        context.asked = (asked.operation.value, _first_field(document, asked))
        if context.asked[0] == "subscription":
            context.services.streams.check()
        charge = price(operation.schema._schema, document, asked, variables)
        self._tell(asked, units(charge), context.services.max_cost)
        await take(context, charge)

    def _tell(self, asked: OperationDefinitionNode, cost: int, most: int) -> None:
        """Say what it costs; raise `BadInput` when that is too much."""
        if asked.operation.value != "subscription":
            self.execution_context.extensions_results["cost"] = {"requested": cost, "maximum": most}
        if cost > most:
            raise BadInput(
                f"the operation costs {cost}, and one may cost {most}; ask for smaller pages or fewer fields",
                code="TOO_COSTLY",
            )


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
