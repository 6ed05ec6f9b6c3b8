"""Rows of training data from conversation trees. Pure: one tree in, rows out, in a fixed order.

Only messages that are accepted and not deleted, and whose every ancestor is, take part. A reply by a model is never a
target of fine-tuning, in any turn of a thread; it may be one side of a preference pair, and a prompt may follow it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from core.flatform import flat_messages
from core.hubform import row_of
from core.records import Message, Tree
from core.snapshot_filters import Filters
from core.treeform import by_rank, export_tree

Row = dict[str, Any]
Children = Mapping[str, Sequence[Message]]

ROLE_NAMES = {"prompter": "user", "assistant": "assistant"}


def split_place(seed: int, tree_id: str) -> int:
    """Where the hash of seed and tree id falls in [0, 1,000,000): below a threshold the tree is held out."""
    digest = hashlib.sha256(f"{seed}:{tree_id}".encode()).digest()
    return int.from_bytes(digest[:8]) % 1_000_000


def rows_of(kind: str, tree: Tree, messages: Iterable[Message], split: str, filters: Filters) -> list[Row]:
    """The rows of one tree.

    Args:
        kind: `sft`, `preference`, `prompts` or `trees`.
        tree: its record.
        messages: all of it, in any order.
        split: `train` or `validation`.
        filters: those about messages matter here; the others choose trees.
    """
    root, children = _usable(messages, filters, kind in ("sft", "preference") and not filters.all_wrong)
    if root is None:
        return []
    if kind == "trees":
        return [row | {"split": split} for row in _whole(tree, root, children)]
    rows = BUILDERS[kind](root, children, filters)
    return [{**row, "tree_id": tree.id, "split": split} for row in rows]


def _usable(messages: Iterable[Message], filters: Filters, right: bool) -> tuple[Message | None, Children]:
    """The root, and the usable replies to each message, best first; those under one that is not are never reached.

    Args:
        right: leave replies out that are all factually wrong.
    """
    children: dict[str, list[Message]] = {}
    root = None
    messages = list(messages)
    wrong = {message.id for message in messages if right and message.replies_wrong}
    for message in sorted(messages, key=by_rank):
        if not message.usable or not filters.takes(message):
            continue
        if message.parent_id is None:
            root = message
        elif message.parent_id not in wrong:
            children.setdefault(message.parent_id, []).append(message)
    return root, children


def _sft(root: Message, children: Children, filters: Filters) -> Iterator[Row]:
    for thread in _best_threads([root], children, filters.top_k):
        yield {"thread_id": thread[-1].id, "lang": root.lang, "messages": [turn_of(message) for message in thread]}


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
        pairs = list(_pairs(prompt, ranked))
        for better, worse, margin in pairs:
            yield {
                "pair_id": f"{better.id}|{worse.id}",
                "parent_id": prompt.id,
                "lang": root.lang,
                "prompt": [turn_of(message) for message in thread],
                "chosen": better.text,
                "rejected": worse.text,
                "chosen_id": better.id,
                "rejected_id": worse.id,
                "margin": margin,
                "weight": 1 / len(pairs),
                **_sureness(prompt, better, worse),
            }


def _pairs(prompt: Message, ranked: Sequence[Message]) -> Iterator[tuple[Message, Message, float]]:
    """Better, worse and margin in (0, 1], of replies with different texts, best first.

    By the consensus that is kept, the margin is the weight that puts the one before the other less the weight against
    it, as a part of all weight; a pair that is level, or that the order puts the other way round than most (a cycle),
    is none. Where none is kept it is the places between the two as a part of those between first and last.
    """
    kept = prompt.consensus
    margins = None if kept is None else {(a, b): by for a, b, by in kept["margins"]}
    for (place, better), (below, worse) in combinations(enumerate(ranked), 2):
        if better.rank == worse.rank or better.text == worse.text:
            continue
        if kept is None or margins is None:
            yield better, worse, (below - place) / (len(ranked) - 1)
        elif (better.id, worse.id) in margins:
            # Kept before there was `heard`: the weights of all rankings are that or more.
            heard = kept.get("heard") or math.fsum(kept["weights"].values())
            yield better, worse, min(1.0, margins[better.id, worse.id] / heard)


def _sureness(prompt: Message, better: Message, worse: Message) -> Row:
    """What the consensus says of the pair's certainty; `confidence` is known of neighbours in its order alone."""
    kept = prompt.consensus or {}
    steps = {(step["first"], step["second"]): step["sure"] for step in kept.get("steps", ())}
    return {
        "confidence": steps.get((better.id, worse.id)),
        "rankings": kept.get("rankings"),
        "alpha": kept.get("alpha"),
    }


def _prompts(root: Message, children: Children, _: Filters) -> Iterator[Row]:
    for thread in _prompts_of(root, children):
        yield {"prompt_id": thread[-1].id, "lang": root.lang, "prompt": [turn_of(message) for message in thread]}


def _prompts_of(root: Message, children: Children) -> Iterator[list[Message]]:
    """Every thread that ends in a prompter's message, depth first."""
    waiting = [[root]]
    while waiting:
        thread = waiting.pop()
        if thread[-1].role == "prompter":
            yield thread
        waiting.extend([*thread, reply] for reply in reversed(children.get(thread[-1].id, ())))


def _whole(tree: Tree, root: Message, children: Children) -> Iterator[Row]:
    """The rows of 18 columns of what is usable of a tree, depth first; who wrote is left out."""
    usable, waiting = [], [root]
    while waiting:
        message = waiting.pop()
        usable.append(message)
        waiting.extend(children.get(message.id, ()))
    for message_row in map(row_of, flat_messages(export_tree(tree, usable))):
        yield message_row | {"user_id": None, "lang": message_row["lang"] or root.lang}


def turn_of(message: Message) -> Row:
    """A message as a turn of a conversation."""
    return {"role": ROLE_NAMES[message.role], "content": message.text, "message_id": message.id}


BUILDERS: dict[str, Callable[[Message, Children, Filters], Iterator[Row]]] = {
    "sft": _sft,
    "preference": _preference,
    "prompts": _prompts,
}
KINDS = (*BUILDERS, "trees")


def message_ids(kind: str, rows: Iterable[Row]) -> set[str]:
    """Ids of the messages whose text is in `rows`."""
    if kind == "trees":
        return {row["message_id"] for row in rows}
    found: set[str] = set()
    for row in rows:
        found.update(turn["message_id"] for turn in row["messages" if kind == "sft" else "prompt"])
        if kind == "preference":
            found.update((row["chosen_id"], row["rejected_id"]))
    return found
