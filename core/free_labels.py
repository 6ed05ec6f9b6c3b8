"""Labels that people set on a message outside of tasks: kept apart from reviews, which they never sway.

One set a person and message; a later one takes its place, an empty one takes it away. Moderators see the averages.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.database import Database
from core.errors import Conflict
from core.labels import WIDGETS, averages, check_values
from core.pages import one
from core.records import Message, Record, User, now, time_key

SETS_READ = 10_000
"""Sets of labels that one read of averages looks at."""


@dataclass(frozen=True, kw_only=True)
class FreeLabels(Record):
    """One person's free labels of one message, each in [0, 1]; the id is `message|user`."""

    tree_id: str
    message_id: str
    user_id: str
    labels: dict[str, float]
    created_at: datetime = field(default_factory=now)

    def _keys(self) -> dict[str, Any]:
        return {"by_time": time_key(self.created_at, self.id)}


async def set_labels(database: Database, user: User, message_id: str, labels: Mapping[str, float]) -> Message:
    """Set the user's free labels of a message in place of those before; none takes them away.

    Raises:
        BadInput: code `BAD_LABELS`: one is unknown, or not in [0, 1].
        Conflict: it is the user's own message, or was taken out.
        NotFound: there is no such message.
    """
    checked = check_values(labels, tuple(WIDGETS))
    message = await one(database, "messages", Message, message_id)
    if message.author_id == user.id:
        raise Conflict("this message is your own; others label it", path=("message_id",))
    if message.deleted:
        raise Conflict("this message was taken out; there is nothing to label", path=("message_id",))
    made = FreeLabels(
        id=f"{message_id}|{user.id}", tree_id=message.tree_id, message_id=message_id, user_id=user.id, labels=checked
    )
    if not checked:
        await database["free_labels"].delete_one({"_id": made.id})
        return message
    document = made.to_document()
    del document["_id"], document["created_at"]  # the first time stands, and with it the place in an export
    fresh = {"created_at": made.created_at, "by_time": document.pop("by_time")}
    await database["free_labels"].update_one({"_id": made.id}, {"$set": document, "$setOnInsert": fresh}, upsert=True)
    return message


async def averages_of(database: Database, message_ids: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Message id -> label -> {"value": mean, "count": people}, of those that have any; one read."""
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    cursor = database["free_labels"].find({"message_id": {"$in": list(message_ids)}}).limit(SETS_READ)
    async for document in cursor:
        found[document["message_id"]].append(document["labels"])
    return {message_id: averages(sets, {}) for message_id, sets in found.items()}
