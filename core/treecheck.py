"""What a tree or message of an import must be. Pure; raises `BadRecord` naming field, value and right form.

Knows the fields of Open-Assistant's exports, their types and limits. Unknown fields are allowed: they are carried.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from core.errors import BadRecord
from core.records import ROLES, TREE_STATES

MAX_TEXT = 65_536
"""Characters of one message; the longest of OASST1 and OASST2 have about 30,000."""
MAX_ID = 128
MAX_DEPTH = 200
MAX_MESSAGES = 20_000
"""Messages of one tree, which is held in memory as a whole."""
MAX_COUNT = 2**31 - 1
IDENTITY = re.compile(r"^[^\x00-\x20\x7f|$]+$")
LANG = re.compile(r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")
NAME = re.compile(r"^[A-Za-z0-9_+-]{1,64}$")


def check_tree(value: Mapping[str, Any]) -> None:
    """Check the fields of a tree's own (not its messages)."""
    if "message_tree_id" not in value:
        raise BadRecord("neither message_tree_id nor message_id; a tree or a message is wanted")
    _check(value, "message_tree_id", _is_id, ID_FORM)
    _check(value, "tree_state", lambda state: state in (None, *TREE_STATES), f"one of {', '.join(TREE_STATES)}")
    _check(
        value, "origin", _optional(lambda text: isinstance(text, str) and len(text) <= 1024), "text of 1,024 at most"
    )
    prompt = value.get("prompt")
    if not isinstance(prompt, dict):
        raise BadRecord(f"prompt is {_shown(prompt)}; it must be the root message, an object")
    if prompt.get("message_id") != value["message_tree_id"]:
        wrong = _shown(prompt.get("message_id"))
        raise BadRecord(f"prompt.message_id is {wrong}; it must be the message_tree_id {value['message_tree_id']!r}")


def check_message(node: Any, parent_id: str | None, parent_role: str | None) -> None:
    """Check one message, given what stands above it (None for a root)."""
    if not isinstance(node, dict):
        raise BadRecord(f"a reply is {_shown(node)}; it must be an object")
    for name, (right, form) in FIELDS.items():
        if name in node or name in REQUIRED:
            _check(node, name, right, form)
    where = f"message {node['message_id']!r}"
    if node.get("parent_id") not in (None, parent_id):
        raise BadRecord(f"{where}: parent_id is {_shown(node['parent_id'])}, but it stands under {parent_id!r}")
    wanted = "assistant" if parent_role == "prompter" else "prompter"
    if node["role"] != wanted:
        under = f"under a message of role {parent_role!r}" if parent_role else "at the root"
        raise BadRecord(f"{where}: role is {node['role']!r}; {under} it must be {wanted!r}")


def _check(value: Mapping[str, Any], name: str, right: Callable[[Any], bool], form: str) -> None:
    if not right(value.get(name)):
        about = f"message {value['message_id']!r}: " if _is_id(value.get("message_id")) and name != "message_id" else ""
        found = "missing" if name not in value else _shown(value[name])
        raise BadRecord(f"{about}{name} is {found}; it must be {form}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _optional(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or right(value)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_ID and IDENTITY.match(value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MAX_TEXT and "\x00" not in value


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 1024 and "\x00" not in value


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and 1970 <= datetime.fromisoformat(value).year < 9999
    except ValueError:
        return False


def _is_lang(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 32 and LANG.match(value) is not None


def _are_emojis(value: Any) -> bool:
    return isinstance(value, dict) and all(NAME.match(code) and _is_count(count) for code, count in value.items())


def _are_labels(value: Any) -> bool:
    return isinstance(value, dict) and all(NAME.match(name) and _is_label(item) for name, item in value.items())


def _is_label(item: Any) -> bool:
    if not isinstance(item, dict) or not _is_count(item.get("count")):
        return False
    value = item.get("value")
    return value is None or (_is_number(value) and 0 <= value <= 1)


def _are_events(value: Any) -> bool:
    lists = value.values() if isinstance(value, dict) else [None]
    return all(isinstance(events, list) and all(isinstance(event, dict) for event in events) for events in lists)


def _are_scores(value: Any) -> bool:
    return isinstance(value, dict) and all(score is None or _is_number(score) for score in value.values())


ID_FORM = f"text of 1 to {MAX_ID} characters without spaces, control characters, | or $"
REQUIRED = ("message_id", "text", "role")
FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "message_id": (_is_id, ID_FORM),
    "parent_id": (_optional(_is_id), f"null or {ID_FORM}"),
    "user_id": (_optional(_is_short), "null or text of at most 1,024 characters"),
    "created_date": (_optional(_is_date), "null or a date like 2026-03-14T15:09:26.535897+00:00, from 1970 on"),
    "text": (_is_text, f"text of 1 to {MAX_TEXT:,} characters that can be seen"),
    "role": (lambda role: role in ROLES, " or ".join(repr(role) for role in ROLES)),
    "lang": (_optional(_is_lang), "null or a language tag such as en or pt-BR"),
    "review_count": (_optional(_is_count), "null or a whole number from 0"),
    "review_result": (_optional(_is_bool), "true, false or null"),
    "deleted": (_optional(_is_bool), "true, false or null"),
    "rank": (_optional(_is_count), "null or a whole number from 0"),
    "synthetic": (_optional(_is_bool), "true, false or null"),
    "model_name": (_optional(_is_short), "null or text of at most 1,024 characters"),
    "emojis": (_optional(_are_emojis), "null or an object of codes with counts"),
    "labels": (_optional(_are_labels), 'null or an object of names with {"value": 0 to 1, "count": number}'),
    "events": (_optional(_are_events), "null or an object of lists of objects"),
    "detoxify": (_optional(_are_scores), "null or an object of numbers"),
    "replies": (_optional(lambda replies: isinstance(replies, list)), "null or a list of messages"),
}
