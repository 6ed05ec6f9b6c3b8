"""One person's scores, in one document: what counts in the present day, week and month and in all, with places. Pure.

    {"_id": person, "changes": 7, "applied": [ids of the latest credits], "trust_due": see `core.promotion`,
     "day": {"bucket": "2026-11-22", "counts": {"labels": 3}, "points": 6}, "week": ..., "month": ..., "total": ...,
     "board_day": key on the leaderboard, ..., "troll_day": key on the board of troublemakers, ...}

A frame is the latest that a credit of the person fell in: with the first of a later one it begins anew, and what falls
in an earlier one does not count in it. So it holds exactly the credits that fall in it, in whatever order they come,
and nothing is kept of past ones. A place is one scalar key, by which a board is read in its order. Changed by one
replacement guarded by `changes` (`core.credits`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.scoring import FRAMES, POINTS, Credit, bucket, score, trouble_share

REMEMBERED = 200
"""Credits that a score document remembers having taken, at least."""

Document = dict[str, Any]


def blank(user_id: str) -> Document:
    """The scores of somebody who has none."""
    return {"_id": user_id, "changes": 0, "applied": []}


def with_credits(document: Document, credits: Iterable[Credit]) -> Document:
    """The scores with those of `credits` that they have not taken before; as they were where there are none."""
    taken = set(document["applied"])
    fresh = {credit.id: credit for credit in credits if credit.id not in taken}
    if not fresh:
        return document
    after: Document = {name: document[name] for name in ("_id", "trust_due") if name in document}
    after["changes"] = document["changes"] + 1
    after["applied"] = [*document["applied"], *fresh][-max(REMEMBERED, len(fresh)) :]
    for frame in FRAMES:
        after |= placed(document["_id"], frame, *_counted(frame, document.get(frame), fresh.values()))
    return after


def _counted(frame: str, held: Mapping[str, Any] | None, credits: Iterable[Credit]) -> tuple[str, dict[str, int]]:
    """The latest bucket of what is held and of the credits, and the counts in it."""
    fallen = [(bucket(frame, credit.at), credit) for credit in credits]
    latest = max(name for name, _ in fallen)
    counts: dict[str, int] = {}
    if held is not None and held["bucket"] >= latest:
        latest, counts = held["bucket"], dict(held["counts"])
    for name, credit in fallen:
        if name == latest:
            counts[credit.what] = counts.get(credit.what, 0) + credit.amount
    return latest, counts


def placed(user_id: str, frame: str, name: str, counts: Mapping[str, int]) -> Document:
    """The fields of one frame; no place for who has done nothing that such a board is of."""
    points = score(counts)
    fields: Document = {frame: {"bucket": name, "counts": dict(counts), "points": points}}
    if not POINTS.keys().isdisjoint(counts):
        fields[board(frame)] = f"{frame}|{name}|{10**9 - points:010d}|{user_id}"
    if (share := trouble_share(counts)) > 0:
        fields[troll(frame)] = f"{frame}|{name}|{10**6 - round(share * 10**6):07d}|{user_id}"
    return fields


def board(frame: str) -> str:
    """The field whose ascending order is the leaderboard: `frame|bucket|points, falling|person`."""
    return f"board_{frame}"


def troll(frame: str) -> str:
    """The field whose ascending order is the board of troublemakers: `frame|bucket|share, falling|person`."""
    return f"troll_{frame}"


def held(document: Document | None, frame: str, name: str) -> Mapping[str, Any] | None:
    """What a score document holds of a bucket of a frame: its `counts` and `points`; None where it is of another."""
    found: Mapping[str, Any] | None = None if document is None else document.get(frame)
    return found if found is not None and found["bucket"] == name else None
