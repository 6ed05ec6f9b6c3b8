"""Finding people, for moderators: by the beginning of a name, a role, or what keeps them out.

Each search goes by the one scalar key that leaves the fewest to look at, and its pages are in the order of that key.
"""

from __future__ import annotations

from typing import Any

from core.database import Database
from core.errors import BadInput
from core.records import USER_ROLES, User, folded
from core.wanted import ACCOUNT_STATES, WantedPeople

END = "\U0010ffff"
"""Sorts behind every text that goes on with a prefix."""


async def page(database: Database, wanted: WantedPeople, after: str | None, first: int) -> list[tuple[str, User]]:
    """People, each with the cursor: by name where one is given, else by highest role or by when they joined.

    Raises:
        BadInput: the name is blank, or a role or state is unknown.
    """
    query, key = plan(wanted)
    if after is not None:
        query[key] = {**query.get(key, {}), "$gt": after}
    found = database["users"].find(query).sort(key).limit(first)
    return [(document[key], User.from_document(document)) async for document in found]


def plan(wanted: WantedPeople) -> tuple[dict[str, Any], str]:
    """What to ask of the store, and the key to read by: few are kept out or have a role, more share a name."""
    if wanted.role not in (None, *USER_ROLES):
        raise BadInput(f"role is {wanted.role!r}; one of: {', '.join(USER_ROLES)}", path=("role",))
    if wanted.state not in (None, *ACCOUNT_STATES):
        raise BadInput(f"state is {wanted.state!r}; one of: {', '.join(ACCOUNT_STATES)}", path=("state",))
    query: dict[str, Any] = {}
    keys: list[str] = []
    if wanted.state is not None:
        kept_out = {"$gte": f"{wanted.state}|", "$lt": f"{wanted.state}}}"}
        query["by_state"] = None if wanted.state == "active" else kept_out
        keys += ["by_state"] * (wanted.state != "active")
    if wanted.role is not None:
        query["roles"] = {"$in": [wanted.role]}
        if wanted.role != USER_ROLES[0]:  # who has it has this rank or a higher one, and these are few
            query["by_rank"] = {"$gte": f"{USER_ROLES.index(wanted.role)}|"}
            keys.append("by_rank")
    if wanted.name is not None:
        query["by_name"] = _beginning(wanted.name)
        keys.append("by_name")
    if not keys:
        query["by_time"] = {"$gt": ""}
    return query, (keys or ["by_time"])[0]


def _beginning(name: str) -> dict[str, str]:
    if not (prefix := folded(name)):
        raise BadInput("name is blank; it must be the beginning of a name", path=("name",))
    return {"$gte": prefix, "$lt": prefix + END}
