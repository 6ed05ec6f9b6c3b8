"""Mutations that are sent twice are done once: the key in the input, in the request's extensions, or in its header.

    input: {idempotencyKey: "..."}          anywhere
    extensions: {"idempotencyKey": "..."}   in the request, over any transport
    Idempotency-Key: "..."                  over HTTP (IETF draft "The Idempotency-Key HTTP Header Field")

Works on whole operations, which then have one mutation: what is kept is the answer to a document with its variables,
and another one under the same key is refused. Keys belong to a person with the client and the scopes of the token, and
who asks again must still be allowed to ask, so that no app gets what another one was answered. An answer that holds a
secret is never kept, so a repeat of it is told that it was done. `NATIVE` mutations make a thing whose id follows from
the key, which holds for ever and without this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orjson
from graphql import (
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    ObjectValueNode,
    OperationDefinitionNode,
    StringValueNode,
    VariableNode,
    get_operation_ast,
    print_ast,
)

from core.errors import BadInput, OaError
from core.ids import sha256_hex

from .context import Context

if TYPE_CHECKING:
    from core.idempotency import Claim

NATIVE = frozenset({"createChat", "sendMessage", "editMessage", "regenerate", "launchJob"})
SECRETS = frozenset(
    {"developmentSignIn", "createClient", "updateClient", "createApiKey", "linkIdentity", "snapshotDownload"}
)
"""Mutations whose answers hold a secret that is shown once, or addresses that open by themselves."""
MOST = 200
NAME = "idempotencyKey"
_going_on: set[asyncio.Task[Any]] = set()


async def once(execution: Any, run: Callable[[], Awaitable[Any]]) -> Any:
    """The result of `run`, or the one that was kept for the operation's key.

    Args:
        execution: Strawberry's, of a valid operation.
        run: executes it.

    Raises:
        BadInput: the key is of another form, or the operation has more than one mutation.
        OaError: the key was used for something else, or for what had a secret for an answer, or the caller may not ask
            for this any more.
    """
    context: Context = execution.context
    asked = get_operation_ast(execution.graphql_document, execution.operation_name)
    if asked is None or asked.operation.value != "mutation":
        return await run()
    fields = _root_fields(execution.graphql_document, asked)
    key = _key(execution, fields)
    answers = context.services.answers
    if key is None or context.viewer is None or answers is None:
        return await run()
    if len(fields) != 1:
        raise BadInput(f"an idempotency key is for one mutation; the operation has {len(fields)}", path=(NAME,))
    claim = await answers.begin(_caller(context), key, _fingerprint(execution))
    if claim is None or isinstance(claim, str):
        _check_allowed(execution, fields[0].name.value)
        return _replayed(execution, claim)
    task = asyncio.ensure_future(_run(context, claim, run, keep=fields[0].name.value not in SECRETS))
    _going_on.add(task)
    task.add_done_callback(_ended)
    return await asyncio.shield(task)


def _caller(context: Context) -> str:
    """Whose a key is."""
    people = [None if user is None else user.id for user in (context.viewer, context.actor)]
    scopes = None if context.scopes is None else " ".join(sorted(context.scopes))
    return "|".join(each or "" for each in (*people, context.client_id, scopes))


def _check_allowed(execution: Any, field: str) -> None:
    """Raise what the mutation itself would: roles, or the terms that hold, may have changed since it was done."""
    for permission in execution.schema.get_field_for_type(field, "Mutation").permission_classes:
        permission().check(execution.context, field)


def _ended(task: asyncio.Task[Any]) -> None:
    _going_on.discard(task)
    if not task.cancelled():
        task.exception()  # its caller may have gone, and then nobody else asks for it


async def _run(context: Context, claim: Claim, run: Callable[[], Awaitable[Any]], *, keep: bool) -> Any:
    """Run to the end, even when the caller has gone, and keep what became of it."""
    answers = context.services.answers
    assert answers is not None, "looked at before"  # noqa: S101 - for the types
    try:
        result = await run()
    except BaseException:
        await answers.drop(claim)
        raise
    if result.errors or not context.done:
        await answers.drop(claim)
    else:
        await answers.keep(claim, orjson.dumps(result.data).decode() if keep else None)
    return result


def _replayed(execution: Any, answer: str | None) -> ExecutionResult:
    if answer is None:
        raise OaError(
            "this was done already, and its answer held a secret that is shown once", code="IDEMPOTENCY_CONFLICT"
        )
    execution.extensions_results["idempotency"] = {"replayed": True}
    execution.result = result = ExecutionResult(orjson.loads(answer), None)
    return result


def _fingerprint(execution: Any) -> str:
    """Of the document, the operation's name and the variables; how the document is laid out does not count."""
    asked = [print_ast(execution.graphql_document), execution.operation_name, execution.variables or {}]
    return sha256_hex(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS))


def _root_fields(document: Any, asked: OperationDefinitionNode) -> list[FieldNode]:
    """The fields of the root, each as often as it stands there; limits keep them few."""
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    found: list[FieldNode] = []
    pending: list[Any] = [asked]
    while pending and len(found) < 2:
        for node in pending.pop().selection_set.selections:
            if isinstance(node, FieldNode):
                found.append(node)
            else:
                pending.append(fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node)
    return found


def _key(execution: Any, fields: list[FieldNode]) -> str | None:
    """The operation's key; None for none."""
    native = all(field.name.value in NATIVE for field in fields)
    sent = [_of_input(field, execution.variables or {}) for field in fields]
    inside = next((each for each in sent if each is not None), None)
    if inside is not None and native:
        return None  # the mutation itself looks at it
    extensions = execution.operation_extensions or {}
    key: Any = next(
        (each for each in (inside, extensions.get(NAME), execution.context.idempotency_key) if each is not None), None
    )
    if key is not None and not (isinstance(key, str) and 1 <= len(key) <= MOST and key.isprintable()):
        raise BadInput(f"{NAME} must have 1 to {MOST} visible characters", path=(NAME,))
    return key


def _of_input(field: FieldNode, variables: dict[str, Any]) -> Any:
    value: Any = next((each.value for each in field.arguments or () if each.name.value == "input"), None)
    if isinstance(value, VariableNode):
        given = variables.get(value.name.value)
        return given.get(NAME) if isinstance(given, dict) else None
    if isinstance(value, ObjectValueNode):
        value = next((each.value for each in value.fields if each.name.value == NAME), None)
    if isinstance(value, VariableNode):
        return variables.get(value.name.value)
    return value.value if isinstance(value, StringValueNode) else None
