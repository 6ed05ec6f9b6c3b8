"""Documents as the embedded store keeps them: JSON texts that mark dates, and how one is changed by update operators.

Everything here gives what neosqlite gives for the same, or raises `Unlike`: then the general way is gone. Its quirks
are kept: at the top of `$set` a date becomes text and a truth value a number, within a nested value neither does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

Document = dict[str, Any]
STEP = re.compile(r"[A-Za-z0-9_-]+")
"""Parts of a path that mean the same to Python and to SQLite."""
OPERATORS = frozenset(("$set", "$inc", "$push", "$unset", "$setOnInsert"))
OBJECT_ID = re.compile(r"[0-9a-fA-F\s]{24}")
DATE_LIKE = re.compile(r"\s*\d\d(\d\d)?[/-]")
"""Texts that neosqlite may take for an ObjectId's, or compare as dates, and some others."""
MISSING: Any = object()
LARGEST = 2**62
"""Whole numbers beyond are left to SQLite, which turns sums of them into fractions."""


class Unlike(Exception):
    """Something that is not answered here but in the general way."""


def _marked(value: Any) -> Any:
    """What JSON has no form for."""
    if isinstance(value, datetime):
        return {"$date": value.isoformat()}
    raise Unlike(type(value).__name__)


def _dated(found: Document) -> Any:
    """A marked date as a date."""
    if "$date" not in found:
        return found
    text = found["$date"]
    if type(text) is not str:
        raise Unlike("a date as a number")
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return found


_encode: Callable[[Any], str] = json.JSONEncoder(default=_marked, allow_nan=False).encode
_raw: Callable[[str], Any] = json.JSONDecoder().decode
_with_dates: Callable[[str], Any] = json.JSONDecoder(object_hook=_dated).decode


def written(value: Any) -> str:
    """The text of a document, or of a value within one.

    Raises:
        Unlike: it holds what has no plain form here (bytes, an ObjectId, no number).
    """
    try:
        return _encode(value)
    except (ValueError, RecursionError) as error:
        raise Unlike(str(error)) from None


def read(text: str, identity: Any) -> Document:
    """The document of a text, dates as dates; one that was cut to a few fields gets its id at its end."""
    document = _decoded(text, _with_dates if '"$date"' in text else _raw)
    if type(document.setdefault("_id", identity)) is not str:
        raise Unlike("an id")
    return document


def read_raw(text: str) -> Document:
    """A whole document with marked dates left as they are kept."""
    document = _decoded(text, _raw)
    if type(document.get("_id")) is not str:
        raise Unlike("an id")
    return document


def _decoded(text: str, decode: Callable[[str], Any]) -> Document:
    if "__neosqlite_" in text:
        raise Unlike("a value of another type")
    document = decode(text)
    if type(document) is not dict:
        raise Unlike("no document")
    return document


def plain_text(value: Any) -> bool:
    """Whether something is text that nothing takes for a date, an ObjectId or a field."""
    return (
        type(value) is str
        and (len(value) != 24 or OBJECT_ID.fullmatch(value) is None)
        and not value.startswith("$")
        and "\0" not in value
        and DATE_LIKE.match(value) is None
    )


def is_whole(value: Any) -> bool:
    """Whether something is a whole number that every part of the store takes for one."""
    return isinstance(value, int) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def holds(document: Document, guards: Document) -> bool:
    """Whether a document, as it is kept, meets the conditions beside its id.

    Conditions are equalities of a field at the top with text, a whole number or nothing, `$nin` of texts, and `$exists`
    of a path.
    """
    met = True
    for name, wanted in guards.items():
        if type(wanted) is dict and type(wanted.get("$exists")) is bool and len(wanted) == 1:
            met = (_at(document, _steps(name)) is not None) == wanted["$exists"] and met
            continue
        if not STEP.fullmatch(name):
            raise Unlike(name)
        held = document.get(name)
        if wanted is None:
            met = met and held is None
        elif type(wanted) is dict:
            met = not _holds_any(held, wanted) and met
        elif not (plain_text(wanted) or is_whole(wanted)) or not (held is None or type(held) in (str, int)):
            raise Unlike(name)
        else:
            met = met and held == wanted
    return met


def _holds_any(held: Any, wanted: Document) -> bool:
    """Whether a list of texts holds one of `{"$nin": texts}`."""
    refused = wanted.get("$nin")
    if len(wanted) != 1 or type(refused) is not list or not refused or not all(map(plain_text, refused)):
        raise Unlike("a condition")
    if held is None:
        return False
    if type(held) is not list or not all(type(each) is str for each in held):
        raise Unlike("a list of something else")
    return any(each in refused for each in held)


def changed(document: Document, update: Document) -> Document:
    """The document, as it is kept, after the operators of `update`; the one given stays as it is."""
    if not update or not update.keys() <= OPERATORS:
        raise Unlike("an operator")
    _check_paths([path for name, fields in update.items() if name != "$setOnInsert" for path in fields], document)
    made = dict(document)
    for path in update.get("$unset", ()):
        _take(made, path.split("."))
    for path, value in update.get("$set", {}).items():
        if "." not in path:
            made[path] = _as_set(value)
    for name, fields in update.items():
        for path, value in fields.items():
            if name == "$set" and "." in path:
                _put(made, path.split("."), _as_set(value))
            elif name == "$inc":
                _put(made, path.split("."), _sum(_at(document, path.split(".")), value))
            elif name == "$push":
                _put(made, path.split("."), _longer(_at(document, path.split(".")), value))
    return made


def replaced(document: Document, whole: Document) -> Document:
    """What stands in a document's place: `whole`, with the id."""
    if whole.get("_id", document["_id"]) != document["_id"]:
        raise Unlike("another id")
    return {**whole, "_id": document["_id"]}


def inserted(identity: str, update: Document) -> Document:
    """The document that an update makes where there was none with this id."""
    if not update.keys() <= {"$set", "$setOnInsert"}:
        raise Unlike("an operator")
    paths = [path for fields in update.values() for path in fields]
    _check_paths(paths, {})
    if any("." in path for path in paths):
        raise Unlike("a nested field")
    return {"_id": identity} | {path: value for fields in update.values() for path, value in fields.items()}


def _check_paths(paths: list[str], document: Document) -> None:
    """Paths that mean the same to Python and to SQLite, none of which touches another."""
    nested = [path for path in paths if len(_steps(path)) > 1]
    plain = {path for path in paths if "." not in path}
    if len(plain) + len(nested) != len(paths) or any(path in document for path in nested):
        raise Unlike("a path named twice")
    if nested and not plain.isdisjoint(path.partition(".")[0] for path in nested):
        raise Unlike("a path within another")
    for path in nested:
        if sum((other + ".").startswith(path + ".") for other in nested) > 1:
            raise Unlike("a path within another")


def _as_set(value: Any) -> Any:
    """A value as `$set` leaves it: a nested one as it is, another as SQLite binds it."""
    kind = type(value)
    if kind in (dict, list):
        return _raw(written(value))
    if kind is bool:
        return int(value)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if kind is float:
        if float(f"{value:.15g}") != value:  # SQLite keeps fifteen digits
            raise Unlike("a long fraction")
        return value
    if value is None or (kind is str and "\0" not in value) or is_whole(value):
        return value
    raise Unlike(kind.__name__)


def _at(document: Document, steps: list[str]) -> Any:
    """The value at a path; None where there is none."""
    found: Any = document
    for step in steps:
        if type(found) is not dict:
            raise Unlike("no document on the way")
        found = found.get(step, MISSING)
        if found is MISSING:
            return None
        if found is None:
            raise Unlike("nothing instead of a value")
    return found


def _steps(path: str) -> list[str]:
    """The names on a path."""
    steps = path.split(".")
    if steps[0] == "_id" or not all(map(STEP.fullmatch, steps)):
        raise Unlike(path)
    return steps


def _put(made: Document, steps: list[str], value: Any) -> None:
    """Set the value at a path; documents on the way are made, or copied."""
    place = made
    for step in steps[:-1]:
        inner = place.get(step, {})
        if type(inner) is not dict:
            raise Unlike("no document on the way")
        place[step] = dict(inner)
        place = place[step]
    place[steps[-1]] = value


def _take(made: Document, steps: list[str]) -> None:
    """Remove what is at a path."""
    place = made
    for step in steps[:-1]:
        if step not in place:
            return
        if type(place[step]) is not dict:
            raise Unlike("no document on the way")
        place[step] = dict(place[step])
        place = place[step]
    place.pop(steps[-1], None)


def _sum(held: Any, more: Any) -> int:
    if not is_whole(more) or not (held is None or is_whole(held)):
        raise Unlike("no whole number")
    return int(held or 0) + int(more)


def _longer(held: Any, more: Any) -> list[Any]:
    """A list of texts and whole numbers with more of them at its end, cut to its last few where asked."""
    asked: Document = dict(more) if type(more) is dict else {"$each": [more]}
    added, last = asked.pop("$each", None), asked.pop("$slice", 1 - LARGEST)
    kept = [] if held is None else held
    if asked or type(added) is not list or type(kept) is not list or not is_whole(last) or last >= 0:
        raise Unlike("a list's change")
    whole = [*kept, *added]
    if not all(type(each) is str or is_whole(each) for each in whole):
        raise Unlike("a list of something else")
    return whole[last:]
