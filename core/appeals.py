"""Appeals: an author asks once for each decision that another moderator look at it; a moderator decides with a reason.

The decision is one guarded write to the appeal; what follows from it (the message accepted or put back, the queue's
item closed, the journal) may be repeated, and the sweeper repeats it after a crash.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from pymongo.errors import DuplicateKeyError

from core.config import CollectionConfig
from core.database import Database
from core.errors import BadInput, Conflict, Forbidden, NotFound
from core.journal import record
from core.moderation_queue import close, enqueue
from core.moderation_records import check_moderator
from core.pages import many, one
from core.people_records import Appeal, decision_of
from core.records import Message, User, now
from core.rulings import check_reason, judge_message, restore_message

TEXT_LIMIT = 4096
"""Characters of an appeal."""


async def appeal(database: Database, user: User, message_id: str, text: str) -> Appeal:
    """Appeal against the decision that stands on one's own message; the same again gives the appeal that there is.

    Raises:
        BadInput: the text is empty or too long.
        Conflict: nothing was decided against the message, or one appealed in other words before.
        NotFound: there is no such message of one's own.
    """
    text = text.strip()
    if not 1 <= len(text) <= TEXT_LIMIT:
        raise BadInput(f"the text has {len(text)} characters; it must have 1 to {TEXT_LIMIT}", path=("text",))
    message = await one(database, "messages", Message, message_id)
    if message.author_id != user.id:
        raise NotFound(f"there is no message {message_id!r} of yours")
    decision = decision_of(message)
    if decision is None:
        raise Conflict(f"nothing was decided against message {message_id}; there is nothing to appeal against")
    made = Appeal(
        id=f"{message_id}|{decision}", message_id=message_id, tree_id=message.tree_id, lang=message.lang,
        user_id=user.id, decision=decision, text=text,
    )  # fmt: skip
    try:
        await database["appeals"].insert_one(made.to_document())
    except DuplicateKeyError:
        made = await load(database, made.id)
        if made.text != text:
            on = f"{made.created_at:%Y-%m-%d}"
            again = f"you appealed against this decision already, on {on}; once is all there is"
            raise Conflict(again, path=("message_id",)) from None
    if made.state == "open":
        evidence = {"by": user.id, "reason": made.text, "decision": decision}
        await enqueue(database, f"message:{message_id}", "appeal", 3, evidence)
        told = {"decision": decision}
        await record(database, "appeal", message_id, told, by=user.id, key=decision, lang=message.lang)
    return made


async def load(database: Database, appeal_id: str) -> Appeal:
    """The appeal of that id; raises `NotFound`."""
    document = await database["appeals"].find_one({"_id": appeal_id})
    if document is None:
        raise NotFound(f"there is no appeal {appeal_id!r}")
    return Appeal.from_document(document)


async def by_ids(database: Database, identities: Sequence[str]) -> dict[str, Appeal]:
    """The appeals of those ids that exist, by id."""
    found = database["appeals"].find({"_id": {"$in": list(identities)}})
    return {document["_id"]: Appeal.from_document(document) async for document in found}


async def of_messages(database: Database, messages: list[Message]) -> dict[str, Appeal]:
    """Message id -> the appeal against the decision that stands on it, where there is one."""
    wanted = [f"{message.id}|{decision_of(message)}" for message in messages if decision_of(message)]
    found = database["appeals"].find({"_id": {"$in": wanted}})
    return {document["message_id"]: Appeal.from_document(document) async for document in found}


async def decide(
    database: Database, config: CollectionConfig, moderator: User, appeal_id: str, uphold: bool, reason: str
) -> Appeal:
    """Uphold an appeal (the message is accepted, or put back) or reject it; the author reads the reason.

    Raises:
        BadInput: no reason is given.
        Conflict: it was decided otherwise; or it cannot be upheld, since a message above was taken back by its author.
        Forbidden: the moderator made the decision that it is against, or the appeal; an admin may decide all the same.
    """
    check_moderator(moderator)
    found = await load(database, appeal_id)
    check_moderator(moderator, found.lang)
    if not (reason := check_reason(reason)):
        raise BadInput("no reason is given; the author should know why", path=("reason",))
    message = await one(database, "messages", Message, found.message_id)
    ruled_by = (message.ruling or {}).get("by")
    if found.state == "open" and ruled_by == moderator.id and not moderator.has_role("admin"):
        raise Forbidden("this appeal is against your own decision; another moderator must decide")
    if found.user_id == moderator.id and not moderator.has_role("admin"):
        raise Forbidden("this appeal is your own; another moderator must decide")
    if uphold and found.state == "open":
        await _check_can_return(database, message)
    state = "upheld" if uphold else "rejected"
    decided = replace(found, state=state, answer=reason, decided_by=moderator.id, decided_at=now())
    document = decided.to_document()
    del document["_id"]
    await database["appeals"].update_one({"_id": appeal_id, "state": "open"}, {"$set": document})
    found = await load(database, appeal_id)
    if found.state != state:
        raise Conflict(f"this appeal was {found.state} already")
    return await apply(database, config, found)


async def _check_can_return(database: Database, message: Message) -> None:
    above = (await many(database, "messages", Message, list(message.ancestors))).values()
    if any(each.removed in ("author", "account") for each in (*above, message)):
        raise Conflict("its author, or that of a message above it, took it back; it cannot be put back, only rejected")


async def apply(database: Database, config: CollectionConfig, decided: Appeal) -> Appeal:
    """Do what follows from a decided appeal, and return it as applied; may be repeated."""
    if decided.applied:
        return decided
    by = await _decider(database, decided)
    message = await one(database, "messages", Message, decided.message_id)
    if decided.state == "upheld" and decision_of(message) == decided.decision:
        if message.deleted:
            # What its author, or that of a message above it, has taken back meanwhile stays out.
            with suppress(Conflict):
                message = await restore_message(database, config, by, message.id, decided.answer or "")
        if message.state == "refused":
            await judge_message(database, config, by, message.id, "accepted", decided.answer or "")
    details = {"appeal": decided.id, "state": decided.state, "reason": decided.answer}
    await record(database, "decide_appeal", message.id, details, by=by.id, key=decided.id, lang=message.lang)
    await close(database, f"message:{message.id}|appeal", decided.state, decided.answer or "", by.id)
    done = replace(decided, applied=True)
    await database["appeals"].update_one({"_id": decided.id}, {"$set": {"applied": True, "unapplied": None}})
    return done


async def _decider(database: Database, decided: Appeal) -> User:
    """Who decided, with the right to do what follows even when the role was taken away since."""
    document = await database["users"].find_one({"_id": decided.decided_by})
    if document is None:
        raise NotFound(f"there is no user {decided.decided_by!r}")
    return replace(User.from_document(document), roles=("admin",))


async def sweep(database: Database, config: CollectionConfig) -> int:
    """Apply decided appeals that a crash left; returns how many."""
    left = database["appeals"].find({"unapplied": {"$gte": "0", "$lt": "}"}}).limit(100)
    waiting = [Appeal.from_document(document) async for document in left]
    for each in waiting:
        await apply(database, config, each)
    return len(waiting)
