"""What stands between a valid document and its execution: size of variables, ceiling of cost, the caller's buckets.

Runs for every operation over every transport. What is refused here was not executed, and what a bucket refuses is not
taken from it. The cost comes back as `extensions.cost`; over a subscription it would come with every event, so there it
does not. Knows buckets by the name of what they count, and no HTTP: `api.rate` makes headers of the verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    OperationDefinitionNode,
    get_operation_ast,
)
from strawberry.types.execution import ExecutionContext

from core.errors import BadInput
from core.rates import PERSONAL, OutOfTokens, Verdict
from core.trust import PROVEN

from .context import Context
from .cost import GIVEN, Price, price, units
from .documents import KEPT, Parsed
from .limits import LIMITS, check_variables

REFUSED = 100
"""Cost of a document that is refused, and of credentials that are not good."""
BY_ADDRESS = frozenset({"sign_in"})
"""Actions of operations that are counted by address, because who is behind them is not known yet."""
ELSEWHERE: dict[str, tuple[str, str]] = {
    "token": ("calls of `/oauth/token` and its neighbours, codes given", "confidential client, or address"),
    "letter": ("letters that sign somebody in", "address and e-mail address together"),
    "letter_address": ("all letters from an address", "address"),
    "letter_mailbox": ("all letters to a mailbox", "e-mail address"),
    "device_code": ("codes of devices typed by hand", "person"),
    "device_code_address": ("the same by all behind an address", "address"),
}
"""Actions that no operation is charged for: what they count, and by whom."""
BESIDE: dict[str, str] = {
    "trusted": "trusted person, in place of the one above (moderators, admins and services too)",
    "client": "app or service, over all people who are signed in through it",
    "address": "address, over all people who are signed in there, but not services",
}
"""By whom the buckets of `core.rates.ROOM` count."""


class Asked(NamedTuple):
    """The operation of a document that is asked for."""

    operation: OperationDefinitionNode
    kind: str
    first: str


async def admit(operation: ExecutionContext, document: Parsed, context: Context) -> None:
    """Price a valid operation, and charge it to the caller's buckets.

    Args:
        operation: what is asked for.
        document: its document.
        context: of the caller.

    Raises:
        BadInput: its variables are too much, or it is too costly.
        TooMany: a bucket does not hold as much now, or the caller has too many subscriptions open.
        Unavailable: it is a subscription, and the process stops.
    """
    variables = operation.variables or {}
    check_variables(variables)
    name = operation._provided_operation_name
    asked = document.once(("asked", name), lambda: _asked(document.document, name))
    context.asked = (asked.kind, asked.first)
    if asked.kind == "subscription":
        context.services.streams.admit(context)
    schema: Any = operation.schema
    told = tuple((name, value if type(value) is int or value is None else GIVEN) for name, value in variables.items())
    charge = document.once(
        (schema._schema, name, told),  # no more of the variables bears on the price
        lambda: price(schema._schema, document.document, asked.operation, dict(told)),
    )
    _tell(operation, asked, units(charge), context.services.max_cost)
    KEPT.keep(operation.query or "", document)
    await take(context, charge)


def _asked(document: DocumentNode, name: str | None) -> Asked:
    """What is asked for; raises `BadInput` where several operations stand in a document and none is named (Strawberry
    takes the first)."""
    operation = get_operation_ast(document, name)
    if operation is None:
        count = sum(isinstance(each, OperationDefinitionNode) for each in document.definitions)
        raise BadInput(f"the document has {count} operations; say which one with operationName", code="BAD_QUERY")
    return Asked(operation, operation.operation.value, _first_field(document, operation))


def _tell(operation: ExecutionContext, asked: Asked, cost: int, most: int) -> None:
    """Say what it costs; raise `BadInput` when that is too much."""
    if asked.kind != "subscription":
        operation.extensions_results["cost"] = {"requested": cost, "maximum": most}
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


async def take_for_nothing(context: Context, caller: str | None = None) -> None:
    """Charge for a request that is refused, which costs the server as much as many a good one.

    Args:
        context: of the request.
        caller: by whom it is counted; as usual, if it is not given.

    Raises:
        TooMany: the bucket does not hold as much now.
    """
    if caller is None:
        await _take(context, {"cost": REFUSED})
    elif context.services.rates is not None:
        await context.services.rates.take(caller, "cost", REFUSED)


async def take(context: Context, charge: Price) -> None:
    """Charge the buckets of the caller, of the app and of the address; what they say is added to `context.verdicts`,
    and what refuses stands there alone.

    Raises:
        TooMany: a bucket does not hold as much now.
    """
    await _take(context, {**charge.actions, "cost": units(charge)})


async def _take(context: Context, amounts: Mapping[str, int]) -> None:
    rates, blocks = context.services.rates, context.services.shared_rates
    if rates is None:
        return
    said: list[Verdict | None] = []
    try:
        for action, amount in amounts.items():
            said.append(await rates.take(*own_bucket(context, action), int(amount)))
        if blocks is not None:  # after the caller's own, lest whom those refuse empties what others share
            for action, amount in amounts.items():
                said += [await blocks.take(*bucket, int(amount)) for bucket in shared_buckets(context, action)]
    except OutOfTokens as refused:
        said = [refused.verdict]
        raise
    finally:
        if context.verdicts is not None:
            context.verdicts += [verdict for verdict in said if verdict is not None]


def own_bucket(context: Context, action: str) -> tuple[str, str]:
    """The caller and the action as `core.rate_limits` counts them: the address of who is not known, and the person; one
    who is trusted has buckets of another size."""
    if context.viewer is None or action in BY_ADDRESS:
        return context.address, action
    trusted = action in PERSONAL and context.viewer.has_role(*PROVEN)
    return context.caller(), f"{action}_trusted" if trusted else action


def shared_buckets(context: Context, action: str) -> list[tuple[str, str]]:
    """The buckets that the caller shares with others: of the app, and of the address; a service asks for many people
    from one place, and is counted as an app alone."""
    if context.viewer is None or action not in PERSONAL:
        return []
    shared = [] if context.client_id is None else [(f"client:{context.client_id}", f"{action}_client")]
    service = context.actor is not None or context.viewer.has_role("service")
    return shared if service else [*shared, (context.address, f"{action}_address")]
