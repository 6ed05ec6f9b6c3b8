"""Mutations on one's own messages: editing and taking back while unreviewed, appeals."""

from __future__ import annotations

import strawberry

from .context import Info
from .contribution_types import AppealNode, people
from .errors import Payload, mutation
from .keyed import Keyed
from .message_types import MessageNode
from .permissions import Contributor
from .relay import raw_id


@strawberry.input(description="Another text for a message of yours.")
class EditContributionInput(Keyed):
    """Input of `editContribution`."""

    message_id: strawberry.ID = strawberry.field(description="The message.")
    text: str = strawberry.field(description="Its text from now on; checked as a new one is.")


@strawberry.type(description="What became of an edit.")
class EditContributionPayload(Payload):
    """Payload of `editContribution`."""

    message: MessageNode | None = strawberry.field(default=None, description="The message with its text.")


@strawberry.input(description="A message of yours to take back.")
class WithdrawContributionInput(Keyed):
    """Input of `withdrawContribution`."""

    message_id: strawberry.ID = strawberry.field(description="The message.")


@strawberry.type(description="What became of a withdrawal.")
class WithdrawContributionPayload(Payload):
    """Payload of `withdrawContribution`."""

    message: MessageNode | None = strawberry.field(default=None, description="The message, taken out.")


@strawberry.input(description="An appeal against the decision that stands on a message of yours.")
class AppealInput(Keyed):
    """Input of `appeal`."""

    message_id: strawberry.ID = strawberry.field(description="The message.")
    text: str = strawberry.field(description="Why the decision is wrong, 1 to 4,096 characters.")


@strawberry.type(description="What became of an appeal.")
class AppealPayload(Payload):
    """Payload of `appeal`."""

    appeal: AppealNode | None = strawberry.field(default=None, description="The appeal.")


@strawberry.input(description="Whether you stand on leaderboards.")
class SetLeaderboardVisibilityInput(Keyed):
    """Input of `setLeaderboardVisibility`."""

    shown: bool = strawberry.field(description="Whether you do.")


@strawberry.type(description="What became of your place on leaderboards.")
class SetLeaderboardVisibilityPayload(Payload):
    """Payload of `setLeaderboardVisibility`."""

    shown: bool | None = strawberry.field(default=None, description="Whether you stand on leaderboards.")


@strawberry.type
class OwnWorkMutation:
    """One's own messages."""

    @mutation(EditContributionPayload, Contributor, "Change a message that nobody has reviewed or answered yet.")
    async def edit_contribution(self, info: Info, input: EditContributionInput) -> EditContributionPayload:
        """Store the text as a new revision."""
        message_id = raw_id(input.message_id, "Message", path=("message_id",))
        message = await people(info.context).edit(info.context.user(), message_id, input.text)
        return EditContributionPayload(message=MessageNode.of(message, info.context, mine=True))

    @mutation(WithdrawContributionPayload, Contributor, "Take back a message that nobody has reviewed or answered yet.")
    async def withdraw_contribution(self, info: Info, input: WithdrawContributionInput) -> WithdrawContributionPayload:
        """Take it out."""
        message_id = raw_id(input.message_id, "Message", path=("message_id",))
        message = await people(info.context).withdraw(info.context.user(), message_id)
        return WithdrawContributionPayload(message=MessageNode.of(message, info.context, mine=True))

    @mutation(AppealPayload, Contributor, "Ask that another moderator look at a decision; once for each decision.")
    async def appeal(self, info: Info, input: AppealInput) -> AppealPayload:
        """Put it into the queue."""
        message_id = raw_id(input.message_id, "Message", path=("message_id",))
        made = await people(info.context).appeal(info.context.user(), message_id, input.text)
        return AppealPayload(appeal=AppealNode.of(made))

    @mutation(SetLeaderboardVisibilityPayload, Contributor, "Say whether you stand on leaderboards.")
    async def set_leaderboard_visibility(
        self, info: Info, input: SetLeaderboardVisibilityInput
    ) -> SetLeaderboardVisibilityPayload:
        """Show or hide oneself."""
        user = await info.context.services.accounts.set_shown(info.context.user().id, input.shown)
        return SetLeaderboardVisibilityPayload(shown=user.show_on_leaderboard)
