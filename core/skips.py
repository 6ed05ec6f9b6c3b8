"""Why people gave tasks about a message back, for moderators: the skips that came with a reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.database import Database
from core.times import moment

READ = 1000
"""Skips that one read finds."""


@dataclass(frozen=True)
class Skip:
    """One of them: the kind of task, why, and when the task was taken. Not who: a skip is no offence."""

    kind: str
    reason: str
    taken_at: datetime


async def skips_of(database: Database, message_ids: Sequence[str]) -> dict[str, list[Skip]]:
    """Message id -> its skips with a reason, the latest first, of those that have any; one read of up to `READ`."""
    found: dict[str, list[Skip]] = defaultdict(list)
    query = {"skipped": {"$in": list(message_ids)}}
    fields = {"skipped": 1, "kind": 1, "skip_reason": 1, "created_at": 1}
    async for document in database["tasks"].find(query, fields).limit(READ):
        skip = Skip(document["kind"], document["skip_reason"], moment(document["created_at"]))
        found[document["skipped"]].append(skip)
    for skips in found.values():
        skips.sort(key=lambda each: each.taken_at, reverse=True)
    return dict(found)
