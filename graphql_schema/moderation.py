"""Reactions and reports by everyone, deletion by moderators."""

from __future__ import annotations

import strawberry

from .context import Info
from .errors import Payload, mutation
from .keyed import Keyed
from .message_types import MessageNode, load_message
from .permissions import Contributor, Moderator
from .relay import raw_id
from .task_inputs import LabelAnswer
from .tasks import labels_answered


@strawberry.input(description="An emoji to set or take back.")
class ReactInput(Keyed):
    """Input of `react`."""

    message_id: strawberry.ID = strawberry.field(description="The message.")
    emoji: str = strawberry.field(description="Its code, such as +1, -1 or red_flag.")
    on: bool = strawberry.field(default=True, description="Set it, or take it back.")


@strawberry.type(description="What became of a reaction.")
class ReactPayload(Payload):
    """Payload of `react`."""

    message: MessageNode | None = strawberry.field(default=None, description="The message with its emojis.")


@strawberry.input(description="A message that moderators should look at.")
class ReportInput(Keyed):
    """Input of `report`."""

    message_id: strawberry.ID = strawberry.field(description="The message.")
    reason: str = strawberry.field(description="What is wrong with it.")


@strawberry.type(description="What became of a report.")
class ReportPayload(Payload):
    """Payload of `report`."""

    message: MessageNode | None = strawberry.field(default=None, description="The message reported.")


@strawberry.input(description="What you say a message is, outside of a task.")
class LabelMessageInput(Keyed):
    """Input of `labelMessage`."""

    message_id: strawberry.ID = strawberry.field(description="The message; not one of your own.")
    labels: list[LabelAnswer] = strawberry.field(
        description="In place of those that you set before, each at most once; none takes them away."
    )


@strawberry.type(description="What became of labels.")
class LabelMessagePayload(Payload):
    """Payload of `labelMessage`."""

    message: MessageNode | None = strawberry.field(default=None, description="The message labelled.")


@strawberry.input(description="A message to take out.")
class DeleteMessageInput(Keyed):
    """Input of `deleteMessage`."""

    message_id: strawberry.ID = strawberry.field(description="The message; what follows it goes with it.")
    reason: str = strawberry.field(default="", description="Why; its author reads it.")


@strawberry.type(description="What became of a deletion.")
class DeleteMessagePayload(Payload):
    """Payload of `deleteMessage`."""

    message: MessageNode | None = strawberry.field(default=None, description="The message, marked as deleted.")


@strawberry.type
class ModerationMutation:
    """What people say about messages."""

    @mutation(ReactPayload, Contributor, "Set or take back an emoji on a message; twice is as once.")
    async def react(self, info: Info, input: ReactInput) -> ReactPayload:
        """Store or remove the reaction."""
        message_id = _message_id(input.message_id)
        await info.context.services.collection.react(info.context.user(), message_id, input.emoji, input.on)
        return ReactPayload(message=await load_message(info.context, message_id))

    @mutation(ReportPayload, Contributor, "Report a message to the moderators; once a person and message.")
    async def report(self, info: Info, input: ReportInput) -> ReportPayload:
        """Store the report."""
        message_id = _message_id(input.message_id)
        await info.context.services.collection.report(info.context.user(), message_id, input.reason)
        return ReportPayload(message=await load_message(info.context, message_id))

    @mutation(LabelMessagePayload, Contributor, "Label a message outside of tasks; kept apart from reviews.")
    async def label_message(self, info: Info, input: LabelMessageInput) -> LabelMessagePayload:
        """Store the labels."""
        message_id = _message_id(input.message_id)
        await info.context.services.collection.set_free_labels(
            info.context.user(), message_id, labels_answered(input.labels)
        )
        return LabelMessagePayload(message=await load_message(info.context, message_id))

    @mutation(DeleteMessagePayload, Moderator, "Take a message out, and all that follows it.")
    async def delete_message(self, info: Info, input: DeleteMessageInput) -> DeleteMessagePayload:
        """Mark the message as deleted."""
        message_id = _message_id(input.message_id)
        await info.context.services.collection.delete_message(info.context.user(), message_id, input.reason)
        return DeleteMessagePayload(message=await load_message(info.context, message_id))


def _message_id(value: str) -> str:
    return raw_id(value, "Message", path=("message_id",))
