"""Moderators' part of the schema: texts that are alike, one by one and in groups, as in a flood."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import strawberry

from core.alike import Alike, Group, GroupPage
from core.errors import BadInput
from core.moderation_records import MOST
from core.texts import check_lang

from .context import Context, Info
from .message_types import MessageNode, load_message
from .permissions import Moderator, moderated, moderates
from .queue_types import moderators
from .relay import After, Connection, First, connection, decode_cursor, page_size, raw_id

MAX_HOURS = 24 * 30
AboutId = Annotated[strawberry.ID, strawberry.argument(description="The message whose text is meant.")]
InHours = Annotated[int, strawberry.argument(description=f"How far back to look, in hours, 1 to {MAX_HOURS}.")]
Until = Annotated[
    datetime | None,
    strawberry.argument(description="Look back from then; now where it is left out. A cursor keeps it."),
]
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

    @classmethod
    def of(cls, group: Group) -> TextGroup:
        """The group as a GraphQL object."""
        return cls(record=group, people=len(group.user_ids), size=len(group.message_ids), lang=group.lang)


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
        description="Groups of alike texts by several people, back in time: a page looks at 500 texts, gives those of "
        "most people first, and may hold fewer nodes while more follow. A group across the end of a page is on both.",
        permission_classes=[Moderator],
    )
    async def text_groups(
        self, info: Info, first: First, after: After = None, hours: InHours = 24, people: ByPeople = 4,
        lang: OfLang = None, until: Until = None,
    ) -> Connection[TextGroup]:  # fmt: skip
        """Groups in the moderator's languages."""
        if not 1 <= hours <= MAX_HOURS:
            raise BadInput(f"hours is {hours}; it must be 1 to {MAX_HOURS}", path=("hours",))
        if people < 2:
            raise BadInput(f"people is {people}; it must be 2 or more", path=("people",))
        context, cursor, size = info.context, decode_cursor(after), page_size(first)
        langs = (moderated(context) or ()) if lang is None else (check_lang(lang),)
        if lang is not None and not moderates(context, langs[0]):
            page = GroupPage((), has_next=False, end=None)
        else:
            end = None if until is None else until if until.tzinfo else until.replace(tzinfo=UTC)
            back = timedelta(hours=hours)
            page = await moderators(context).text_groups(back, people, langs, end, cursor, size)
        return connection(
            page.items, key=lambda item: item[0], has_next=page.has_next, end=page.end,
            node=lambda item: TextGroup.of(item[1]),
        )  # fmt: skip


def _mine(context: Context, found: list[Alike]) -> list[Alike]:
    return [each for each in found if moderates(context, each.lang)]
