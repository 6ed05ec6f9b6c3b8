"""Chats of one person with a model: what the API offers of them, over the document store.

Knows who may see what (a chat is its owner's alone), which turn may follow which, and that a reply is begun by writing
it down as `streaming`: a relay, in this or another process, takes it from there (`core.chat_stream.take`). Does not
know serving nodes, HTTP or GraphQL.

Every change is one guarded write of one document; a request repeated with its idempotency key answers the same.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from core import chat_wheel
from core.chat_records import (
    ASSISTANT,
    COMPLETE,
    MAX_MESSAGES,
    MAX_REASON,
    PROMPTER,
    STOPPED,
    STREAMING,
    Chat,
    ChatMessage,
    ChatSettings,
    Exchange,
    check_length,
    check_text,
    derived_id,
    next_parent,
    thread_to,
    title_of,
)
from core.chat_stream import Notices, Token, follow, load_message, stop_notice, take, wait
from core.errors import BadInput, Conflict, NotFound, OaError, TooMany
from core.ids import new_id
from core.records import milliseconds, now

if TYPE_CHECKING:
    from core.chat_wheel import SyntheticTrees
    from core.database import Database

log = logging.getLogger("oa.chats")

WANTED = "reply-wanted"
"""Notice that a reply was written down for a relay to take."""
MAX_STREAMS = 4
"""Replies of one chat that may stream at once."""


class Chats:
    """The chats of everyone, each shown to its owner only.

    Args:
        database: the document store.
        trees: where rated threads become ranking work (`core.collection.Collection`); None: ratings stay ratings.
        notices: of this process; the relay in it must be given the same.

    Raises:
        NotFound: from every method that names a chat or message which does not exist or is another's.
    """

    def __init__(self, database: Database, trees: SyntheticTrees | None = None, notices: Notices | None = None) -> None:
        self.database = database
        self.trees = trees
        self.notices = notices or Notices()

    async def create(self, owner_id: str, settings: ChatSettings, *, idempotency_key: str | None = None) -> Chat:
        """A new chat of `owner_id`; with a key that made one already, that one."""
        from pymongo.errors import DuplicateKeyError

        chat_id = derived_id("chat", owner_id, idempotency_key) if idempotency_key else new_id()
        moment = now()
        chat = Chat(
            id=chat_id, owner_id=owner_id, title=settings.title, lang=settings.lang, model=settings.model,
            system_prompt=settings.system_prompt, sampling=settings.sampling,
            allow_training=settings.allow_training, created_at=moment, updated_at=moment,
        )  # fmt: skip
        try:
            await self.database.chats.insert_one(chat.to_document())
        except DuplicateKeyError:
            return await self.chat(owner_id, chat_id)
        return chat

    async def chat(self, owner_id: str, chat_id: str) -> Chat:
        """One chat."""
        document = await self.database.chats.find_one({"_id": chat_id})
        if document is None or document["owner_id"] != owner_id:
            raise NotFound(f"there is no chat {chat_id!r}, or you may not see it")
        return Chat.from_document(document)

    async def page(self, owner_id: str, *, first: int = 20, after: str | None = None) -> list[Chat]:
        """Up to `first` chats of `owner_id`, newest first, those that are older than the chat with id `after`."""
        upper = f"{owner_id}|{after}" if after else f"{owner_id}|~"
        keys = {"$gte": f"{owner_id}|", "$lt": upper}
        found = self.database.chats.find({"owner_key": keys}).sort("owner_key", -1).limit(first)
        return [Chat.from_document(document) async for document in found]

    async def update(self, owner_id: str, chat_id: str, settings: ChatSettings) -> Chat:
        """Give a chat other settings; replies that stream already keep theirs."""
        before = await self.chat(owner_id, chat_id)
        changed = replace(settings.apply(before), updated_at=now())
        if changed.allow_training != before.allow_training:  # the rest follows in the background: `core.consent`
            key = before.consent_key or new_id()
            changed = replace(changed, consent_key=key, consent_due=milliseconds(changed.updated_at))
        document = changed.to_document()
        await self.database.chats.update_one({"_id": document.pop("_id"), "owner_id": owner_id}, {"$set": document})
        return changed

    async def message(self, owner_id: str, message_id: str) -> ChatMessage:
        """One message."""
        message = await load_message(self.database, message_id)
        if message.owner_id != owner_id:
            raise NotFound(f"there is no message {message_id!r}, or you may not see it")
        return message

    async def messages(self, owner_id: str, chat_id: str) -> list[ChatMessage]:
        """Every message of a chat, siblings too, oldest first."""
        await self.chat(owner_id, chat_id)
        return await chat_wheel.messages_of(self.database, chat_id)

    async def thread(self, owner_id: str, message_id: str) -> list[ChatMessage]:
        """The turns from the first prompt to `message_id`, both included."""
        message = await self.message(owner_id, message_id)
        return thread_to(await chat_wheel.messages_of(self.database, message.chat_id), message_id)

    async def tokens(self, owner_id: str, message_id: str, after: int = 0) -> AsyncIterator[Token | ChatMessage]:
        """Tokens of a reply numbered above `after` as they come, then the ended message: see `chat_stream.follow`."""
        await self.message(owner_id, message_id)
        async for event in follow(self.database, self.notices, message_id, after):
            yield event

    async def send(
        self,
        owner_id: str,
        chat_id: str,
        text: str,
        *,
        parent_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Exchange:
        """Say `text` and begin a reply.

        Args:
            owner_id: who says it.
            chat_id: where.
            text: at most `MAX_TEXT` characters.
            parent_id: the reply that it follows; None: the newest one, or the start of an empty chat.
            idempotency_key: a repeat with the same key answers the same exchange.

        Raises:
            BadInput: the text is empty or too long, or `parent_id` is no ended reply.
            Conflict: the newest reply still streams, or the key was used for another text.
            TooMany: the chat is full, or too many replies stream.
        """
        chat = await self.chat(owner_id, chat_id)
        messages = await chat_wheel.messages_of(self.database, chat_id)
        prompt_id = derived_id("prompt", chat_id, idempotency_key) if idempotency_key else new_id()
        if repeated := await self._repeated(chat, messages, prompt_id, check_text(text)):
            return repeated
        parent = next_parent(messages) if parent_id is None else _reply_to_follow(messages, parent_id)
        return await self._exchange(chat, messages, prompt_id, parent, check_text(text))

    async def edit(self, owner_id: str, message_id: str, text: str, *, idempotency_key: str | None = None) -> Exchange:
        """Say a prompt otherwise: a sibling of it, with a reply of its own. Raises as `send` does."""
        old = await self.message(owner_id, message_id)
        if old.role != PROMPTER:
            raise BadInput(
                f"message {message_id!r} is a reply; only your own messages can be edited", path=("message_id",)
            )
        chat = await self.chat(owner_id, old.chat_id)
        messages = await chat_wheel.messages_of(self.database, old.chat_id)
        prompt_id = derived_id("edit", message_id, idempotency_key) if idempotency_key else new_id()
        if repeated := await self._repeated(chat, messages, prompt_id, check_text(text)):
            return repeated
        return await self._exchange(chat, messages, prompt_id, old.parent_id, check_text(text))

    async def regenerate(self, owner_id: str, message_id: str, *, idempotency_key: str | None = None) -> ChatMessage:
        """Begin another reply to the same prompt; `message_id` is a reply, or the prompt itself."""
        message = await self.message(owner_id, message_id)
        prompt_id = message.prompt_id
        chat = await self.chat(owner_id, message.chat_id)
        messages = await chat_wheel.messages_of(self.database, chat.id)
        reply_id = derived_id("reply", prompt_id, idempotency_key) if idempotency_key else new_id()
        for existing in messages:
            if existing.id == reply_id:
                return existing
        check_room(messages)
        return await self._begin_reply(chat, prompt_id, reply_id)

    async def stop(self, owner_id: str, message_id: str, *, patience: float = 5.0) -> ChatMessage:
        """Ask that a reply stops; waits up to `patience` seconds for it to end. An ended reply stays as it is."""
        await self.message(owner_id, message_id)
        asked = {"$set": {"stop_requested": True}}
        await self.database.chat_messages.update_one({"_id": message_id, "state": STREAMING}, asked)
        self.notices.notify(stop_notice(message_id))
        if hold := await take(self.database, self.notices, message_id, new_id()):
            return await hold.finish(STOPPED)
        return await self._ended(message_id, patience)

    async def rate(self, owner_id: str, message_id: str, score: int, reason: str = "") -> ChatMessage:
        """Thumbs up (1), down (-1) or neither (0) for an ended reply.

        With the chat's consent to training, a thumb down makes ranking work of the prompt's replies
        (`core.chat_wheel`): at once if there are two, else when a relay has made a second one.
        """
        message = await self.message(owner_id, message_id)
        if score not in (-1, 0, 1):
            raise BadInput(f"score is {score}; it must be 1 (good), -1 (bad) or 0 (neither)", path=("score",))
        if message.role != ASSISTANT or message.state == STREAMING:
            raise BadInput(f"message {message_id!r} is no ended reply; only those can be rated", path=("message_id",))
        rating = {"score": score, "score_reason": check_length("reason", reason, MAX_REASON), "rated_at": now()}
        chat = await self.chat(owner_id, message.chat_id)
        turns = score == -1 and message.state == COMPLETE and chat.allow_training and self.trees is not None
        change: dict[str, Any] = {"$set": {**rating, "wheel_due": milliseconds(now())}} if turns else {"$set": rating}
        if not turns:
            change["$unset"] = {"wheel_due": ""}
        await self.database.chat_messages.update_one({"_id": message_id}, change)
        if turns:
            await self._turn_or_leave(message_id)
        return await load_message(self.database, message_id)

    async def _turn_or_leave(self, message_id: str) -> None:
        """Turn the wheel now; where that fails the rating stands, and a relay turns it later."""
        try:
            await self.turn_wheel(message_id)
        except OaError as error:
            log.warning("reply %s was rated down but is no ranking work yet: %s", message_id, error)

    async def turn_wheel(self, message_id: str) -> None:
        """Take the next step by which a reply rated down becomes ranking work; safe to repeat."""
        if self.trees is not None and await chat_wheel.turn(self.database, self.trees, message_id):
            self.notices.notify(WANTED)

    async def _repeated(
        self, chat: Chat, messages: Sequence[ChatMessage], prompt_id: str, text: str
    ) -> Exchange | None:
        """What an earlier request with the same key made, completed if it broke off half-way."""
        prompt = next((message for message in messages if message.id == prompt_id), None)
        if prompt is None:
            return None
        if prompt.text != text:
            raise Conflict("this idempotency key was used for another text; take a new key for each message")
        reply_id = derived_id("first-reply", prompt_id)
        reply = next((message for message in messages if message.id == reply_id), None)
        return Exchange(prompt, reply or await self._begin_reply(chat, prompt_id, reply_id))

    async def _exchange(
        self, chat: Chat, messages: Sequence[ChatMessage], prompt_id: str, parent_id: str | None, text: str
    ) -> Exchange:
        check_room(messages)
        moment = now()
        prompt = ChatMessage(
            id=prompt_id, chat_id=chat.id, parent_id=parent_id, owner_id=chat.owner_id, role=PROMPTER, text=text,
            state=COMPLETE, created_at=moment, finished_at=moment,
        )  # fmt: skip
        await chat_wheel.insert_once(self.database, prompt.to_document())
        reply = await self._begin_reply(chat, prompt_id, derived_id("first-reply", prompt_id))
        title = chat.title or title_of(text)
        await self.database.chats.update_one({"_id": chat.id}, {"$set": {"updated_at": moment, "title": title}})
        return Exchange(prompt, reply)

    async def _begin_reply(self, chat: Chat, prompt_id: str, reply_id: str) -> ChatMessage:
        reply = chat_wheel.new_reply(chat, prompt_id, reply_id)
        await chat_wheel.insert_once(self.database, {**reply.to_document(), "lease_until": milliseconds(now())})
        self.notices.notify(WANTED)
        return reply

    async def _ended(self, message_id: str, patience: float) -> ChatMessage:
        deadline = now() + timedelta(seconds=patience)
        async with self.notices.watch(message_id) as changed:
            while True:
                message = await load_message(self.database, message_id)
                left = (deadline - now()).total_seconds()
                if message.state != STREAMING or left <= 0:
                    return message
                await wait(changed, min(left, 0.25))


def check_room(messages: Sequence[ChatMessage]) -> None:
    """Raise `TooMany` when a chat can take no more messages, or streams as many replies as it may."""
    if len(messages) + 2 > MAX_MESSAGES:
        raise TooMany(f"this chat has {len(messages)} messages, {MAX_MESSAGES} at most; begin a new one")
    streams = sum(message.state == STREAMING for message in messages)
    if streams >= MAX_STREAMS:
        raise TooMany(
            f"{streams} replies of this chat are streaming, {MAX_STREAMS} at most; wait or stop one", retry_after=5
        )


def _reply_to_follow(messages: Sequence[ChatMessage], parent_id: str) -> str:
    parent = next((message for message in messages if message.id == parent_id), None)
    if parent is None:
        raise NotFound(f"message {parent_id!r} is not in this chat", path=("parent_id",))
    if parent.role != ASSISTANT or not parent.usable:
        raise BadInput(
            f"message {parent_id!r} is no ended reply with a text; a prompt follows one", path=("parent_id",)
        )
    return parent_id
