"""What is kept for how long: tasks that have ended, and notes that a service acted for somebody.

Both grow with what people do and not with what is decided. What must outlast a task does not stand in it: that
somebody skipped a piece of work is a reaction, what was answered a message, a review or a ranking. All other entries of
the journal stay: they say who decided what.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from core.database import Database
from core.records import deadline_key, time_key

ENDED = ("done", "skipped", "expired")
"""States of tasks that nothing follows."""
ACTING = "acted_for"
"""Kind of the journal's entries about services that act for somebody: one an operation, reads too."""
BATCH = 200
"""Documents of one sort that one sweep deletes."""


@dataclass(frozen=True)
class Retention:
    """Days for which something is kept; 0 is for ever.

    Attributes:
        task_days: a task that has ended, from when its time was up.
        acting_days: a note that a service acted for somebody.
    """

    task_days: int = 30
    acting_days: int = 180


async def sweep(database: Database, kept: Retention, present: datetime) -> int:
    """Delete some of what has been kept for long enough, the oldest first; returns how much."""
    deleted = 0
    if kept.task_days:
        before = present - timedelta(days=kept.task_days)
        for state in ENDED:
            deleted += await _delete(database, "tasks", "deadline", f"{state}|", deadline_key(state, before))
    if kept.acting_days:
        before = present - timedelta(days=kept.acting_days)
        deleted += await _delete(database, "events", "by_kind", f"{ACTING}|", f"{ACTING}|{time_key(before, '')}")
    return deleted


async def _delete(database: Database, name: str, key: str, start: str, end: str) -> int:
    found = database[name].find({key: {"$gte": start, "$lt": end}}, {"_id": 1}).sort(key).limit(BATCH)
    ids = [document["_id"] async for document in found]
    return (await database[name].delete_many({"_id": {"$in": ids}})).deleted_count if ids else 0
