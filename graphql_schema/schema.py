"""Puts the rooms' queries, mutations and subscriptions together and sets the limits that hold for every document.

An operation passes, in this order: the list of documents, the limits of its text, the rules of GraphQL with the limits
of its shape, the ceiling of its cost and the caller's buckets (`steps`); then it has `operation_seconds` to run, plain
fields by a short way (`executing`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from contextlib import aclosing
from typing import Any, cast

import strawberry
from graphql import GraphQLError, execute
from strawberry.exceptions import MissingQueryError
from strawberry.execution.is_awaitable import optimized_is_awaitable
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.schema.schema import DEFAULT_ALLOWED_OPERATION_TYPES, StreamResult
from strawberry.types.execution import ExecutionResult, PreExecutionError
from strawberry.types.graphql import OperationType

from core.errors import OaError

from .account import AccountMutation
from .chats import ChatMutation, ChatQuery, ChatSubscription
from .clients import ClientMutation, ClientQuery
from .collection import TYPES, CollectionMutation, CollectionQuery, CollectionSubscription
from .context import Context
from .errors import presentable
from .executing import Executing
from .idempotency import once
from .steps import NoExtensions, prepare
from .straight import prepare_fields
from .training import TrainingMutation, TrainingQuery, TrainingSubscription

ONE_ANSWER = frozenset({OperationType.QUERY, OperationType.MUTATION})
"""What can be executed; subscriptions are followed."""


@strawberry.type(description="What can be read.")
class Query(CollectionQuery, ChatQuery, TrainingQuery, ClientQuery):
    """Root of queries."""


@strawberry.type(description="What can be done. Each mutation takes one `input` and answers a payload of its own.")
class Mutation(CollectionMutation, ChatMutation, TrainingMutation, AccountMutation, ClientMutation):
    """Root of mutations."""


@strawberry.type(description="What can be followed, over WebSocket (graphql-transport-ws) or server-sent events.")
class Subscription(CollectionSubscription, ChatSubscription, TrainingSubscription):
    """Root of subscriptions."""


class ApiSchema(strawberry.Schema):
    """Strawberry's schema with our edge: a context for each operation, and errors made presentable.

    The edge is here and not in an extension because an error that is raised before execution passes by all extensions.
    """

    def create_extensions_runner(self, execution_context: Any, extensions: list[SchemaExtension]) -> Any:
        """Strawberry's runner, or where there are no extensions one that does nothing quickly."""
        runner = super().create_extensions_runner(execution_context, extensions)
        return runner if extensions else NoExtensions(execution_context)

    async def _prepare_operation_async(self, context: Any, extensions_runner: Any) -> PreExecutionError | None:
        """Our steps in place of Strawberry's; `besides` of `build_schema` has no part in them."""
        return await prepare(context, context.context)

    def process_errors(self, errors: list[GraphQLError], execution_context: Any = None) -> None:
        """Nothing: `presentable` logs what is a defect, once, where Strawberry would log every error."""

    async def execute(self, query: str | None, *args: Any, **options: Any) -> ExecutionResult:
        """Run a query or mutation; arguments as in `strawberry.Schema.execute`, those behind `query` by name."""
        context = options["context_value"] = _for_operation(options.get("context_value"))
        options["allowed_operation_types"] = ONE_ANSWER & (options.get("allowed_operation_types") or ONE_ANSWER)
        started = time.perf_counter()
        run = super().execute if self.extensions else self._run
        result: ExecutionResult = await run(query, *args, **options)
        _edge(result, context, options.get("operation_name"))
        _tell(result, context, time.perf_counter() - started)
        return result

    async def _run(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any = None,
        root_value: Any = None,
        operation_name: str | None = None,
        allowed_operation_types: Any = DEFAULT_ALLOWED_OPERATION_TYPES,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """Strawberry's `execute` for a schema without extensions: nothing stands around the stages of an operation."""
        operation = self._create_execution_context(
            query, allowed_operation_types or DEFAULT_ALLOWED_OPERATION_TYPES, variable_values, context_value,
            root_value, operation_name, operation_extensions,
        )  # fmt: skip
        try:
            found: Any = await prepare(operation, context_value)
            if found is None and context_value.asked[0] == "mutation":
                found = await self._execute_operation(operation, NoExtensions(operation), None, execute, {})
            elif found is None:
                found = self._begun(operation)
                if optimized_is_awaitable(found):  # what waits for nothing needs no clock
                    found = await _within(context_value.services.operation_seconds, found)
        except (MissingQueryError, CannotGetOperationTypeError, InvalidOperationTypeError):
            raise
        except Exception as error:
            ours = error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
            found = PreExecutionError(None, [ours])
        return ExecutionResult(found.data, found.errors, operation.extensions_results)

    def _begun(self, operation: Any) -> Any:
        """The result of a valid query, or what will give it."""
        return execute(
            self._schema,
            operation.graphql_document,
            operation.root_value,
            operation.context,
            operation.variables,
            operation.operation_name,
            executor_class=Executing,
            is_awaitable=cast(Any, optimized_is_awaitable),
            operation_extensions=operation.operation_extensions,
        )

    async def _execute_operation(self, execution_context: Any, *args: Any) -> Any:
        """Run a parsed, valid query or mutation, over whatever transport it came, within its time."""
        seconds = execution_context.context.services.operation_seconds
        run = super()._execute_operation
        if execution_context.context.asked[0] != "mutation":
            return await _within(seconds, run(execution_context, *args))
        # A mutation with a key goes on when its caller has gone, so it has a time of its own.
        asked = once(execution_context, lambda: _within(seconds, run(execution_context, *args)))
        return await _within(seconds, asked)

    async def stream(self, query: str | None, *args: Any, **options: Any) -> StreamResult:
        """Run any operation and yield its results; arguments as in `execute`."""
        context = options["context_value"] = _for_operation(options.get("context_value"))
        source = await super().stream(query, *args, **options)
        return _edged(source, context, options.get("operation_name"))


async def _within(seconds: float, work: Awaitable[Any]) -> Any:
    """What `work` gives; raises `DEADLINE` when it takes longer."""
    try:
        async with asyncio.timeout(seconds) as limit:
            return await work
    except TimeoutError as error:
        raise _too_slow(seconds) if limit.expired() else error from None


def _too_slow(seconds: float) -> OaError:
    return OaError(
        f"the operation took longer than {seconds:g} s and was stopped; ask for less, or look whether it was done",
        code="DEADLINE",
    )


def _for_operation(context: Any) -> Context:
    if not isinstance(context, Context):
        raise TypeError(f"context_value is {type(context).__name__}; it must be a graphql_schema.context.Context")
    return context.for_operation()


def _edge(result: Any, context: Context, operation: str | None) -> None:
    """Make the errors of one result presentable, in place; frames of incremental delivery are off and never come."""
    if result.errors:
        result.errors = presentable(result.errors, context, operation)


def _tell(result: Any, context: Context, seconds: float) -> None:
    """Count a query or mutation by the code of its first error."""
    if (watch := context.services.watch) is None:
        return
    kind, field = context.asked
    code = "OK" if not result.errors else str((result.errors[0].extensions or {}).get("code"))
    watch(kind, field, code, seconds)


async def _edged(source: StreamResult, context: Context, operation: str | None) -> StreamResult:
    """`source` until it ends or must not go on, be it in the middle of a long silence (`streams` says why).

    On a connection that lasts, who asks is looked up anew before each operation.
    """
    streams, started = context.services.streams, time.perf_counter()
    try:
        with streams.opened(context) as stream:
            async with aclosing(source):
                if context.renew is not None:
                    await context.renew(context)
                while (result := await streams.next(source, stream)) is not None:
                    _edge(result, context, operation)
                    _tell(result, context, time.perf_counter() - started)
                    yield result
                    started = time.perf_counter()
    except Exception as error:
        wrapped = error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
        yield PreExecutionError(data=None, errors=presentable([wrapped], context, operation))


def build_schema(*, suggestions: bool = True, besides: Sequence[type[SchemaExtension]] = ()) -> ApiSchema:
    """The executable schema.

    Args:
        suggestions: whether errors on unknown fields suggest known ones; off where introspection is closed.
        besides: extensions that watch the execution, such as one that takes traces.
    """
    schema = ApiSchema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=TYPES,
        config=StrawberryConfig(disable_field_suggestions=not suggestions),
        extensions=besides,
        execution_context_class=Executing,
    )
    prepare_fields(schema._schema)
    return schema
