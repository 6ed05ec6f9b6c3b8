"""Moderators' part of the schema: mending somebody's text."""

from __future__ import annotations

import strawberry

from .context import Info
from .errors import Payload, mutation
from .keyed import Keyed
from .message_types import MessageNode
from .permissions import Moderator
from .queue_types import moderators
from .relay import raw_id


@strawberry.input(description="Another text for somebody's message.")
class CorrectMessageInput(Keyed):
    """Input of `correctMessage`."""

    message_id: strawberry.ID = strawberry.field(description="The message; not one of your own.")
    text: str = strawberry.field(description="Its text from now on; change as little as you can.")
    reason: str = strawberry.field(description="Why; it stands in the journal.")


@strawberry.type(description="What became of a correction.")
class CorrectMessagePayload(Payload):
    """Payload of `correctMessage`."""

    message: MessageNode | None = strawberry.field(default=None, description="The message with its new text.")


@strawberry.type
class CorrectionMutation:
    """Corrections."""

    @mutation(
        CorrectMessagePayload, Moderator, "Mend somebody's text; verdict, labels, rankings and the texts before stay."
    )
    async def correct_message(self, info: Info, input: CorrectMessageInput) -> CorrectMessagePayload:
        """Change the text."""
        message_id = raw_id(input.message_id, "Message", path=("message_id",))
        changed = await moderators(info.context).correct(info.context.user(), message_id, input.text, input.reason)
        return CorrectMessagePayload(message=MessageNode.of(changed, info.context))
