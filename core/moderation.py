"""What people say about messages outside of tasks: reactions and reports, which the moderators' queue hears of."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo.errors import DuplicateKeyError

from core.config import CollectionConfig
from core.database import Database
from core.errors import BadInput
from core.facts import mark
from core.moderation_queue import enqueue
from core.opinions import Reaction, Report, reaction_id
from core.pages import one
from core.records import EMOJIS, Message, User
from core.settle import settle

REASON_LIMIT = 4096
"""Characters of a report's reason."""
_OPPOSITE = {"+1": "-1", "-1": "+1"}


async def react(
    database: Database, config: CollectionConfig, user: User, message_id: str, emoji: str, on: bool
) -> Message:
    """Set or take back the user's emoji; +1 and -1 exclude each other; authors' own +1 and -1 count for nothing.

    Returns:
        the message with its new counts.
    """
    if emoji not in EMOJIS or emoji.startswith("_"):
        allowed = ", ".join(code for code in EMOJIS if not code.startswith("_"))
        raise BadInput(f"unknown emoji {emoji!r}; one of: {allowed}", path=("emoji",))
    message = await one(database, "messages", Message, message_id)
    if emoji in _OPPOSITE and message.author_id == user.id:
        return message
    await mark(database, message.tree_id)  # before and after, so that a crash between leaves it to the sweeper
    if on and emoji in _OPPOSITE:
        await database["reactions"].delete_one({"_id": reaction_id(message_id, user.id, _OPPOSITE[emoji])})
    if on:
        await _add(database, message, user, emoji)
        if emoji == "red_flag":
            await enqueue(database, f"message:{message_id}", "red_flag", 6, {"by": user.id})
    else:
        await database["reactions"].delete_one({"_id": reaction_id(message_id, user.id, emoji)})
    await settle(database, config, message.tree_id, marking=True)
    return await one(database, "messages", Message, message_id)


async def emojis_of(database: Database, holders: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The emojis that people set on messages, in the order of `EMOJIS`; nothing where they set none.

    Args:
        holders: `message id|user id`, of which the result speaks by the same names.
    """
    set_by_hand = [code for code in EMOJIS if not code.startswith("_")]
    wanted = [f"{holder}|{code}" for holder in holders for code in set_by_hand]
    found = {document["_id"] async for document in database["reactions"].find({"_id": {"$in": wanted}}, {"_id": 1})}
    own = {each: tuple(code for code in set_by_hand if f"{each}|{code}" in found) for each in holders}
    return {holder: codes for holder, codes in own.items() if codes}


async def _add(database: Database, message: Message, user: User, emoji: str) -> None:
    reaction = Reaction(
        id=reaction_id(message.id, user.id, emoji), tree_id=message.tree_id, message_id=message.id, user_id=user.id,
        emoji=emoji,
    )  # fmt: skip
    try:
        await database["reactions"].insert_one(reaction.to_document())
    except DuplicateKeyError:
        return


async def report(database: Database, config: CollectionConfig, user: User, message_id: str, reason: str) -> Report:
    """Tell the moderators about a message, and flag it; a second report by the same person replaces the reason."""
    reason = reason.strip()
    if not 1 <= len(reason) <= REASON_LIMIT:
        raise BadInput(f"the reason has {len(reason)} characters; it must have 1 to {REASON_LIMIT}", path=("reason",))
    message = await one(database, "messages", Message, message_id)
    made = Report(
        id=f"{message_id}|{user.id}", tree_id=message.tree_id, message_id=message_id, user_id=user.id, reason=reason
    )
    document = made.to_document()
    del document["_id"]
    await database["reports"].update_one({"_id": made.id}, {"$set": document}, upsert=True)
    await enqueue(database, f"message:{message_id}", "report", 5, {"by": user.id, "reason": reason})
    await react(database, config, user, message_id, "red_flag", True)
    return made
