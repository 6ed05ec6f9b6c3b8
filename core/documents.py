"""GraphQL documents that clients registered, by the SHA-256 of their text, so that a request may send the hash alone.

At most `capacity` are kept, each for `LIFETIME`; then the client sends the text once more. Threat: a store filled with
documents that nobody asks for; so the oldest go first, and the caller decides whose are kept.
"""

from __future__ import annotations

from datetime import timedelta

from pymongo.errors import DuplicateKeyError

from core.database import Database
from core.ids import sha256_hex
from core.times import now, time_key

CAPACITY = 5_000
"""Documents kept."""
LIFETIME = timedelta(days=30)
"""How long one is kept, from when it was registered."""


class RegisteredDocuments:
    """The registered documents.

    Args:
        database: holds them, in `documents`.
        capacity: the most that are kept; processes that register at once may go over it by one each for a moment.
    """

    def __init__(self, database: Database, capacity: int = CAPACITY) -> None:
        self._documents = database["documents"]
        self._capacity = capacity

    async def find(self, sha256: str) -> str | None:
        """The text with that hash (64 hexadecimal digits), or None."""
        found = await self._documents.find_one({"_id": sha256})
        return None if found is None else str(found["text"])

    async def keep(self, text: str) -> None:
        """Register `text` by its hash; nothing happens when it is registered already."""
        present, sha256 = now(), sha256_hex(text.encode())
        document = {
            "_id": sha256, "text": text, "by_time": time_key(present, sha256), "expires_at": present + LIFETIME,
        }  # fmt: skip
        try:
            await self._documents.insert_one(document)
        except DuplicateKeyError:
            return
        await self._make_room()

    async def _make_room(self) -> None:
        over = await self._documents.count_documents({}) - self._capacity
        if over > 0:
            oldest = self._documents.find({}, {"_id": 1}).sort("by_time").limit(over)
            await self._documents.delete_many({"_id": {"$in": [each["_id"] async for each in oldest]}})
