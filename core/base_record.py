"""What all records have in common: how one becomes a document of the store and comes back. Knows no record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, replace
from functools import cache
from typing import Any, Self

from core.times import moment


@dataclass(frozen=True, kw_only=True)
class Record:
    """A record with an id; its document has `_id` in place of `id`, and lists in place of tuples."""

    id: str

    def to_document(self) -> dict[str, Any]:
        """The document to store: every field, and the scalar keys that reads go by."""
        document = {name: _stored(value) for name, value in self.__dict__.items()}
        return {"_id": document.pop("id")} | document | self.keys()

    def changes_from(self, before: Self) -> dict[str, Any]:
        """What is to be set in the document of `before` so that it becomes this record's; the fewer, the cheaper."""
        was, changed = before.__dict__, {}
        for name, value in self.__dict__.items():
            if value is not was[name] and value != was[name]:
                changed[name] = _stored(value)
        if not changed:
            return {}
        keys = before.keys()
        return changed | {name: key for name, key in self.keys().items() if name not in keys or keys[name] != key}

    def revised(self, **changes: Any) -> Self:
        """As `dataclasses.replace`; itself where nothing is different, as is mostly so."""
        return replace(self, **changes) if any(getattr(self, name) != changes[name] for name in changes) else self

    def keys(self) -> dict[str, Any]:
        """The scalar keys that follow from the fields; to be written with every change of those fields."""
        return self._keys()

    def _keys(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The record of a stored document; fields that it lacks take their defaults, unknown ones are left out."""
        record = object.__new__(cls)
        values = record.__dict__  # filled here: a frozen class sets its fields one by one, in three times the time
        values["id"] = document["_id"]
        kind: Any = cls  # of which mypy does not know that it can be hashed
        for name, read, default in _fields(kind):
            value = document.get(name, MISSING)
            if value is MISSING:
                value = default()
            elif read is not None and (value is not None or read is bool):
                value = read(value)
            values[name] = value
        return record


def _stored(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@cache
def _fields(record: type[Record]) -> list[tuple[str, Callable[[Any], Any] | None, Callable[[], Any]]]:
    """The fields of a kind of record but its id: what turns the stored value of each back, None for nothing; and what
    gives its value where there is none."""
    return [(item.name, _reader(str(item.type)), _default(item)) for item in fields(record) if item.name != "id"]


def _default(item: Field[Any]) -> Callable[[], Any]:
    if item.default_factory is not MISSING:
        return item.default_factory
    if item.default is not MISSING:
        return lambda: item.default

    def required() -> Any:
        raise TypeError(f"a stored record has no {item.name}")

    return required


def _reader(declared: str) -> Callable[[Any], Any] | None:
    if declared.startswith("tuple"):
        return tuple
    if declared == "bool":  # the embedded document store turns one that an update sets into 0 or 1
        return bool
    return moment if declared.startswith("datetime") else None
