"""Moderators' part of the schema: texts that are alike, one by one and in groups, as in a flood."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import strawberry

from core.alike import Alike, Group
from core.errors import BadInput
from core.moderation_records import MOST
from core.records import now
from core.texts import check_lang

from .context import Context, Info
from .message_types import MessageNode, load_message
from .permissions import Moderator, moderated, moderates
from .queue_types import moderators
from .relay import First, page_size, raw_id

MAX_HOURS = 24 * 30
AboutId = Annotated[strawberry.ID, strawberry.argument(description="The message whose text is meant.")]
InHours = Annotated[int, strawberry.argument(description=f"How far back to look, in hours, 1 to {MAX_HOURS}.")]
Until = Annotated[datetime | None, strawberry.argument(description="Look back from then; now where it is left out.")]
ByPeople = Annotated[int, strawberry.argument(description="Different people at least, 2 or more.")]
OfLang = Annotated[str | None, strawberry.argument(description="Only texts in this language, a BCP 47 tag.")]


@strawberry.type(description="A message whose text is like another's.")
class SimilarText:
    """One likeness."""

    message_id: strawberry.Private[str]
    similarity: float = strawberry.field(description="Part of the runs of characters that both share, 0 to 1.")

    @strawberry.field(description="The message; null when it is gone.")
    async def message(self, info: Info) -> MessageNode | None:
        """The message."""
        return await load_message(info.context, self.message_id)


@strawberry.type(description="Messages of several people whose texts are alike, as in a flood.")
class TextGroup:
    """One group."""

    record: strawberry.Private[Group]
    people: int = strawberry.field(description="How many people wrote them.")
    size: int = strawberry.field(description="How many messages there are.")
    lang: str = strawberry.field(description="Their language, as a BCP 47 tag.")

    @strawberry.field(description="The messages, oldest first; stop all of them at once with `moderate`.")
    async def messages(self, info: Info, first: First) -> list[MessageNode]:
        """The first of them."""
        identities = list(self.record.message_ids[: page_size(first)])
        records = await info.context.loaders.messages.load_many(identities)
        return [MessageNode.of(record, info.context) for record in records if record is not None]


@strawberry.type
class TextGroupQuery:
    """Texts that are alike."""

    @strawberry.field(
        description=f"Messages whose texts are like that of one, most alike first; up to {MOST}.",
        permission_classes=[Moderator],
    )
    async def similar_texts(self, info: Info, message_id: AboutId) -> list[SimilarText]:
        """Likenesses in the moderator's languages."""
        identity = raw_id(message_id, "Message", path=("message_id",))
        message = await info.context.services.collection.message(identity)
        found = await moderators(info.context).similar_texts(message)
        return [
            SimilarText(message_id=each.message_id, similarity=each.similarity)
            for each in _mine(info.context, found)[:MOST]
        ]

    @strawberry.field(
        description="Groups of alike texts by several people, most people first, in the latest 500 texts of that time.",
        permission_classes=[Moderator],
    )
    async def text_groups(
        self, info: Info, first: First, hours: InHours = 24, people: ByPeople = 4, lang: OfLang = None,
        until: Until = None,
    ) -> list[TextGroup]:  # fmt: skip
        """Groups in the moderator's languages."""
        if not 1 <= hours <= MAX_HOURS:
            raise BadInput(f"hours is {hours}; it must be 1 to {MAX_HOURS}", path=("hours",))
        if people < 2:
            raise BadInput(f"people is {people}; it must be 2 or more", path=("people",))
        langs = (moderated(info.context) or ()) if lang is None else [check_lang(lang)]
        end = now() if until is None else until if until.tzinfo else until.replace(tzinfo=UTC)
        found = await moderators(info.context).text_groups(end - timedelta(hours=hours), people, langs, end)
        return [
            TextGroup(record=group, people=len(group.user_ids), size=len(group.message_ids), lang=group.lang)
            for group in found
            if moderates(info.context, group.lang)
        ][: page_size(first)]


def _mine(context: Context, found: list[Alike]) -> list[Alike]:
    return [each for each in found if moderates(context, each.lang)]
