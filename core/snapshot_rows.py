"""Rows of training data from conversation trees. Pure: one tree in, rows out, in a fixed order.

Only messages that are accepted and not deleted, and whose every ancestor is, take part. A reply by a model is never a
target of fine-tuning, in any turn of a thread; it may be one side of a preference pair, and a prompt may follow it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from core.errors import BadInput
from core.records import TREE_STATES, Message, Tree
from core.treeform import by_rank

Row = dict[str, Any]
Children = Mapping[str, Sequence[Message]]

ROLE_NAMES = {"prompter": "user", "assistant": "assistant"}


@dataclass(frozen=True)
class Filters:
    """Which trees and messages become rows.

    Attributes:
        states: tree states.
        langs: languages of the root; None for all.
        origins: origins of trees; None for all.
        top_k: `sft`: how many of the best-ranked replies to a prompt are good enough to learn from.
        synthetic: `preference`: whether replies by models may be in pairs.
    """

    states: tuple[str, ...] = ("ready_for_export",)
    langs: tuple[str, ...] | None = None
    origins: tuple[str, ...] | None = None
    top_k: int = 1
    synthetic: bool = True

    def as_dict(self) -> dict[str, Any]:
        """JSON values; sets of names are sorted, so that equal filters are equal."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def parse_filters(values: Mapping[str, Any] | None) -> Filters:
    """`Filters` from plain values.

    Raises:
        BadInput: naming the field, its value and the right form.
    """
    given = dict(values or {})
    for name in given.keys() - set(Filters.__dataclass_fields__):
        raise BadInput(f"filter {name!r} is none of {', '.join(Filters.__dataclass_fields__)}", path=("filters", name))
    chosen: dict[str, Any] = {}
    for name, value in given.items():
        right, form = FORMS[name]
        if not right(value):
            raise BadInput(f"filter {name} is {value!r}; it must be {form}", path=("filters", name))
        chosen[name] = tuple(sorted(set(value))) if isinstance(value, list | tuple | set) else value
    return Filters(**chosen)


def _names(value: Any) -> bool:
    return isinstance(value, list | tuple | set) and all(isinstance(each, str) for each in value)


FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "states": (lambda value: _names(value) and set(value) <= set(TREE_STATES), f"a list of {', '.join(TREE_STATES)}"),
    "langs": (lambda value: value is None or _names(value), "null or a list of language tags"),
    "origins": (lambda value: value is None or _names(value), "null or a list of origins"),
    "top_k": (lambda value: type(value) is int and 1 <= value <= 100, "a whole number from 1 to 100"),
    "synthetic": (lambda value: isinstance(value, bool), "true or false"),
}


def split_place(seed: int, tree_id: str) -> int:
    """Where the hash of seed and tree id falls in [0, 1,000,000): below a threshold the tree is held out."""
    digest = hashlib.sha256(f"{seed}:{tree_id}".encode()).digest()
    return int.from_bytes(digest[:8]) % 1_000_000


def rows_of(kind: str, tree: Tree, messages: Iterable[Message], split: str, filters: Filters) -> list[Row]:
    """The rows of one tree.

    Args:
        kind: `sft`, `preference` or `prompts`.
        tree: its record.
        messages: all of it, in any order.
        split: `train` or `validation`.
        filters: `top_k` and `synthetic` matter here; the others choose trees.
    """
    root, children = _usable(messages)
    if root is None:
        return []
    rows = BUILDERS[kind](root, children, filters)
    return [{**row, "tree_id": tree.id, "split": split} for row in rows]


def _usable(messages: Iterable[Message]) -> tuple[Message | None, Children]:
    """The root, and the usable replies to each message, best first; those under one that is not are never reached."""
    children: dict[str, list[Message]] = {}
    root = None
    for message in sorted(messages, key=by_rank):
        if message.usable and message.parent_id is None:
            root = message
        elif message.usable and message.parent_id is not None:
            children.setdefault(message.parent_id, []).append(message)
    return root, children


def _sft(root: Message, children: Children, filters: Filters) -> Iterator[Row]:
    for thread in _best_threads([root], children, filters.top_k):
        yield {"thread_id": thread[-1].id, "lang": root.lang, "messages": [_turn(message) for message in thread]}


def _best_threads(thread: list[Message], children: Children, top_k: int) -> Iterator[list[Message]]:
    """Threads that go on from `thread`, which ends in a prompter's message, through good replies as far as they go."""
    for reply in _good(children.get(thread[-1].id, ()), top_k):
        here = [*thread, reply]
        longer = [
            found for prompt in children.get(reply.id, ()) for found in _best_threads([*here, prompt], children, top_k)
        ]
        yield from longer or [here]


def _good(replies: Sequence[Message], top_k: int) -> list[Message]:
    """The replies by people that are ranked among the best `top_k`, or the only reply that there is."""
    best = (
        [reply for reply in replies if reply.rank is not None and reply.rank < top_k] if len(replies) > 1 else replies
    )
    return [reply for reply in best if not reply.synthetic]


def _preference(root: Message, children: Children, filters: Filters) -> Iterator[Row]:
    for thread in _prompts_of(root, children):
        prompt = thread[-1]
        ranked = [reply for reply in children.get(prompt.id, ()) if reply.rank is not None]
        ranked = [reply for reply in ranked if filters.synthetic or not reply.synthetic]
        pairs = [(a, b) for a, b in combinations(ranked, 2) if a.rank != b.rank and a.text != b.text]
        for better, worse in pairs:
            yield {
                "pair_id": f"{better.id}|{worse.id}",
                "parent_id": prompt.id,
                "lang": root.lang,
                "prompt": [_turn(message) for message in thread],
                "chosen": better.text,
                "rejected": worse.text,
                "chosen_id": better.id,
                "rejected_id": worse.id,
                "margin": _margin(ranked, better, worse),
                "weight": 1 / len(pairs),
            }


def _margin(ranked: Sequence[Message], better: Message, worse: Message) -> float:
    """Places between the two, as a part of the places between first and last: in (0, 1]."""
    return (ranked.index(worse) - ranked.index(better)) / (len(ranked) - 1)


def _prompts(root: Message, children: Children, _: Filters) -> Iterator[Row]:
    for thread in _prompts_of(root, children):
        yield {"prompt_id": thread[-1].id, "lang": root.lang, "prompt": [_turn(message) for message in thread]}


def _prompts_of(root: Message, children: Children) -> Iterator[list[Message]]:
    """Every thread that ends in a prompter's message, depth first."""
    waiting = [[root]]
    while waiting:
        thread = waiting.pop()
        if thread[-1].role == "prompter":
            yield thread
        waiting.extend([*thread, reply] for reply in reversed(children.get(thread[-1].id, ())))


def _turn(message: Message) -> Row:
    return {"role": ROLE_NAMES[message.role], "content": message.text, "message_id": message.id}


BUILDERS: dict[str, Callable[[Message, Children, Filters], Iterator[Row]]] = {
    "sft": _sft,
    "preference": _preference,
    "prompts": _prompts,
}


def message_ids(kind: str, rows: Iterable[Row]) -> set[str]:
    """Ids of the messages whose text is in `rows`."""
    found: set[str] = set()
    for row in rows:
        found.update(turn["message_id"] for turn in row["messages" if kind == "sft" else "prompt"])
        if kind == "preference":
            found.update((row["chosen_id"], row["rejected_id"]))
    return found
