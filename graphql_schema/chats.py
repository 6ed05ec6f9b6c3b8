"""Chat's part of the schema. Every chat is its owner's alone: the service answers NOT_FOUND to everybody else."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from core.chat_records import ChatMessage, ChatSettings, Sampling
from core.errors import BadInput

from .chat_inputs import (
    CreateChatInput,
    CreateChatPayload,
    EditMessageInput,
    EditMessagePayload,
    RateReplyInput,
    RateReplyPayload,
    RegenerateInput,
    RegeneratePayload,
    SendMessageInput,
    SendMessagePayload,
    StopReplyInput,
    StopReplyPayload,
    UpdateChatInput,
    UpdateChatPayload,
)
from .chat_types import ChatMessageNode, ChatNode, ChatReplyEvent
from .context import Info, needed
from .errors import mutation
from .permissions import SignedIn
from .relay import After, Connection, First, connection, decode_cursor, page_size, raw_id

if TYPE_CHECKING:
    from core.chats import Chats

ChatId = Annotated[strawberry.ID, strawberry.argument(description="A chat of yours.")]
ReplyId = Annotated[strawberry.ID, strawberry.argument(description="A reply of one of your chats.")]
AfterSeq = Annotated[int, strawberry.argument(description="Number of the last token that you have; 0 for all.")]
MAX_KEY = 200


@strawberry.type
class ChatQuery:
    """Queries about chats."""

    @strawberry.field(description="Your chats, newest first.", permission_classes=[SignedIn])
    async def chats(self, info: Info, first: First, after: After = None) -> Connection[ChatNode]:
        """A page of the viewer's chats."""
        size = page_size(first)
        found = await _chats(info).page(info.context.user().id, first=size + 1, after=decode_cursor(after))
        return connection(found[:size], key=lambda chat: chat.id, has_next=len(found) > size, node=ChatNode.of)

    @strawberry.field(description="One of your chats.", permission_classes=[SignedIn])
    async def chat(self, info: Info, id: ChatId) -> ChatNode | None:
        """The chat; an error where it is none of the viewer's."""
        return ChatNode.of(await _chats(info).chat(info.context.user().id, raw_id(id, "Chat")))


@strawberry.type
class ChatMutation:
    """Mutations of chats. Replies come from a relay in the background: what is answered here is where to follow."""

    @mutation(CreateChatPayload, SignedIn, "Begin a chat.")
    async def create_chat(self, info: Info, input: CreateChatInput) -> CreateChatPayload:
        """Make an empty chat."""
        settings = ChatSettings(
            title=input.title,
            lang=input.lang,
            model=input.model,
            system_prompt=input.system_prompt,
            sampling=Sampling(input.temperature, input.top_p, input.max_tokens),
            allow_training=input.allow_training,
        )
        owner, key = info.context.user().id, _key(input.idempotency_key)
        return CreateChatPayload(chat=ChatNode.of(await _chats(info).create(owner, settings, idempotency_key=key)))

    @mutation(UpdateChatPayload, SignedIn, "Change a chat's settings, or your consent.")
    async def update_chat(self, info: Info, input: UpdateChatInput) -> UpdateChatPayload:
        """Change what is given, keep the rest."""
        owner, chat_id = info.context.user().id, raw_id(input.chat_id, "Chat", path=("chat_id",))
        chat = await _chats(info).chat(owner, chat_id)
        sampling = replace(chat.sampling, **_given(input, "temperature", "top_p", "max_tokens"))
        kept = {name: getattr(chat, name) for name in ChatSettings.__dataclass_fields__}
        given = _given(input, "title", "lang", "model", "system_prompt", "allow_training")
        settings = ChatSettings(**{**kept, **given, "sampling": sampling})
        return UpdateChatPayload(chat=ChatNode.of(await _chats(info).update(owner, chat_id, settings)))

    @mutation(SendMessagePayload, SignedIn, "Say something; a reply begins.")
    async def send_message(self, info: Info, input: SendMessageInput) -> SendMessagePayload:
        """Write the prompt down and begin its reply."""
        exchange = await _chats(info).send(
            info.context.user().id,
            raw_id(input.chat_id, "Chat", path=("chat_id",)),
            input.text,
            parent_id=None if input.parent_id is None else _message_id(input.parent_id, "parent_id"),
            idempotency_key=_key(input.idempotency_key),
        )
        return SendMessagePayload(prompt=ChatMessageNode.of(exchange.prompt), reply=ChatMessageNode.of(exchange.reply))

    @mutation(EditMessagePayload, SignedIn, "Say a prompt otherwise; a reply to it begins.")
    async def edit_message(self, info: Info, input: EditMessageInput) -> EditMessagePayload:
        """Write a sibling of the prompt down and begin its reply."""
        exchange = await _chats(info).edit(
            info.context.user().id,
            _message_id(input.message_id),
            input.text,
            idempotency_key=_key(input.idempotency_key),
        )
        return EditMessagePayload(prompt=ChatMessageNode.of(exchange.prompt), reply=ChatMessageNode.of(exchange.reply))

    @mutation(RegeneratePayload, SignedIn, "Begin another reply to the same prompt.")
    async def regenerate(self, info: Info, input: RegenerateInput) -> RegeneratePayload:
        """Begin a sibling of the reply."""
        reply = await _chats(info).regenerate(
            info.context.user().id, _message_id(input.message_id), idempotency_key=_key(input.idempotency_key)
        )
        return RegeneratePayload(reply=ChatMessageNode.of(reply))

    @mutation(StopReplyPayload, SignedIn, "Stop a reply; what was said is kept.")
    async def stop_reply(self, info: Info, input: StopReplyInput) -> StopReplyPayload:
        """Ask the reply's relay to stop, and wait for it a little."""
        reply = await _chats(info).stop(info.context.user().id, _message_id(input.message_id))
        return StopReplyPayload(reply=ChatMessageNode.of(reply))

    @mutation(RateReplyPayload, SignedIn, "Thumbs up or down; with your consent a thumb down becomes ranking work.")
    async def rate_reply(self, info: Info, input: RateReplyInput) -> RateReplyPayload:
        """Keep the rating; close the wheel."""
        reply = await _chats(info).rate(
            info.context.user().id, _message_id(input.message_id), input.score, input.reason
        )
        return RateReplyPayload(reply=ChatMessageNode.of(reply))


@strawberry.type
class ChatSubscription:
    """Subscriptions of chats."""

    @strawberry.subscription(
        description="A reply, token by token, then how it ended. Whoever comes back with `after` misses nothing.",
        permission_classes=[SignedIn],
    )
    async def chat_reply(
        self, info: Info, message_id: ReplyId, after: AfterSeq = 0
    ) -> AsyncGenerator[ChatReplyEvent, None]:
        """Follow one reply."""
        if after < 0:
            raise BadInput(f"after is {after}; it must be 0 or the number of a token", path=("after",))
        async for event in _chats(info).tokens(info.context.user().id, _message_id(message_id), after):
            if isinstance(event, ChatMessage):
                yield ChatReplyEvent(seq=event.seq, text="", message=ChatMessageNode.of(event))
            else:
                yield ChatReplyEvent(seq=event.seq, text=event.text)


def _chats(info: Info) -> Chats:
    chats: Chats = needed(info.context.services.chats, "chats")
    return chats


def _message_id(value: str, name: str = "message_id") -> str:
    return raw_id(value, "ChatMessage", path=(name,))


def _given(input: UpdateChatInput, *names: str) -> dict[str, Any]:
    return {name: getattr(input, name) for name in names if getattr(input, name) is not None}


def _key(key: str | None) -> str | None:
    if key is not None and not 1 <= len(key) <= MAX_KEY:
        raise BadInput(f"idempotencyKey has {len(key)} characters; 1 to {MAX_KEY}", path=("idempotency_key",))
    return key
