"""Every error that a caller may see, as one closed tree.

    OaError
    ├── BadInput          a value is wrong; says which, and the right form
    │   └── BadRecord     a line of a file or a document is wrong; says where
    ├── NotFound          no such thing, or none that this caller may see
    ├── Forbidden         known caller, not allowed
    ├── Unauthenticated   no caller, or a token that is no longer good
    ├── Conflict          the thing has changed, or was already done differently
    ├── TaskGone          the task expired, was skipped, or belongs to another
    ├── NothingToDo       no task of the wanted kind is open for this contributor
    ├── TooMany           a limit was reached; `retry_after` seconds says when to try again
    ├── Unavailable       a part that is needed does not answer
    └── Corrupt           stored bytes do not match their hash

Each carries a `code` from a closed list (`CODES`), a message that names the wrong value and the right form, and
optionally the `path` of the input field. Anything else that is raised is a defect and is masked at the edge.
"""

from __future__ import annotations

CODES: dict[str, str] = {
    "BAD_INPUT": "A value is missing, malformed or out of range.",
    "BAD_RECORD": "A line of an import or a stored record is not of the form expected.",
    "NOT_FOUND": "No such thing, or none that you may see.",
    "FORBIDDEN": "You may not do this.",
    "UNAUTHENTICATED": "Sign in first, or renew the token.",
    "TERMS_NOT_ACCEPTED": "Accept the terms of use first: mutation `acceptTerms`.",
    "CONFLICT": "It was changed or done differently in the meantime.",
    "TASK_GONE": "The task expired, was skipped, was submitted by someone else or never was yours.",
    "NOTHING_TO_DO": "No task of that kind is open for you now.",
    "TOO_MANY": "A limit was reached; try again later.",
    "UNAVAILABLE": "A part that this needs does not answer now.",
    "CORRUPT": "Stored bytes do not match their recorded hash.",
    "BAD_RANKING": "A ranking is no order of the replies served.",
    "UNKNOWN_TASK_KIND": "There is no task kind of that name.",
    "TEXT_TOO_LONG": "The text is longer than the collection allows.",
    "TEXT_EMPTY": "The text has no visible character.",
    "DUPLICATE_TEXT": "You sent the same text a short while ago.",
    "BAD_LABELS": "A label is unknown, out of range, or a mandatory one is missing.",
    "BAD_SPEC": "A job specification is wrong.",
    "STAGE_CHANGED": "A finished or running stage of this name has other settings or inputs.",
    "STAGE_FAILED": "A training stage ended in an error that retries did not cure.",
    "GATE_FAILED": "A check that must pass before the next step did not.",
    "BUCKET_MISSING": "The object store has no such bucket.",
    "PORT_IN_USE": "Another program listens on that port.",
    "QUEUE_FULL": "The serving node has no room for another request now.",
    "CONTEXT_TOO_LONG": "The conversation does not fit the model's context.",
    "DEADLINE": "The answer took longer than it was given.",
    "NO_MODEL": "No model version is promoted, or the one named does not exist.",
    "BAD_QUERY": "The GraphQL document or its variables do not fit the schema, or are over a limit of documents.",
    "TOO_COSTLY": "The operation would cost more than one may; ask for smaller pages or fewer fields.",
    "PERSISTED_QUERY_NOT_FOUND": "No document of that hash is registered; send its text with the hash.",
    "IDEMPOTENCY_CONFLICT": "The idempotency key was used for another request, or for one whose answer is shown once.",
    "INTERNAL": "A defect on our side; its correlation id finds it in the log.",
}


class OaError(Exception):
    """Base of all errors that are meant for a caller.

    Args:
        message: names the wrong value and the right form.
        code: one of `CODES`; each class has its usual one.
        path: the input field concerned, outermost first.
        retry_after: seconds after which a retry makes sense, where that is known.
    """

    default_code = "BAD_INPUT"

    def __init__(
        self, message: str, *, code: str | None = None, path: tuple[str, ...] = (), retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.path = path
        self.retry_after = retry_after
        if self.code not in CODES:
            raise ValueError(f"unknown error code {self.code!r}: add it to core.errors.CODES")


class BadInput(OaError):
    """A value is wrong."""


class BadRecord(BadInput):
    """A line of a file, or a stored record, is wrong.

    Args:
        line: line number, from 1, where one is known.
    """

    default_code = "BAD_RECORD"

    def __init__(self, message: str, *, line: int | None = None, code: str | None = None) -> None:
        super().__init__(f"line {line}: {message}" if line is not None else message, code=code)
        self.line = line


class NotFound(OaError):
    """No such thing, or none that this caller may see."""

    default_code = "NOT_FOUND"


class Forbidden(OaError):
    """A known caller who is not allowed."""

    default_code = "FORBIDDEN"


class Unauthenticated(OaError):
    """No caller, or a token that is no longer good."""

    default_code = "UNAUTHENTICATED"


class Conflict(OaError):
    """The thing has changed, or was already done differently."""

    default_code = "CONFLICT"


class TaskGone(OaError):
    """The task expired, was skipped, or belongs to another."""

    default_code = "TASK_GONE"


class NothingToDo(OaError):
    """No task of the wanted kind is open for this contributor."""

    default_code = "NOTHING_TO_DO"


class TooMany(OaError):
    """A limit was reached."""

    default_code = "TOO_MANY"


class Unavailable(OaError):
    """A part that is needed does not answer."""

    default_code = "UNAVAILABLE"


class Corrupt(OaError):
    """Stored bytes do not match their hash."""

    default_code = "CORRUPT"
