"""Which trees and messages become rows of a snapshot. Pure.

A message that is left out takes all that follows it along, for a thread without one of its turns is no thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date
from typing import Any

from core.errors import BadInput
from core.labels import WIDGETS
from core.records import TREE_STATES, Message, Tree

CHAT = "chat"
"""Origin of trees that were made of a rated chat, with its owner's consent to training."""


@dataclass(frozen=True)
class Filters:
    """What is chosen.

    Attributes:
        states: tree states.
        langs: languages of the root; None for all.
        origins: origins of trees; None for all.
        collections: ids of collections; None for all.
        top_k: `sft`: how many of the best-ranked replies to a prompt are good enough to learn from.
        synthetic: whether replies by models take part at all.
        all_wrong: whether, in `sft` and `preference`, replies take part of which most who ranked them said that all are
            factually wrong.
        chats: whether trees that were made of chats take part; without them the people of the collection alone.
        min_reviews: reviews that a message must have had.
        min_labels: label -> least mean; a message without an answer to the label is left out.
        max_labels: label -> greatest mean; a message without an answer to the label stays.
        since, until: days (YYYY-MM-DD, UTC) between which trees were begun, both included.
    """

    states: tuple[str, ...] = ("ready_for_export",)
    langs: tuple[str, ...] | None = None
    origins: tuple[str, ...] | None = None
    top_k: int = 1
    synthetic: bool = True
    collections: tuple[str, ...] | None = None
    chats: bool = True
    all_wrong: bool = False
    min_reviews: int = 0
    min_labels: Mapping[str, float] = field(default_factory=dict)
    max_labels: Mapping[str, float] = field(default_factory=dict)
    since: str | None = None
    until: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON values; sets of names are sorted, so that equal filters are equal.

        Filters of the first format are always named, later ones where they are set: the version of a snapshot does not
        depend on what could be filtered by when it was frozen.
        """
        chosen = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in FIRST or value not in (None, {}, each.default):
                chosen[each.name] = list(value) if isinstance(value, tuple) else value
        return chosen

    def takes_tree(self, tree: Tree) -> bool:
        """Whether a tree, of a state and language that are wanted, takes part."""
        begun = tree.created_at.astimezone(UTC).date().isoformat()
        return (
            (self.origins is None or tree.origin in self.origins)
            and (self.collections is None or tree.collection in self.collections)
            and (self.chats or tree.origin != CHAT)
            and (self.since is None or begun >= self.since)
            and (self.until is None or begun <= self.until)
        )

    def takes(self, message: Message) -> bool:
        """Whether a usable message takes part."""
        means = {name: label["value"] for name, label in message.labels.items()}
        return (
            (self.synthetic or not message.synthetic)
            and message.review_count >= self.min_reviews
            and all(name in means and means[name] >= least for name, least in self.min_labels.items())
            and all(means.get(name, most) <= most for name, most in self.max_labels.items())
        )


FIRST = ("states", "langs", "origins", "top_k", "synthetic")


def parse_filters(values: Mapping[str, Any] | None) -> Filters:
    """`Filters` from plain values.

    Raises:
        BadInput: naming the field, its value and the right form.
    """
    given = dict(values or {})
    for name in given.keys() - set(FORMS):
        raise BadInput(f"filter {name!r} is none of {', '.join(FORMS)}", path=("filters", name))
    chosen: dict[str, Any] = {}
    for name, value in given.items():
        right, form = FORMS[name]
        if not right(value):
            raise BadInput(f"filter {name} is {value!r}; it must be {form}", path=("filters", name))
        chosen[name] = _ordered(value)
    return Filters(**chosen)


def _ordered(value: Any) -> Any:
    if isinstance(value, list | tuple | set):
        return tuple(sorted(set(value)))
    return {name: float(value[name]) for name in sorted(value)} if isinstance(value, Mapping) else value


def _names(value: Any) -> bool:
    return isinstance(value, list | tuple | set) and all(isinstance(each, str) for each in value)


def _bounds(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        name in WIDGETS and type(bound) in (int, float) and 0 <= bound <= 1 for name, bound in value.items()
    )


def _day(value: Any) -> bool:
    try:
        return value is None or (isinstance(value, str) and date.fromisoformat(value).isoformat() == value)
    except ValueError:
        return False


FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "states": (lambda value: _names(value) and set(value) <= set(TREE_STATES), f"a list of {', '.join(TREE_STATES)}"),
    "langs": (lambda value: value is None or _names(value), "null or a list of language tags"),
    "origins": (lambda value: value is None or _names(value), "null or a list of origins"),
    "collections": (lambda value: value is None or _names(value), "null or a list of collections' ids"),
    "top_k": (lambda value: type(value) is int and 1 <= value <= 100, "a whole number from 1 to 100"),
    "synthetic": (lambda value: isinstance(value, bool), "true or false"),
    "chats": (lambda value: isinstance(value, bool), "true or false"),
    "all_wrong": (lambda value: isinstance(value, bool), "true or false"),
    "min_reviews": (lambda value: type(value) is int and 0 <= value <= 1000, "a whole number from 0 to 1000"),
    "min_labels": (_bounds, "an object of labels with numbers from 0 to 1"),
    "max_labels": (_bounds, "an object of labels with numbers from 0 to 1"),
    "since": (_day, "null or a day like 2026-03-14"),
    "until": (_day, "null or a day like 2026-03-14"),
}
