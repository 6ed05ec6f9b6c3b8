"""What the mutations on chats take and answer: one input and one payload each."""

from __future__ import annotations

import strawberry

from .chat_types import ChatMessageNode, ChatNode
from .errors import Payload
from .keyed import Keyed

KEY = "A request repeated with the same key answers the same."


@strawberry.input(description="A new chat.")
class CreateChatInput:
    """Input of `createChat`."""

    title: str = strawberry.field(default="", description="At most 100 characters; else the first prompt gives one.")
    lang: str = strawberry.field(default="en", description="Its language, such as en or pt-BR.")
    model: str = strawberry.field(default="assistant", description="`name` or `name@version` to ask for replies.")
    system_prompt: str = strawberry.field(default="", description="At most 4,000 characters.")
    temperature: float = strawberry.field(default=0.7, description="0 to 2.")
    top_p: float = strawberry.field(default=0.95, description="Above 0, up to 1.")
    max_tokens: int = strawberry.field(default=512, description="Tokens of one reply, 1 to 4096.")
    allow_training: bool = strawberry.field(
        default=False,
        description="Consent: a rated reply and the turns before it may be shown, without your name, and trained on.",
    )
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)


@strawberry.input(description="Changes of a chat; what is left out or null stays.")
class UpdateChatInput(Keyed):
    """Input of `updateChat`."""

    chat_id: strawberry.ID = strawberry.field(description="A chat of yours.")
    title: str | None = strawberry.field(default=None, description="At most 100 characters.")
    lang: str | None = strawberry.field(default=None, description="Such as en or pt-BR.")
    model: str | None = strawberry.field(default=None, description="`name` or `name@version`.")
    system_prompt: str | None = strawberry.field(default=None, description="At most 4,000 characters.")
    temperature: float | None = strawberry.field(default=None, description="0 to 2.")
    top_p: float | None = strawberry.field(default=None, description="Above 0, up to 1.")
    max_tokens: int | None = strawberry.field(default=None, description="1 to 4096.")
    allow_training: bool | None = strawberry.field(default=None, description="Give consent, or take it back.")


@strawberry.input(description="A prompt.")
class SendMessageInput:
    """Input of `sendMessage`."""

    chat_id: strawberry.ID = strawberry.field(description="A chat of yours.")
    text: str = strawberry.field(description="At most 8,000 characters.")
    parent_id: strawberry.ID | None = strawberry.field(
        default=None, description="The reply that it follows; null: the newest one."
    )
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)


@strawberry.input(description="A prompt, said otherwise.")
class EditMessageInput:
    """Input of `editMessage`."""

    message_id: strawberry.ID = strawberry.field(description="A prompt of yours; it stays, the new one is beside it.")
    text: str = strawberry.field(description="At most 8,000 characters.")
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)


@strawberry.input(description="A reply to be had again.")
class RegenerateInput:
    """Input of `regenerate`."""

    message_id: strawberry.ID = strawberry.field(description="The reply, or its prompt.")
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)


@strawberry.input(description="A reply to be stopped.")
class StopReplyInput(Keyed):
    """Input of `stopReply`."""

    message_id: strawberry.ID = strawberry.field(description="A reply that streams.")


@strawberry.input(description="What you think of a reply.")
class RateReplyInput(Keyed):
    """Input of `rateReply`."""

    message_id: strawberry.ID = strawberry.field(description="An ended reply.")
    score: int = strawberry.field(description="1 (good), -1 (bad), or 0 to take a rating back.")
    reason: str = strawberry.field(default="", description="At most 2,000 characters.")


@strawberry.type(description="The chat.")
class CreateChatPayload(Payload):
    """Payload of `createChat`."""

    chat: ChatNode | None = strawberry.field(default=None, description="The chat, empty.")


@strawberry.type(description="The chat as changed.")
class UpdateChatPayload(Payload):
    """Payload of `updateChat`."""

    chat: ChatNode | None = strawberry.field(default=None, description="The chat.")


@strawberry.type(description="What was said, and the reply that is on its way.")
class SendMessagePayload(Payload):
    """Payload of `sendMessage`."""

    prompt: ChatMessageNode | None = strawberry.field(default=None, description="The prompt.")
    reply: ChatMessageNode | None = strawberry.field(default=None, description="Follow it with `chatReply`.")


@strawberry.type(description="The new prompt, and the reply that is on its way.")
class EditMessagePayload(Payload):
    """Payload of `editMessage`."""

    prompt: ChatMessageNode | None = strawberry.field(default=None, description="The new prompt.")
    reply: ChatMessageNode | None = strawberry.field(default=None, description="Follow it with `chatReply`.")


@strawberry.type(description="The reply that is on its way.")
class RegeneratePayload(Payload):
    """Payload of `regenerate`."""

    reply: ChatMessageNode | None = strawberry.field(default=None, description="Follow it with `chatReply`.")


@strawberry.type(description="The reply as it was stopped.")
class StopReplyPayload(Payload):
    """Payload of `stopReply`."""

    reply: ChatMessageNode | None = strawberry.field(
        default=None,
        description="Still STREAMING where its node was slow to hear of it; `chatReply` says when it ends.",
    )


@strawberry.type(description="The reply as rated.")
class RateReplyPayload(Payload):
    """Payload of `rateReply`."""

    reply: ChatMessageNode | None = strawberry.field(
        default=None, description="With `treeId` once it has become ranking work; a second draft may come first."
    )
