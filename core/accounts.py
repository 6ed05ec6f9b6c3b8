"""Contributors' accounts: made at first sign-in, read, given roles, kept active. Knows no token and no password."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pymongo.errors import DuplicateKeyError

from core import identities, people_search
from core.database import Database, aware
from core.errors import BadInput, Forbidden, NotFound
from core.ids import new_id
from core.journal import record
from core.pages import many
from core.records import USER_ROLES, User, identity, named
from core.scoring import streak
from core.texts import is_name
from core.trust import roles_set
from core.wanted import EVERYBODY, WantedPeople
from core.writes import Change, Write

NAME_LIMIT = 256
"""Characters of a display name."""
SHOWN_LIMIT = 64
"""Characters of a display name that people give themselves."""
ACTIVITY_STEP = timedelta(minutes=1)
"""Activity is noted no more often."""


class Accounts:
    """The accounts in one database."""

    def __init__(self, database: Database) -> None:
        self.database = aware(database)

    async def ensure_user(
        self, auth_method: str, subject: str, display_name: str, roles: Sequence[str] = ("contributor",)
    ) -> User:
        """The account of a sign-in, made now if it is the first; `roles` are given to a new account only.

        Raises:
            BadInput: a name is empty or too long, or a role is unknown.
            Forbidden: the account is disabled or deleted.
        """
        _check_names(auth_method, subject, display_name)
        key = identity(auth_method, subject)
        if (user := await self._by_identity(key)) is None:
            fresh = User(
                id=await identities.claim(self.database, key, new_id()), auth_method=auth_method, subject=subject,
                display_name=display_name.strip(), roles=check_roles(roles),
            )  # fmt: skip
            try:
                await self.database["users"].insert_one(fresh.to_document())
                user = fresh
            except DuplicateKeyError:  # somebody was faster, or the claim is another account's
                user = await identities.owner(self.database, key)
        if not user.enabled or user.deleted:
            why = f": {user.disabled_reason}" if user.disabled_reason else ""
            raise Forbidden(f"this account is disabled{why}; ask a moderator")
        return user

    async def _by_identity(self, key: str) -> User | None:
        document = await self.database["users"].find_one({"identity": key})
        return User.from_document(document) if document else None

    async def get(self, user_id: str) -> User:
        """The account of that id; raises `NotFound`."""
        document = await self.database["users"].find_one({"_id": user_id})
        if document is None:
            raise NotFound(f"there is no user {user_id!r}")
        return User.from_document(document)

    async def get_many(self, user_ids: Sequence[str]) -> dict[str, User]:
        """The accounts of those ids that exist, by id."""
        return await many(self.database, "users", User, list(user_ids))

    async def page(
        self, after: str | None = None, first: int = 20, wanted: WantedPeople = EVERYBODY
    ) -> list[tuple[str, User]]:
        """Accounts that are `wanted`, each with its cursor; `after` is the cursor of the last one seen."""
        return await people_search.page(self.database, wanted, after, first)

    async def set_roles(self, user_id: str, roles: Sequence[str], *, by: str | None = None) -> User:
        """Give the account exactly these roles; `by` is the user id of who does it."""
        wanted = check_roles(roles)
        user = await self.get(user_id)
        changes = roles_set(user, wanted, "an operator set other roles") | user.listed_with(roles=wanted)
        return await self._change(user_id, "set_roles", changes, by, {"roles": list(wanted)})

    async def set_enabled(self, user_id: str, enabled: bool, *, by: str | None = None) -> User:
        """Allow or forbid the account everything."""
        changes: dict[str, object] = {"enabled": enabled}
        keys = (await self.get(user_id)).listed_with(enabled=enabled)
        return await self._change(user_id, "set_enabled", changes | keys, by, changes)

    async def set_display_name(self, user_id: str, display_name: str) -> User:
        """Give the person another name, which everybody sees."""
        shown = display_name.strip()
        if not 1 <= len(shown) <= SHOWN_LIMIT or not is_name(shown):
            raise BadInput(f"the name must have 1 to {SHOWN_LIMIT} visible characters", path=("display_name",))
        changes: dict[str, object] = {"display_name": shown, "by_name": named(shown, user_id)}
        # The journal outlives the account, so it does not say which name.
        return await self._change(user_id, "set_display_name", changes, user_id, told={})

    async def accept_terms(self, user_id: str, version: str) -> User:
        """Note that the person accepted that version of the terms of use."""
        return await self._change(user_id, "accept_terms", {"terms_version": version}, user_id)

    async def unlink(self, user_id: str, key: str) -> User:
        """Let an identity no longer sign in to the account; see `identities.unlink`."""
        return await identities.unlink(self.database, user_id, key)

    async def record_acting(self, user_id: str, action: str, *, by: str) -> None:
        """Journal that the service `by` asks for something in that person's name."""
        await record(self.database, "acted_for", user_id, {"action": action}, by=by)

    async def set_shown(self, user_id: str, shown: bool) -> User:
        """Whether the person stands on leaderboards, as they wish."""
        return await self._change(user_id, "set_shown", {"show_on_leaderboard": shown}, user_id)

    async def _change(
        self, user_id: str, kind: str, changes: dict[str, object], by: str | None,
        told: dict[str, object] | None = None,
    ) -> User:  # fmt: skip
        result = await self.database["users"].update_one({"_id": user_id}, {"$set": changes})
        if result.matched_count == 0:
            raise NotFound(f"there is no user {user_id!r}")
        await record(self.database, kind, user_id, changes if told is None else told, by=by)
        return await self.get(user_id)


def check_roles(roles: Sequence[str]) -> tuple[str, ...]:
    """The roles, each once, in the usual order; raises `BadInput` for an unknown one or none."""
    for role in roles:
        if role not in USER_ROLES:
            raise BadInput(f"unknown role {role!r}; one of: {', '.join(USER_ROLES)}", path=("roles",))
    if not roles:
        raise BadInput("no role is given; at least contributor", path=("roles",))
    return tuple(role for role in USER_ROLES if role in roles)


def _check_names(auth_method: str, subject: str, display_name: str) -> None:
    for name, value in (("authMethod", auth_method), ("subject", subject), ("displayName", display_name)):
        if not value.strip() or len(value) > NAME_LIMIT:
            message = f"{name} has {len(value.strip())} characters; it must have 1 to {NAME_LIMIT}"
            raise BadInput(message, path=(name,))
    if ":" in auth_method:
        raise BadInput(f"authMethod {auth_method!r} has a colon; it must have none", path=("authMethod",))


def touching(user: User, moment: datetime) -> list[Write]:
    """What notes that the user did something at `moment`: last activity and streak. Of two at once either stands."""
    if user.last_activity_at is not None and moment - user.last_activity_at < ACTIVITY_STEP:
        return []
    began, days = streak(user.streak_started_at, user.last_activity_at, moment)
    changes = {"last_activity_at": moment, "streak_started_at": began, "streak_days": days}
    return [Change("users", {"_id": user.id}, {"$set": changes})]
