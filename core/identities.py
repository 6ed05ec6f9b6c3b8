"""How one person signs in: several linked identities, each of one account only, never none.

`identities` says whose an identity is: its `_id` is the identity (`google:1234`), so it exists once. The account lists
what is linked to it, and what it lists counts: a claim that no account lists is what a crash left behind. Nothing is
ever linked because two sign-ins have the same e-mail address: whoever controls a provider could claim anybody's.
"""

from __future__ import annotations

from contextlib import suppress

from pymongo.errors import DuplicateKeyError

from core.database import Database
from core.errors import BadInput, Conflict, NotFound
from core.journal import record
from core.records import User, identity, milliseconds, now

LEFT_BEHIND = 60_000
"""Milliseconds after which a claim that no account lists is nobody's."""


async def claim(database: Database, key: str, user_id: str) -> str:
    """The id of the account that `key` belongs to: one that claimed it before, or `user_id` from now on."""
    fresh = {"user_id": user_id, "at_ms": milliseconds(now())}
    with suppress(DuplicateKeyError):
        await database["identities"].update_one({"_id": key}, {"$setOnInsert": fresh}, upsert=True)
    document = await database["identities"].find_one({"_id": key})
    return str(document["user_id"]) if document else user_id


async def owner(database: Database, key: str) -> User:
    """The account that `key` signs in to, whose claim exists.

    Raises:
        Conflict: the claim is listed by no account; it is taken away when it is old enough, so that trying again helps.
    """
    if (document := await database["users"].find_one({"identity": key})) is not None:
        return User.from_document(document)
    claimed = await database["identities"].find_one({"_id": key})
    found = await database["users"].find_one({"_id": claimed["user_id"]}) if claimed else None
    if claimed and found and key in User.from_document(found).identities:
        return User.from_document(found)
    await _drop_left_behind(database, key)
    message = "this sign-in is being linked or unlinked, or its account deleted, right now; try again in a minute"
    raise Conflict(message, retry_after=60.0)


async def link(database: Database, user_id: str, key: str) -> User:
    """Let `key` sign in to that account too; a second time changes nothing.

    Raises:
        Conflict: it signs in to another account.
    """
    user = await _user(database, user_id)
    if key in user.identities:
        return user
    taken = await database["users"].find_one({"identity": key})
    if taken is not None or await claim(database, key, user_id) != user_id:
        raise Conflict("this sign-in belongs to another account; unlink it there first")
    if await _write(database, user, user.auth_method, user.subject, (*user.linked, key)):
        await record(database, "link_identity", user_id, {"method": key.partition(":")[0]}, by=user_id)
        return await _user(database, user_id)
    return await link(database, user_id, key)


async def unlink(database: Database, user_id: str, key: str) -> User:
    """Let `key` no longer sign in to that account.

    Raises:
        BadInput: it is the last one: nobody could sign in any more.
        NotFound: it is not the account's.
    """
    user = await _user(database, user_id)
    if key not in user.identities:
        raise NotFound("that sign-in is not linked to your account")
    left = [one for one in user.identities if one != key]
    if not left:
        raise BadInput("this is your only sign-in; link another one first", path=("identity_id",))
    method, _, subject = left[0].partition(":")
    if not await _write(database, user, method, subject, tuple(left[1:])):
        return await unlink(database, user_id, key)
    await database["identities"].delete_one({"_id": key, "user_id": user_id})
    await record(database, "unlink_identity", user_id, {"method": key.partition(":")[0]}, by=user_id)
    return await _user(database, user_id)


async def _write(database: Database, user: User, method: str, subject: str, linked: tuple[str, ...]) -> bool:
    """Write the account's sign-ins, unless they changed since they were read."""
    changes = {
        "auth_method": method, "subject": subject, "identity": identity(method, subject), "linked": list(linked),
        "linked_rev": user.linked_rev + 1,
    }  # fmt: skip
    guard = {"_id": user.id, "identity": identity(user.auth_method, user.subject)}
    # Accounts older than linking have no revision stored.
    revision = {"linked_rev": user.linked_rev} if user.linked_rev else {"linked_rev": {"$in": [0, None]}}
    return (await database["users"].update_one(guard | revision, {"$set": changes})).matched_count > 0


async def _user(database: Database, user_id: str) -> User:
    document = await database["users"].find_one({"_id": user_id})
    if document is None:
        raise NotFound(f"there is no user {user_id!r}")
    return User.from_document(document)


async def _drop_left_behind(database: Database, key: str) -> None:
    old = {"_id": key, "at_ms": {"$lt": milliseconds(now()) - LEFT_BEHIND}}
    await database["identities"].delete_one(old)
