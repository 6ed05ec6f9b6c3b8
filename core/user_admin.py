"""What moderators and admins do about people: roles, languages to moderate, bans with a reason, notes.

Bans and notes are for moderators, and only about contributors; the rest is for admins. All is journaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core import tasks
from core.accounts import check_roles
from core.config import CollectionConfig
from core.database import Database
from core.errors import BadInput, Conflict, Forbidden, NotFound
from core.journal import EVERY_LANG, record
from core.moderation_queue import close_about
from core.moderation_records import check_moderator
from core.records import Task, Tree, User, holder_key
from core.rulings import check_reason, halt_tree
from core.texts import check_lang
from core.trust import roles_set

NOTES_LIMIT = 4096
"""Characters of notes about a person."""
WAITING = ("initial_prompt_review", "prompt_lottery_waiting")
"""Trees that a ban of their author halts: others' work is not in them yet."""


async def set_roles(database: Database, admin: User, user_id: str, roles: Sequence[str]) -> User:
    """Give a person exactly these roles; nobody changes their own, so that there is always an admin."""
    _check_admin(admin)
    if user_id == admin.id:
        raise Forbidden("ask another admin to change your own roles")
    wanted = check_roles(roles)
    person = await _user(database, user_id)
    changes = roles_set(person, wanted, "an admin set other roles") | person.listed_with(roles=wanted)
    return await _change(database, user_id, "set_roles", changes, admin, {"roles": list(wanted)})


async def set_languages(database: Database, admin: User, user_id: str, langs: Sequence[str]) -> User:
    """The languages that a moderator looks after; none for all."""
    _check_admin(admin)
    checked = sorted({check_lang(lang, "langs") for lang in langs})
    return await _change(database, user_id, "set_languages", {"moderates": checked}, admin)


async def set_notes(database: Database, moderator: User, user_id: str, notes: str) -> User:
    """What moderators should know of a person; the journal says that they changed, not how."""
    check_moderator(moderator)
    if len(notes) > NOTES_LIMIT:
        raise BadInput(f"the notes have {len(notes)} characters; at most {NOTES_LIMIT}", path=("notes",))
    return await _change(database, user_id, "set_notes", {"notes": notes}, moderator, details={})


async def set_enabled(
    database: Database, config: CollectionConfig, moderator: User, user_id: str, enabled: bool, reason: str
) -> User:
    """Ban a person, or let them in again. A ban gives back their open tasks and halts prompts that still wait.

    Raises:
        BadInput: a ban without a reason.
        Forbidden: a moderator bans a moderator or an admin, or anybody themselves.
    """
    check_moderator(moderator)
    person = await _user(database, user_id)
    if person.id == moderator.id:
        raise Forbidden("you cannot ban yourself")
    if person.has_role("moderator", "admin") and not moderator.has_role("admin"):
        raise Forbidden("only an admin may ban a moderator or an admin")
    if person.deleted:
        raise Conflict(f"user {user_id} has left; there is nobody to ban")
    if not (reason := check_reason(reason)) and not enabled:
        raise BadInput("no reason is given; the person should know why", path=("reason",))
    changes = {"enabled": enabled, "disabled_reason": None if enabled else reason}
    changes |= person.listed_with(enabled=enabled)
    details = {"enabled": enabled, "reason": reason}
    changed = await _change(database, user_id, "set_enabled", changes, moderator, details)
    if not enabled:
        await end_tasks(database, config, user_id)
        await _halt_waiting(database, config, moderator, user_id)
        await close_about(database, f"user:{user_id}", "ban", reason, moderator.id)
    return changed


async def end_tasks(database: Database, config: CollectionConfig, user_id: str) -> int:
    """End a person's open tasks and give their places to others; returns how many."""
    found = [each async for each in database["tasks"].find({"holder": holder_key(user_id, "open")})]
    for document in found:
        task = Task.from_document(document)
        if await tasks.move(database, task, "expired"):
            await tasks.give_back(database, config, task)
    return len(found)


async def _halt_waiting(database: Database, config: CollectionConfig, moderator: User, user_id: str) -> None:
    prefix = f"{user_id}|"
    query = {"by_author": {"$gte": prefix, "$lt": prefix + "}"}}
    cursor = database["messages"].find(query, {"tree_id": 1, "parent_id": 1}).sort("by_author")
    roots = [each["_id"] async for each in cursor if each["parent_id"] is None]
    async for document in database["trees"].find({"_id": {"$in": roots}}):
        tree = Tree.from_document(document)
        if tree.state in WAITING:
            await halt_tree(database, config, moderator, tree.id, True, "its author was banned", anywhere=True)


def _check_admin(user: User) -> None:
    if not user.has_role("admin"):
        raise Forbidden("only admins may do this")


async def _user(database: Database, user_id: str) -> User:
    document = await database["users"].find_one({"_id": user_id})
    if document is None:
        raise NotFound(f"there is no user {user_id!r}")
    return User.from_document(document)


async def _change(
    database: Database, user_id: str, kind: str, changes: dict[str, Any], by: User,
    details: dict[str, Any] | None = None,
) -> User:  # fmt: skip
    await _user(database, user_id)
    await database["users"].update_one({"_id": user_id}, {"$set": changes})
    lang = EVERY_LANG if kind in ("set_enabled", "set_notes") else ""
    await record(database, kind, user_id, changes if details is None else details, by=by.id, lang=lang)
    return await _user(database, user_id)
