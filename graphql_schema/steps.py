"""What an operation passes before it is executed, one step after the other, over whatever transport it came.

The list of documents, the limits of its text, the rules of GraphQL with the limits of its shape, the ceiling of its
cost and the caller's buckets, the journal where a service acts for somebody. Plain calls and not Strawberry's
extensions: those cost each operation a context manager for every stage of each extension, which was more than all the
rest of a small query.
"""

from __future__ import annotations

from typing import Any

from graphql import GraphQLError, NoSchemaIntrospectionCustomRule, specified_rules
from strawberry.exceptions import MissingQueryError
from strawberry.extensions.runner import SchemaExtensionsRunner
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.execution import ExecutionContext, PreExecutionError

from core.errors import BadInput, OaError

from . import persisted
from .acting import write_down
from .charging import admit, take_for_nothing
from .context import Context
from .documents import parsed, validated

OPEN = tuple(specified_rules)
CLOSED = (*OPEN, NoSchemaIntrospectionCustomRule)
"""Rules where the schema may not be asked for. Always the same classes, so that validated documents stay cached."""


async def prepare(operation: ExecutionContext, context: Context) -> PreExecutionError | None:
    """Make `operation` ready to be executed; what is wrong with the document or its cost is returned.

    Raises:
        OaError: the document that is named cannot be had or run.
        GraphQLError: the document cannot be parsed.
        MissingQueryError, CannotGetOperationTypeError, InvalidOperationTypeError: as Strawberry raises them.
    """
    try:
        to_register = await persisted.find(operation, context)
    except OaError:
        await take_for_nothing(context)
        raise
    if not operation.query:
        raise MissingQueryError
    try:
        document = parsed(operation.query)
    except GraphQLError:
        await take_for_nothing(context)
        raise
    operation.graphql_document = document.document
    try:
        kind = operation.operation_type
    except RuntimeError as error:
        raise CannotGetOperationTypeError(operation.operation_name) from error
    if kind not in operation.allowed_operations:
        raise InvalidOperationTypeError(kind)
    schema: Any = operation.schema
    rules = OPEN if context.introspection else CLOSED
    errors = validated(schema._schema, document, rules, not schema.config.disable_field_suggestions)
    if not errors:
        try:
            await admit(operation, document, context)
            await write_down(document.document, operation._provided_operation_name, context)
        except OaError as error:
            if isinstance(error, BadInput):
                await take_for_nothing(context)
            errors = [GraphQLError(error.message, original_error=error)]
    else:
        await take_for_nothing(context)
    if errors:
        operation.pre_execution_errors = errors
        return PreExecutionError(data=None, errors=errors)
    if to_register and context.services.documents is not None:
        await context.services.documents.keep(operation.query)
    return None


class Nothing:
    """A stage at which nothing else is to be done."""

    async def __aenter__(self) -> None:
        """Begin."""

    async def __aexit__(self, *_: object) -> None:
        """End."""


NOTHING = Nothing()


class NoExtensions(SchemaExtensionsRunner):
    """Stands for the extensions of a schema that has none."""

    def operation(self) -> Any:
        """Around an operation."""
        return NOTHING

    def executing(self) -> Any:
        """Around its execution."""
        return NOTHING

    def on_stream_result(self, result: object) -> Any:
        """Around one result of a stream."""
        return NOTHING

    async def get_extensions_results(self, ctx: ExecutionContext) -> dict[str, Any]:
        """`extensions` of the answer."""
        return ctx.extensions_results
