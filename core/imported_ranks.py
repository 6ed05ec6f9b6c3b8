"""Ranks that came with an import, of which the rankings are not known: what is left of them when a message goes.

The rank that came is kept in the message's `base`, for the message may come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.records import Message


def without_gaps(siblings: Sequence[Message]) -> list[Message]:
    """Those of the siblings that change so that no gap is left where a message was taken out."""
    came = {each.id: rank for each in siblings if (rank := came_at(each)) is not None}
    ranked = sorted((each for each in siblings if each.id in came), key=lambda each: (came[each.id], each.id))
    if all(_as_it_came(each) for each in ranked):
        return []
    order = [each.id for each in ranked if each.usable]
    places = {name: place for place, name in enumerate(order)} if len(order) > 1 else {}
    return [
        replace(
            each, rank=places.get(each.id), base=None if each.base is None else {**each.base, "rank": came[each.id]}
        )
        for each in ranked
    ]  # fmt: skip


def came_at(message: Message) -> int | None:
    """The rank with which a message came, or has, of which the rankings are not known."""
    rank: int | None = (message.base or {}).get("rank", message.rank)
    return rank


def _as_it_came(message: Message) -> bool:
    """Whether nobody has taken an imported message out, or put it back, since it came."""
    untouched = message.removed is None and message.ruling is None
    return untouched and message.base is not None and "rank" not in message.base
