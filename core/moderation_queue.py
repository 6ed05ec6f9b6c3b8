"""The moderators' queue: one record for each thing to look at and reason to look, and who looks at it now.

`enqueue` is the one way in, for people's reports, automatic moderation, scorers and appeals alike. It knows subjects
and languages; it does not know what is done about them (`core.rulings` does).

An item's id is `subject|reason`, so the same thing is in the queue once for each reason. More evidence joins an open
item and opens a closed one again; evidence that it has already changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pymongo.errors import DuplicateKeyError

from core.database import Database
from core.errors import BadInput, Conflict, NotFound, OaError
from core.ids import canonical_json, sha256_hex
from core.moderation_records import REASONS, SUBJECTS, ModerationItem, check_moderator, with_evidence
from core.pools import DEFAULT
from core.records import User, milliseconds, now

CLAIM_SECONDS = 900
"""Seconds that a claim holds."""
ATTEMPTS = 50


async def enqueue(
    database: Database, subject: str, reason: str, priority: int, evidence: Mapping[str, Any]
) -> ModerationItem:
    """Put something into the queue.

    Args:
        subject: `message:<id>`, `tree:<id>` or `user:<id>`.
        reason: of `REASONS`.
        priority: 0 (first) to 9; an open item keeps the lower number.
        evidence: JSON values; the same piece again changes nothing.

    Raises:
        BadInput: reason, subject or priority is of another form.
    """
    _check(subject, reason, priority)
    piece = {**evidence, "key": sha256_hex(canonical_json(dict(evidence)))[:16]}
    identity = f"{subject}|{reason}"
    for _ in range(ATTEMPTS):
        document = await database["moderation_items"].find_one({"_id": identity})
        if document is None:
            fresh = await _fresh(database, subject, reason, priority, piece)
            try:
                await database["moderation_items"].insert_one(fresh.to_document())
            except DuplicateKeyError:
                continue
            return fresh
        item = ModerationItem.from_document(document)
        joined = with_evidence(item, piece, priority)
        if await write(database, item, joined):
            return joined
    raise Conflict(f"the queue's item {identity} changes too fast; try again")


def _check(subject: str, reason: str, priority: int) -> None:
    kind, colon, identity = subject.partition(":")
    if kind not in SUBJECTS or not colon or not identity:
        raise BadInput(f"subject is {subject!r}; it must be one of {', '.join(SUBJECTS)}, a colon, and an id")
    if reason not in REASONS:
        raise BadInput(f"reason is {reason!r}; it must be one of {', '.join(REASONS)}")
    if not 0 <= priority <= 9:
        raise BadInput(f"priority is {priority}; it must be from 0 to 9")


async def _fresh(database: Database, subject: str, reason: str, priority: int, piece: dict[str, Any]) -> ModerationItem:
    kind, _, identity = subject.partition(":")
    tree_id, lang, collection = None, "", None
    if kind != "user":
        found = await database[f"{kind}s"].find_one({"_id": identity})
        if found is None:
            raise NotFound(f"there is no {kind} {identity!r}")
        tree_id, lang = found.get("tree_id", identity), found["lang"]
        tree = found if kind == "tree" else await database["trees"].find_one({"_id": tree_id}, {"collection": 1})
        collection = (tree or {}).get("collection", DEFAULT)
    return ModerationItem(
        id=f"{subject}|{reason}", subject=subject, reason=reason, priority=priority, tree_id=tree_id, lang=lang,
        collection=collection, evidence=(piece,), count=1,
    )  # fmt: skip


async def write(database: Database, before: ModerationItem, after: ModerationItem) -> bool:
    """Store `after` if the item is still `before`; False otherwise."""
    if after == before:
        return True
    document = replace(after, rev=before.rev + 1).to_document()
    identity = document.pop("_id")
    result = await database["moderation_items"].update_one({"_id": identity, "rev": before.rev}, {"$set": document})
    return result.matched_count == 1


async def queue_page(
    database: Database, moderator: User, lang: str | None, reason: str | None, after: str | None, first: int,
    collection: str | None = None,
) -> tuple[list[ModerationItem], bool]:  # fmt: skip
    """Open items that the moderator may see, of one collection where given, first things first; whether more follow.

    Args:
        after: `ModerationItem.place` of the last one seen.
    """
    check_moderator(moderator, lang)
    langs: Sequence[str | None] = (lang,)
    if lang is None and not moderator.has_role("admin") and moderator.moderates:
        langs = moderator.moderates
    found: list[ModerationItem] = []
    for each in langs:
        parts = [part for part in (each, reason) if part is not None]
        name = "open_" + "_".join(n for n, part in (("lang", each), ("reason", reason)) if part is not None)
        prefix = "".join(f"{part}|" for part in parts)
        end = f"{prefix[:-1]}}}" if prefix else "}"
        name = name if parts else "open_all"
        query: dict[str, Any] = {name: {"$gt": f"{prefix}{after or ''}", "$lt": end}}
        if collection is not None:
            query["collection"] = collection
        cursor = database["moderation_items"].find(query).sort(name).limit(first + 1)
        found += [ModerationItem.from_document(document) async for document in cursor]
    found.sort(key=lambda item: item.place)
    return found[:first], len(found) > first


async def item(database: Database, identity: str) -> ModerationItem:
    """The item of that id; raises `NotFound`."""
    document = await database["moderation_items"].find_one({"_id": identity})
    if document is None:
        raise NotFound(f"there is no moderation item {identity!r}")
    return ModerationItem.from_document(document)


async def claim(database: Database, moderator: User, identity: str, hold: bool) -> ModerationItem:
    """Take an item to look at, for `CLAIM_SECONDS`, or give it back; again renews it.

    Raises:
        Conflict: it is done, or somebody else looks at it.
    """
    for _ in range(ATTEMPTS):
        found = await item(database, identity)
        check_moderator(moderator, found.lang)
        if found.state != "open":
            raise Conflict("this has been decided already; fetch the queue again")
        if found.claimed_by_other(moderator):
            raise Conflict("another moderator looks at this now; take another item")
        until = milliseconds(now()) + 1000 * CLAIM_SECONDS if hold else 0
        taken = replace(found, claimed_by=moderator.id if hold else None, claimed_until=until)
        if await write(database, found, taken):
            return taken
    raise Conflict(f"the queue's item {identity} changes too fast; try again")


async def claim_all(
    database: Database, moderator: User, identities: Sequence[str], hold: bool
) -> dict[str, tuple[ModerationItem | None, OaError | None]]:
    """`claim` for each: the item as it is then, or what spoke against it."""
    outcomes: dict[str, tuple[ModerationItem | None, OaError | None]] = {}
    for identity in identities:
        try:
            outcomes[identity] = (await claim(database, moderator, identity, hold), None)
        except OaError as error:
            outcomes[identity] = (None, error)
    return outcomes


async def close(database: Database, identity: str, act: str, reason: str, by: str) -> ModerationItem:
    """Mark an item as decided; one that is done stays as it is."""
    for _ in range(ATTEMPTS):
        found = await item(database, identity)
        if found.state == "done":
            return found
        decision = {"act": act, "reason": reason, "by": by, "at": milliseconds(now())}
        done = replace(found, state="done", claimed_by=None, claimed_until=0, decision=decision)
        if await write(database, found, done):
            if found.reason == "report":
                about = {"tree_id": found.tree_id, "message_id": found.subject_id}
                await database["reports"].update_many(about, {"$set": {"processed": True}})
            return done
    raise Conflict(f"the queue's item {identity} changes too fast; try again")


async def close_about(database: Database, subject: str, act: str, reason: str, by: str) -> None:
    """Close every open item about `subject`, whatever its reason, but an appeal that waits for its answer."""
    async for document in database["moderation_items"].find({"subject": subject}):
        found = ModerationItem.from_document(document)
        if found.state == "open" and not await waits_for_answer(database, found):
            await close(database, found.id, act, reason, by)


async def waits_for_answer(database: Database, found: ModerationItem) -> bool:
    """Whether an item is there for an appeal that nobody has decided: only deciding it closes the item."""
    if found.appeal_id is None:
        return False
    return await database["appeals"].find_one({"_id": found.appeal_id, "state": "open"}, {"_id": 1}) is not None


async def rename_evidence(database: Database, identity: str, user_id: str, name: str, wordless: bool) -> None:
    """Let what a person said in an item be said by `name`, and, where `wordless`, without their words."""
    for _ in range(ATTEMPTS):
        document = await database["moderation_items"].find_one({"_id": identity})
        if document is None:
            return
        item = ModerationItem.from_document(document)
        renamed = replace(item, evidence=tuple(_renamed(each, user_id, name, wordless) for each in item.evidence))
        if renamed == item or await write(database, item, renamed):
            return
    raise Conflict(f"the queue's item {identity} changes too fast; try again")


def _renamed(piece: Mapping[str, Any], user_id: str, name: str, wordless: bool) -> dict[str, Any]:
    if piece.get("by") != user_id:
        return dict(piece)
    said = {key: "" if wordless and key == "reason" else value for key, value in piece.items() if key != "key"}
    said["by"] = name
    return {**said, "key": sha256_hex(canonical_json(said))[:16]}
