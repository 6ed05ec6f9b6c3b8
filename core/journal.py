"""The audit journal: who did what when, one append-only document an act, in the collection `events`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.database import Database
from core.ids import new_id
from core.records import now, time_key


async def record(
    database: Database, kind: str, subject: str, details: Mapping[str, Any], *, by: str | None = None,
    key: str | None = None,
) -> None:  # fmt: skip
    """Write one act down.

    Args:
        kind: what was done, such as `tree_state`, `delete_message`.
        subject: id of what it was done to.
        details: JSON values.
        by: user id; None for the machinery.
        key: makes the entry unique with kind and subject, so that a repeated call writes nothing.
    """
    identity = f"{kind}|{subject}|{key}" if key is not None else new_id()
    entry = {"kind": kind, "subject": subject, "by": by, "details": dict(details), "at": now()}
    entry["by_time"] = time_key(entry["at"], identity)  # type: ignore[arg-type]
    await database["events"].update_one({"_id": identity}, {"$setOnInsert": entry}, upsert=True)
