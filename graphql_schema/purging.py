"""Erasing for good: a preview with a token, and the purge that does exactly what was previewed."""

from __future__ import annotations

from typing import Annotated

import strawberry

from core.moderation_records import MOST, PurgePreview

from .context import Info
from .errors import Payload, mutation
from .keyed import Keyed
from .permissions import Admin
from .queue_types import moderators
from .relay import raw_id

OfUser = Annotated[strawberry.ID | None, strawberry.argument(description="All messages of this person.")]
Messages = Annotated[
    list[strawberry.ID] | None, strawberry.argument(description=f"These messages, {MOST} at most; of a root, its tree.")
]


@strawberry.type(name="PurgePreview", description="What a purge would erase, and what would stay.")
class PurgePreviewNode:
    """A dry run."""

    token: str = strawberry.field(description="Give it to `purge`; it fits this and nothing else.")
    trees: int = strawberry.field(description="Whole conversations that would go.")
    messages: int = strawberry.field(description="Messages that would go, with all that follow them.")
    by_others: int = strawberry.field(description="Those of them that others wrote; 0 where no person is named.")
    reviews_gone: int = strawberry.field(description="Reviews of what would go.")
    rankings_gone: int = strawberry.field(description="Rankings of what would go.")
    rankings_cut: int = strawberry.field(description="Rankings of what stays that would lose replies.")
    reactions: int = strawberry.field(description="Reactions to what would go.")
    reviews_kept: int = strawberry.field(description="Reviews that the person gave, which stay.")
    rankings_kept: int = strawberry.field(description="Rankings that the person gave, which stay.")

    @classmethod
    def of(cls, record: PurgePreview) -> PurgePreviewNode:
        """The preview."""
        return cls(
            token=record.token, trees=record.trees, messages=record.messages, by_others=record.by_others,
            reviews_gone=record.reviews_gone, rankings_gone=record.rankings_gone, rankings_cut=record.rankings_cut,
            reactions=record.reactions, reviews_kept=record.reviews, rankings_kept=record.rankings,
        )  # fmt: skip


@strawberry.input(description="What was previewed, to be erased.")
class PurgeInput(Keyed):
    """Input of `purge`."""

    token: str = strawberry.field(description="Of the preview.")
    reason: str = strawberry.field(description="Why; the journal keeps it.")
    user_id: strawberry.ID | None = strawberry.field(default=None, description="As in the preview.")
    message_ids: list[strawberry.ID] = strawberry.field(default_factory=list, description="As in the preview.")


@strawberry.type(description="What became of a purge.")
class PurgePayload(Payload):
    """Payload of `purge`."""

    done: bool | None = strawberry.field(default=None, description="True: it is erased.")


@strawberry.type
class PurgeQuery:
    """Previews."""

    @strawberry.field(description="What a purge would erase, and what would stay.", permission_classes=[Admin])
    async def purge_preview(self, info: Info, user_id: OfUser = None, message_ids: Messages = None) -> PurgePreviewNode:
        """Count."""
        user, messages = _targets(user_id, message_ids or [])
        return PurgePreviewNode.of(await moderators(info.context).purge_preview(info.context.user(), user, messages))


@strawberry.type
class PurgeMutation:
    """Purges."""

    @mutation(PurgePayload, Admin, "Erase what was previewed, for good.")
    async def purge(self, info: Info, input: PurgeInput) -> PurgePayload:
        """Erase it."""
        user, messages = _targets(input.user_id, input.message_ids)
        await moderators(info.context).purge(info.context.user(), user, messages, input.token, input.reason)
        return PurgePayload(done=True)


def _targets(user_id: str | None, message_ids: list[strawberry.ID]) -> tuple[str | None, list[str]]:
    user = None if user_id is None else raw_id(user_id, "User", path=("user_id",))
    return user, [raw_id(each, "Message", path=("message_ids",)) for each in message_ids]
