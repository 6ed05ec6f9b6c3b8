"""The audit journal: who did what when, one append-only document an act, in the collection `events`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.database import Database
from core.ids import new_id
from core.moderation_records import Event
from core.records import moment, now, time_key

EVERY_LANG = "*"
"""Language of acts that moderators of any language should know of: what was done about a person."""


async def record(
    database: Database, kind: str, subject: str, details: Mapping[str, Any], *, by: str | None = None,
    key: str | None = None, lang: str = "",
) -> None:  # fmt: skip
    """Write one act down.

    Args:
        kind: what was done, such as `tree_state`, `delete_message`.
        subject: id of what it was done to.
        details: JSON values.
        by: user id; None for the machinery.
        key: makes the entry unique with kind and subject, so that a repeated call writes nothing.
        lang: of the message or tree that it concerns; `EVERY_LANG` for what moderators of any should know; empty for
            the rest, which is for those who moderate all.
    """
    identity = f"{kind}|{subject}|{key}" if key is not None else new_id()
    at = now()
    when = time_key(at, identity)
    entry = {"kind": kind, "subject": subject, "by": by, "details": dict(details), "at": at, "by_time": when}
    entry["lang"] = lang
    entry |= {"by_kind": f"{kind}|{when}", "by_subject": f"{subject}|{when}"}
    if by is not None:
        entry["by_actor"] = f"{by}|{when}"
    await database["events"].update_one({"_id": identity}, {"$setOnInsert": entry}, upsert=True)


async def events_page(
    database: Database, *, subject: str | None = None, actor: str | None = None, kind: str | None = None,
    langs: Sequence[str] = (), before: str | None = None, first: int = 20,
) -> tuple[list[Event], bool]:  # fmt: skip
    """Acts, newest first, of one subject, actor or kind where given, and whether older ones follow.

    Args:
        langs: only what concerns these languages, or moderators of any; none for all there is.
        before: `Event.by_time` of the last one seen.
    """
    wanted = {"subject": subject, "by": actor, "kind": kind}
    fields = {"subject": "by_subject", "by": "by_actor", "kind": "by_kind"}
    given = {name: value for name, value in wanted.items() if value is not None}
    leading = next(iter(given), None)
    name = fields[leading] if leading else "by_time"
    prefix = f"{given.pop(leading)}|" if leading else ""
    query: dict[str, Any] = {name: {"$gte": prefix, "$lt": prefix + (before or "}")}} | given
    if langs:
        query["lang"] = {"$in": [*langs, EVERY_LANG]}
    cursor = database["events"].find(query).sort(name, -1).limit(first + 1)
    found = [_event(document) async for document in cursor]
    return found[:first], len(found) > first


def _event(document: Mapping[str, Any]) -> Event:
    names = ("kind", "subject", "by", "details", "by_time")
    return Event(id=document["_id"], at=moment(document["at"]), **{name: document[name] for name in names})
