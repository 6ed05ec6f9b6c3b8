"""How an error reaches a client: as `userErrors` of a payload, or as `errors[].extensions.code`; never as a traceback.

    OaError in a mutation     payload.userErrors {code message path}, the other fields null
    OaError elsewhere         errors[] with extensions {code, path, retryAfter}
    document or variables     errors[] with extensions {code: BAD_QUERY}
    anything else             errors[] "internal error ..." with extensions {code: INTERNAL, correlationId}; one line

Threat: a driver's message can hold addresses, queries or texts of others; so what we did not write ourselves is never
sent, and what is logged is one line for each operation, however many fields failed.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from typing import Any

import strawberry
from graphql import GraphQLError
from strawberry import BasePermission
from strawberry.exceptions import MissingQueryError
from strawberry.extensions import FieldExtension
from strawberry.extensions.field_extension import AsyncExtensionResolver
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from core.errors import OaError
from core.ids import new_id

from .context import Context, Info
from .wording import camel, in_callers_words

log = logging.getLogger("oa.graphql")
BAD_QUERY = (GraphQLError, CannotGetOperationTypeError, InvalidOperationTypeError, MissingQueryError)
"""What the GraphQL machinery itself raises about a document."""
LOGGED_LINES = 20
"""Lines of a traceback that are logged, the last ones."""


@strawberry.type(description="Something that the caller can act on.")
class UserError:
    """One error of a mutation."""

    code: str = strawberry.field(description="One of the closed list of error codes.")
    message: str = strawberry.field(description="Names the wrong value and the right form.")
    path: list[str] = strawberry.field(description="The input field concerned, outermost first; empty if none.")
    retry_after: float | None = strawberry.field(
        default=None, description="Seconds after which a retry makes sense, where that is known."
    )


@strawberry.interface(description="What every mutation answers: its own fields, or errors the caller can act on.")
class Payload:
    """Base of all payloads; every other field of a payload is nullable and null when there are errors."""

    user_errors: list[UserError] = strawberry.field(
        default_factory=list, description="Empty when the mutation was done."
    )


def user_error(error: OaError, input: object = None) -> UserError:
    """`error` as the sender of `input` sees it in a payload."""
    message, path = in_callers_words(error, input)
    return UserError(code=error.code, message=message, path=path, retry_after=error.retry_after)


class UserErrors(FieldExtension):
    """Turns an `OaError` that a mutation's resolver raises into `userErrors` of its payload.

    Args:
        payload: the payload type; all of its fields have defaults.
    """

    def __init__(self, payload: type[Payload]) -> None:
        self.payload = payload

    async def resolve_async(self, next_: AsyncExtensionResolver, source: Any, info: Info, **kwargs: Any) -> Any:
        """The resolver's payload, or one with `userErrors`."""
        try:
            payload = await next_(source, info, **kwargs)
            info.context.done = True
            return payload
        except OaError as error:
            return self.payload(user_errors=[user_error(error, kwargs.get("input"))])


def mutation(payload: type[Payload], permission: type[BasePermission], description: str) -> Any:
    """Decorates a mutation's resolver: who may, what it is for, and `OaError` becoming `userErrors` of its payload."""
    return strawberry.mutation(
        permission_classes=[permission], extensions=[UserErrors(payload)], description=description
    )


def presentable(errors: Sequence[GraphQLError], context: Context, operation: str | None) -> list[GraphQLError]:
    """`errors` of one result as the client may see them; what is masked is logged, the first of them only.

    Args:
        errors: what the execution gave.
        context: the operation's; its request id becomes the correlation id.
        operation: the operation's name, if it has one.
    """
    errors = [_translated(error, context) for error in errors]
    correlation = context.request_id or new_id()
    if defects := [error for error in errors if not _is_ours(error.original_error)]:
        _log_defect(correlation, operation, defects)
    return [_presentable(error, correlation) for error in errors]


def _translated(error: GraphQLError, context: Context) -> GraphQLError:
    """`error` with a driver's error replaced by ours, where it has a meaning for the caller."""
    original = error.original_error
    ours = None if original is None or _is_ours(original) else context.services.translate(original)
    return error if ours is None else GraphQLError(ours.message, error.nodes, path=error.path, original_error=ours)


def _is_ours(original: Exception | None) -> bool:
    return original is None or isinstance(original, (OaError, *BAD_QUERY))


def _presentable(error: GraphQLError, correlation: str) -> GraphQLError:
    original = error.original_error
    if isinstance(original, OaError):
        return _with(error, in_callers_words(original)[0], _extensions(original))
    if _is_ours(original):
        return _with(error, error.message, {"code": "BAD_QUERY"})
    message = f"internal error; quote {correlation} when you report it"
    return _with(error, message, {"code": "INTERNAL", "correlationId": correlation})


def _log_defect(correlation: str, operation: str | None, defects: Sequence[GraphQLError]) -> None:
    first = defects[0]
    original = first.original_error
    trace = "".join(traceback.format_exception(original)).splitlines()[-LOGGED_LINES:]
    fields = {
        "correlation_id": correlation,
        "operation": operation,
        "path": first.path,
        "defects": len(defects),
        "error": type(original).__name__,
        "trace": trace,
    }
    log.error("defect in a resolver", extra={"fields": fields})


def _with(error: GraphQLError, message: str, extensions: dict[str, Any]) -> GraphQLError:
    """`error` at its place in the document, with this message and these extensions, without its cause."""
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=extensions,
    )


def _extensions(error: OaError) -> dict[str, Any]:
    about: dict[str, Any] = {"code": error.code}
    if error.path:
        about["path"] = [camel(part) for part in error.path]
    if error.retry_after is not None:
        about["retryAfter"] = error.retry_after
    return about
