"""The rules' errors in a caller's words: fields in camel case, ids as the caller sent them, names of enums as theirs.

The rules below speak of `task_id`, of their own ids, of `initial_prompt` and of `spam`; a caller knows `taskId`, opaque
ids, `INITIAL_PROMPT` and `SPAM`. Knows the names of an input's fields and its ids; does not know any code or rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from core.errors import BadInput, OaError
from core.labels import WIDGETS
from core.records import TASK_KINDS

from .relay import parse_id

_KIND = re.compile(rf"\b({'|'.join(TASK_KINDS)})\b")
_LABEL = re.compile(rf"\b({'|'.join(WIDGETS)})\b")


def camel(name: str) -> str:
    """`parent_id` as clients spell it: `parentId`."""
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def in_callers_words(error: OaError, input: object = None) -> tuple[str, list[str]]:
    """Message and path of `error` as the sender of `input` knows things.

    An id in the message becomes the one that was sent; where the error says no path, the id's field is the path. A
    path through something that the input has flat (`sampling.top_p`) loses that step. Below a field of JSON, names are
    the caller's own and stay as they are (`filters.min_reviews`).

    Args:
        error: what a rule raised.
        input: a mutation's input object; None for none.
    """
    path, message = list(error.path), _KIND.sub(lambda kind: kind[0].upper(), error.message)
    if path[:1] == ["labels"]:  # elsewhere these are words of JSON, or of English
        message = _LABEL.sub(lambda label: label[0].upper(), message)
    if len(path) > 1 and not hasattr(input, path[0]) and hasattr(input, path[1]):
        del path[0]
    if path and isinstance(getattr(input, path[0], None), list):
        del path[1:]  # of a list, rules know the values, not the places
    theirs = path[1:] if path and isinstance(getattr(input, path[0], None), dict) else []
    path = path[: len(path) - len(theirs)]
    for name in path:
        message = message.replace(name, camel(name)) if "_" in name else message
    for name, value, raw in _ids(input):
        if raw in message:
            message, path = message.replace(raw, value), path or [name]
    return message, [*map(camel, path), *theirs]


def _ids(input: object) -> Iterator[tuple[str, str, str]]:
    """Name, value and own id of every field of `input` that holds an id of ours."""
    for name, value in getattr(input, "__dict__", {}).items():
        if name.endswith("_id") and isinstance(value, str):
            try:
                yield name, value, parse_id(value)[1]
            except BadInput:
                continue
