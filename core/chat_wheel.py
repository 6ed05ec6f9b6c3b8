"""How a reply that was rated down becomes ranking work: the step that closes the wheel.

With the owner's consent, the replies to one prompt that are complete and differ become a tree in `backlog_ranking`,
marked synthetic with their model versions. Where there is only one, a second is asked for first, as a `draft` that a
relay makes like any reply. The message's `wheel_due` says when to look again; it goes when nothing is left to do, so a
crash anywhere is healed by looking at what is due. Does not know relays, rankings or what becomes of the tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from core.chat_records import (
    ASSISTANT,
    STREAMING,
    Chat,
    ChatMessage,
    derived_id,
    drafts_of,
    ordered,
    thread_to,
)
from core.records import milliseconds, now

if TYPE_CHECKING:
    from core.database import Database

MAX_DRAFTS = 3
"""Drafts that are asked for one rated reply before it is left alone: a model may say the same each time."""
LOOK_AGAIN = timedelta(seconds=5)
"""Between looks at a rated reply, while its draft is made or after a step that failed."""
MAX_TURNS = 2_000
"""Looks at one rated reply, over some hours, before it is left alone."""


class SyntheticTrees(Protocol):
    """Where ranking work is made; `core.collection.Collection` is one."""

    async def add_synthetic_tree(
        self, thread: Sequence[Any], replies: Sequence[Any], *, key: str, lang: str, author_id: str | None
    ) -> Any:
        """A tree in `backlog_ranking`: `thread`, then `replies` to its last turn; the same `key`, the same tree."""


async def turn(database: Database, trees: SyntheticTrees, message_id: str) -> bool:
    """Take the next step for a reply that was rated down; whether a draft was asked for.

    Safe to repeat and to run twice at once: the tree's key and the draft's id follow from the messages. The next look
    is set before anything is done, so that a step that fails neither is lost nor holds up other replies.
    """
    later = {"$set": {"wheel_due": milliseconds(now() + LOOK_AGAIN)}, "$inc": {"wheel_turns": 1}}
    waiting = {"_id": message_id, "wheel_due": {"$exists": True}}
    document = await database.chat_messages.find_one_and_update(waiting, later)
    if document is None:
        return False
    rated = ChatMessage.from_document(document)
    chat = Chat.from_document(await database.chats.find_one({"_id": rated.chat_id}) or {})
    if not chat.allow_training or document.get("wheel_turns", 0) >= MAX_TURNS:
        await _done(database, [rated])
        return False
    messages = await messages_of(database, rated.chat_id)
    drafts = drafts_of(messages, rated.prompt_id)
    if len(drafts) < 2:
        return await _ask_for_draft(database, chat, messages, rated, document.get("wheel_drafts", 0))
    tree = await trees.add_synthetic_tree(**_tree_of(chat, messages, drafts))
    await _done(database, [*drafts, rated], tree_id=tree.id)
    return False


async def _ask_for_draft(
    database: Database, chat: Chat, messages: Sequence[ChatMessage], rated: ChatMessage, asked: int
) -> bool:
    """Ask for draft number `asked`, unless one is being made or enough were; whether it was asked for."""
    if any(message.parent_id == rated.prompt_id and message.state == STREAMING for message in messages):
        return False
    if asked >= MAX_DRAFTS:
        await _done(database, [rated])
        return False
    draft = new_reply(chat, rated.prompt_id, derived_id("draft", rated.id, str(asked)), draft=True)
    await insert_once(database, {**draft.to_document(), "lease_until": milliseconds(now())})
    await database.chat_messages.update_one({"_id": rated.id}, {"$set": {"wheel_drafts": asked + 1}})
    return True


async def due(database: Database, limit: int = 20) -> list[str]:
    """Ids of rated replies to look at now, the longest waiting first."""
    found = database.chat_messages.find({"wheel_due": {"$lte": milliseconds(now())}}).sort("wheel_due", 1).limit(limit)
    return [document["_id"] async for document in found]


async def hasten(database: Database, reply: ChatMessage) -> int:
    """Make rated replies beside `reply`, which has just ended, due at once; returns how many."""
    beside = database.chat_messages.find({"chat_id": reply.chat_id, "parent_id": reply.parent_id})
    waiting = [document["_id"] async for document in beside if document.get("wheel_due") is not None]
    for message_id in waiting:
        guard = {"_id": message_id, "wheel_due": {"$exists": True}}
        await database.chat_messages.update_one(guard, {"$set": {"wheel_due": milliseconds(now())}})
    return len(waiting)


async def messages_of(database: Database, chat_id: str) -> list[ChatMessage]:
    """Every message of a chat, oldest first."""
    found = database.chat_messages.find({"chat_id": chat_id})
    return ordered([ChatMessage.from_document(document) async for document in found])


def new_reply(chat: Chat, prompt_id: str, reply_id: str, *, draft: bool = False) -> ChatMessage:
    """A reply that is wanted and not yet begun."""
    return ChatMessage(
        id=reply_id, chat_id=chat.id, parent_id=prompt_id, owner_id=chat.owner_id, role=ASSISTANT, text="",
        state=STREAMING, model=chat.model, draft=draft, created_at=now(),
    )  # fmt: skip


async def insert_once(database: Database, document: dict[str, Any]) -> None:
    """Insert a message; one with this id that is there already stays as it is."""
    from pymongo.errors import DuplicateKeyError

    try:
        await database.chat_messages.insert_one(document)
    except DuplicateKeyError:
        return


async def _done(database: Database, messages: Sequence[ChatMessage], **changes: str) -> None:
    update: dict[str, Any] = {"$unset": {"wheel_due": "", "wheel_turns": ""}}
    if changes:
        update["$set"] = changes
    for message in messages:
        await database.chat_messages.update_one({"_id": message.id}, update)


def _tree_of(chat: Chat, messages: Sequence[ChatMessage], drafts: Sequence[ChatMessage]) -> dict[str, Any]:
    prompt_id = drafts[0].parent_id or ""
    about = {"key": f"chat:{prompt_id}", "lang": chat.lang, "author_id": chat.owner_id}
    return {"thread": thread_to(messages, prompt_id), "replies": drafts, **about}
