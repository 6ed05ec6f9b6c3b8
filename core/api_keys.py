"""API keys of services: shown once, kept as hashes, scoped, expiring, revocable."""

from __future__ import annotations

from collections.abc import Sequence

from core.database import Database
from core.errors import BadInput, NotFound, Unauthenticated
from core.ids import new_id
from core.journal import record
from core.oauth_records import DAY, KEY_PREFIX, MINUTE, ApiKey
from core.records import milliseconds, now
from core.scopes import SCOPES, check_scopes
from core.secret_values import hashed, matches, new_secret
from core.texts import is_name

MAX_DAYS = 366
MAX_NAME = 80
MOST = 100
"""Keys of one service."""


class ApiKeys:
    """The API keys in one database.

    Args:
        database: holds them, in `api_keys`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys = database["api_keys"]

    async def create(
        self,
        user_id: str,
        name: str,
        scopes: Sequence[str],
        days: int,
        *,
        by: str | None = None,
        allowed: Sequence[str] = tuple(SCOPES),
    ) -> tuple[ApiKey, str]:
        """A key of that service account, with scopes of `allowed`; its text is given now and never again.

        Raises:
            BadInput: the name, a scope or the number of days is wrong, or there are too many keys.
        """
        name = name.strip()
        if not 1 <= len(name) <= MAX_NAME or not is_name(name):
            raise BadInput(f"name has {len(name)} characters; it must have 1 to {MAX_NAME}", path=("name",))
        if not 1 <= days <= MAX_DAYS:
            raise BadInput(f"days is {days}; it must be 1 to {MAX_DAYS}", path=("days",))
        if len(await self.of_user(user_id)) >= MOST:
            raise BadInput(f"the service has {MOST} keys; revoke some first")
        secret, present = new_secret(), milliseconds(now())
        key = ApiKey(
            id=new_id(), user_id=user_id, name=name, secret_hash=hashed(secret), scopes=check_scopes(scopes, allowed),
            created_by=by, created_ms=present, expires_ms=present + days * DAY,
        )  # fmt: skip
        await self._keys.insert_one(key.to_document())
        await record(self._database, "create_api_key", key.id, {"user": user_id, "scopes": list(key.scopes)}, by=by)
        return key, f"{key.text_begins}_{secret}"

    async def verify(self, text: str) -> ApiKey:
        """The key of that text; notes, to the minute, that it was used.

        Raises:
            Unauthenticated: it is unknown, revoked or over.
        """
        key_id, _, secret = text.removeprefix(KEY_PREFIX).partition("_")
        dashed = "-".join((key_id[:8], key_id[8:12], key_id[12:16], key_id[16:20], key_id[20:]))
        document = await self._keys.find_one({"_id": dashed}) if len(key_id) == 32 else None
        key = None if document is None else ApiKey.from_document(document)
        if key is None or not matches(secret, key.secret_hash):
            raise Unauthenticated("the API key is unknown")
        present = milliseconds(now())
        if not key.good(present):
            raise Unauthenticated("the API key was revoked or is over; ask an administrator for another")
        if present - key.used_ms >= MINUTE:
            await self._keys.update_one({"_id": key.id}, {"$max": {"used_ms": present}})
        return key

    async def get_many(self, key_ids: Sequence[str]) -> dict[str, ApiKey]:
        """The keys of those ids that there are, good or not, by id."""
        found = self._keys.find({"_id": {"$in": list(key_ids)}})
        return {document["_id"]: ApiKey.from_document(document) async for document in found}

    async def of_user(self, user_id: str) -> list[ApiKey]:
        """The keys of a service that are not revoked, oldest first."""
        found = self._keys.find({"user_id": user_id}).limit(10 * MOST)
        keys = [ApiKey.from_document(document) async for document in found]
        return sorted((key for key in keys if not key.revoked_ms), key=lambda key: key.id)

    async def revoke(self, key_id: str, *, by: str | None = None) -> ApiKey:
        """End a key now; a second time changes nothing. Raises `NotFound`."""
        await self._keys.update_one({"_id": key_id, "revoked_ms": 0}, {"$set": {"revoked_ms": milliseconds(now())}})
        document = await self._keys.find_one({"_id": key_id})
        if document is None:
            raise NotFound(f"there is no API key {key_id!r}")
        await record(self._database, "revoke_api_key", key_id, {}, by=by, key="revoked")
        return ApiKey.from_document(document)
