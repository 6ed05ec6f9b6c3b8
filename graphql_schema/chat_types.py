"""Chats and their messages as their owner sees them; nobody else sees them at all."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import strawberry

from core.chat_records import Chat, ChatMessage
from core.errors import NotFound

from .context import Context, Info, needed
from .enums import Role
from .model_types import LineageNode
from .nodes import reads
from .relay import After, Connection, First, Node, global_id, slice_connection


@strawberry.enum(description="How a chat message stands.")
class ChatMessageState(Enum):
    """States of a message; a prompt is always complete."""

    STREAMING = strawberry.enum_value("streaming", description="Being said; follow it with `chatReply`.")
    COMPLETE = strawberry.enum_value("complete", description="Said to its end.")
    STOPPED = strawberry.enum_value("stopped", description="Ended by its owner; what was said is kept.")
    FAILED = strawberry.enum_value("failed", description="Broken off; `error` says why. Regenerate it.")


@strawberry.type(description="Why something failed.")
class Failure:
    """A code of the closed list, and words."""

    code: str = strawberry.field(description="One of the closed list of error codes.")
    message: str = strawberry.field(description="What happened, for a person.")


@strawberry.type(name="ChatMessage", description="One turn of a chat.")
class ChatMessageNode(Node):
    """A message of a chat."""

    record: strawberry.Private[ChatMessage]
    chat_id: strawberry.ID = strawberry.field(description="Its chat.")
    parent_id: strawberry.ID | None = strawberry.field(description="The turn before; null for a first prompt.")
    role: Role = strawberry.field(description="Who speaks.")
    text: str = strawberry.field(description="The turn; of a streaming reply, what was said up to token `seq`.")
    state: ChatMessageState = strawberry.field(description="How it stands.")
    seq: int = strawberry.field(description="Number of the last token in `text`, from 1; 0 before the first.")
    model: str = strawberry.field(description="What the reply was asked of; empty for a prompt.")
    model_version: str | None = strawberry.field(description="`name@version` that answered.")
    score: int = strawberry.field(description="Your rating: 1, -1, or 0 for none.")
    score_reason: str = strawberry.field(description="Your words with it.")
    draft: bool = strawberry.field(description="Made to have something to rank, not because you asked.")
    tree_id: strawberry.ID | None = strawberry.field(description="The conversation tree that it went into.")
    created_at: datetime = strawberry.field(description="When it was begun.")
    finished_at: datetime | None = strawberry.field(description="When it ended.")

    @strawberry.field(description="Why the reply failed.")
    def error(self) -> Failure | None:
        """Code and message of a failed reply."""
        error = self.record.error
        return None if error is None else Failure(code=error["code"], message=error["message"])

    @strawberry.field(description="Why the model says this: its version, job and data; null for what is unpublished.")
    async def lineage(self, info: Info) -> LineageNode | None:
        """From the reply to the snapshots that its model learned from."""
        needed(info.context.services.models, "models")
        version = self.record.model_version
        found = await info.context.loaders.lineages.load(version) if version else None
        return None if found is None else LineageNode.of(found)

    @classmethod
    def of(cls, record: ChatMessage) -> ChatMessageNode:
        """The message."""
        return cls(
            id=global_id("ChatMessage", record.id),
            record=record,
            chat_id=global_id("Chat", record.chat_id),
            parent_id=None if record.parent_id is None else global_id("ChatMessage", record.parent_id),
            role=Role(record.role),
            text=record.text,
            state=ChatMessageState(record.state),
            seq=record.seq,
            model=record.model,
            model_version=record.model_version,
            score=record.score,
            score_reason=record.score_reason,
            draft=record.draft,
            tree_id=None if record.tree_id is None else global_id("Tree", record.tree_id),
            created_at=record.created_at,
            finished_at=record.finished_at,
        )


@strawberry.type(name="Chat", description="One of your chats with a model.")
class ChatNode(Node):
    """A chat."""

    record: strawberry.Private[Chat]
    title: str = strawberry.field(description="The start of its first prompt, where you gave none.")
    lang: str = strawberry.field(description="Its language, such as en or pt-BR.")
    model: str = strawberry.field(description="What replies are asked of: `name` or `name@version`.")
    system_prompt: str = strawberry.field(description="Put before the conversation.")
    temperature: float = strawberry.field(description="0, always the likeliest token, to 2.")
    top_p: float = strawberry.field(description="Share of probability that tokens are drawn from.")
    max_tokens: int = strawberry.field(description="Tokens of one reply at most.")
    allow_training: bool = strawberry.field(description="Whether rated replies may become ranking work and data.")
    created_at: datetime = strawberry.field(description="When it was begun.")
    updated_at: datetime = strawberry.field(description="When it was last changed.")

    @strawberry.field(description="All of its messages, siblings too, oldest first.")
    async def messages(self, info: Info, first: First, after: After = None) -> Connection[ChatMessageNode]:
        """A page of the chat's messages."""
        chats = needed(info.context.services.chats, "chats")
        records = await chats.messages(self.record.owner_id, self.record.id)
        return slice_connection(records, first, after, key=lambda record: record.id, node=ChatMessageNode.of)

    @classmethod
    def of(cls, record: Chat) -> ChatNode:
        """The chat."""
        return cls(
            id=global_id("Chat", record.id),
            record=record,
            title=record.title,
            lang=record.lang,
            model=record.model,
            system_prompt=record.system_prompt,
            temperature=record.sampling.temperature,
            top_p=record.sampling.top_p,
            max_tokens=record.sampling.max_tokens,
            allow_training=record.allow_training,
            created_at=record.created_at,
            updated_at=record.updated_at,
        )


@strawberry.type(description="What a reply says next, or how it ended.")
class ChatReplyEvent:
    """A token, or the end."""

    seq: int = strawberry.field(description="Number of the token, from 1; pass the last one as `after` to come back.")
    text: str = strawberry.field(description="The token; empty in the last event.")
    message: ChatMessageNode | None = strawberry.field(
        default=None, description="In the last event: the reply as it ended, with its whole text."
    )


@reads("Chat")
async def load_chat(context: Context, chat_id: str) -> ChatNode | None:
    """The viewer's chat with that id; None for another's."""
    try:
        return ChatNode.of(await needed(context.services.chats, "chats").chat(context.user().id, chat_id))
    except NotFound:
        return None


@reads("ChatMessage")
async def load_chat_message(context: Context, message_id: str) -> ChatMessageNode | None:
    """The message of one of the viewer's chats; None for another's."""
    try:
        return ChatMessageNode.of(await needed(context.services.chats, "chats").message(context.user().id, message_id))
    except NotFound:
        return None
