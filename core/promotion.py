"""Giving the role `trusted` to those whose work earned it, and taking it back; the rule is in `core.trust`.

Crediting work (`core.credits`) notes in the same write that somebody has enough of it: `trust_due` of their score
document. The sweeper looks at what is due. It gives the role by one guarded write, which says when; then
the journal; then `trust_due` goes far away. A crash between is healed by the next look. Who lost the role by somebody's
decision has a reason in `trust_withheld`, and gets it back from a person alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from core.config import CollectionConfig
from core.database import Database
from core.errors import BadInput, Conflict, Forbidden, NotFound
from core.journal import EVERY_LANG, record
from core.learning import voices
from core.moderation_records import check_moderator
from core.records import User, milliseconds, now
from core.rules import rules_of
from core.rulings import check_reason
from core.trust import TRUSTED, Requirement, earned, enough_work, requirements
from core.voices import NEWCOMER
from core.work_records import NEVER

AGAIN = timedelta(hours=1)
"""Until somebody with enough work, who is not trusted for another reason, is looked at again."""
BATCH = 200
"""People looked at in one sweep."""


@dataclass(frozen=True)
class Progress:
    """How far somebody is from being trusted.

    Attributes:
        by_work: whether work earns trust here.
        withheld: why it does not for this person; None where it does.
        needs: what trust needs, met or not.
    """

    trusted: bool
    by_work: bool
    withheld: str | None
    needs: tuple[Requirement, ...]


async def progress(database: Database, base: CollectionConfig, user: User) -> Progress:
    """How far `user` is."""
    config = await rules_of(database, base)
    document = await database["scores"].find_one({"_id": user.id}, {"total": 1})
    needs = await _needs(database, config, user, document["total"]["counts"] if document else {})
    return Progress(user.has_role(TRUSTED), config.trust_by_work, user.trust_withheld, tuple(needs))


async def _needs(
    database: Database, config: CollectionConfig, user: User, counts: Mapping[str, int]
) -> list[Requirement]:
    known = await voices(database, [user.id])
    asked = database["moderation_items"].find({"subject": f"user:{user.id}"}, {"state": 1})
    in_question = any([each["state"] == "open" async for each in asked])
    return requirements(user, counts, known.get(user.id, NEWCOMER), in_question, config, now())


async def sweep(database: Database, base: CollectionConfig) -> int:
    """Look at those whose work may have earned trust; returns how many got it."""
    config, given = await rules_of(database, base), 0
    due = {"trust_due": {"$lte": milliseconds(now())}}
    found = database["scores"].find(due, {"total": 1, "trust_due": 1}).sort("trust_due").limit(BATCH)
    for document in [each async for each in found]:
        given += await _consider(database, config, document)
    return given


async def _consider(database: Database, config: CollectionConfig, document: Mapping[str, Any]) -> bool:
    """Give the person of a score document the role if it is earned; whether it was given by this call."""
    counts = document["total"]["counts"]
    found = await database["users"].find_one({"_id": document["_id"]})
    user = None if found is None else User.from_document(found)
    given = False
    if user is not None and not user.has_role(TRUSTED) and enough_work(counts, config):
        needs = await _needs(database, config, user, counts)
        if earned(needs, config):
            user, given = await _give(database, user)
    if user is not None and user.trusted_at is not None:
        await record(database, "trust_by_work", user.id, {"role": TRUSTED}, key=str(user.trusted_at), lang=EVERY_LANG)
    later = _next_look(user, counts, config)
    change: dict[str, Any] = {"$unset": {"trust_due": ""}} if later is None else {"$set": {"trust_due": later}}
    change["$inc"] = {"changes": 1}  # or credits that are just being added would bring the old one back
    await database["scores"].update_one({"_id": document["_id"], "trust_due": document["trust_due"]}, change)
    return given


async def _give(database: Database, user: User) -> tuple[User, bool]:
    """The person as they are after the role was given, and whether it was: not where somebody decided meanwhile."""
    # The way of signing in tells an account that was emptied, the reason one that was banned.
    guard = {
        "_id": user.id, "roles": {"$nin": [TRUSTED]}, "trust_withheld": None, "disabled_reason": None,
        "auth_method": user.auth_method,
    }  # fmt: skip
    listed = user.listed_with(roles=(*user.roles, TRUSTED))
    change = {"$addToSet": {"roles": TRUSTED}, "$set": {"trusted_at": milliseconds(now())} | listed}
    given = (await database["users"].update_one(guard, change)).matched_count == 1
    found = await database["users"].find_one({"_id": user.id})
    return (user if found is None else User.from_document(found)), given


def _next_look(user: User | None, counts: Mapping[str, int], config: CollectionConfig) -> int | None:
    """When to look again, in milliseconds since 1970; None to wait until more is credited."""
    if user is None or user.has_role(TRUSTED) or user.trust_withheld is not None:
        return NEVER
    return milliseconds(now() + AGAIN) if enough_work(counts, config) else None


async def set_trusted(database: Database, moderator: User, user_id: str, trusted: bool, reason: str) -> User:
    """Give a person the role, or take it back for good: work alone does not bring it back then.

    Raises:
        BadInput: it is taken back without a reason.
        Forbidden: a moderator decides about a moderator or an admin, or anybody about themselves.
        Conflict: the person has left.
    """
    check_moderator(moderator)
    found = await database["users"].find_one({"_id": user_id})
    if found is None:
        raise NotFound(f"there is no user {user_id!r}")
    person = User.from_document(found)
    if person.id == moderator.id:
        raise Forbidden("you cannot decide about yourself")
    if person.has_role("moderator", "admin") and not moderator.has_role("admin"):
        raise Forbidden("only an admin may decide about a moderator or an admin")
    if person.deleted:
        raise Conflict(f"user {user_id} has left; there is nobody to trust")
    if not (reason := check_reason(reason)) and not trusted:
        raise BadInput("no reason is given; the person should know why", path=("reason",))
    change: dict[str, Any] = {"$addToSet": {"roles": TRUSTED}, "$set": {"trust_withheld": None}}
    if not trusted:
        change = {"$pull": {"roles": TRUSTED}, "$set": {"trust_withheld": reason}}
    others = tuple(role for role in person.roles if role != TRUSTED)
    change["$set"] |= person.listed_with(roles=(*others, TRUSTED) if trusted else others)
    await database["users"].update_one({"_id": user_id, "auth_method": person.auth_method}, change)
    told = {"trusted": trusted, "reason": reason}
    await record(database, "set_trusted", user_id, told, by=moderator.id, lang=EVERY_LANG)
    return User.from_document(await database["users"].find_one({"_id": user_id}) or found)
