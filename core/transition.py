"""What becomes of a tree: the result of `core.advance`, of which `core.settle` makes what is stored."""

from __future__ import annotations

from dataclasses import dataclass

from core.records import Message


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A piece of work that should be open.

    Attributes:
        kind: task kind.
        target_id: the message to reply to, to label, or whose replies to rank.
        places: answers still wanted; the store takes off those in someone's hands.
        excluded: users who may not take it.
        served: replies to rank, by id; empty for other kinds.
        priority: one digit, `0` first.
        thread: message ids from the root to the target.
    """

    kind: str
    target_id: str
    lang: str
    places: int
    excluded: frozenset[str]
    served: tuple[str, ...] = ()
    priority: str = "5"
    thread: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Transition:
    """What a tree should be.

    Attributes:
        state: the tree's next state.
        messages: every message of the tree as it should be.
        work: the full set of work that should be open.
        reply_budget: replies that the whole tree still wants; bounds the places of all its reply work together.
    """

    state: str
    messages: tuple[Message, ...]
    work: tuple[Opening, ...]
    reply_budget: int
