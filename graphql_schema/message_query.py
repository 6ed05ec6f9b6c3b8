"""The messages of all trees, as a list that can be narrowed.

Who wrote a message is nobody's business while its tree collects, and a text that was taken out is for moderators: so
authors and words are searched by moderators, in their languages.
"""

from __future__ import annotations

from typing import Annotated

import strawberry

from core.texts import check_lang
from core.wanted import WantedMessages

from .collections import collection_key
from .context import Info
from .enums import MessageState, Role, stored
from .message_types import MessageNode
from .permissions import SignedIn, is_moderator, moderated
from .prefetch import prefetch
from .relay import After, Connection, First, connection, decode_cursor, page_size, raw_id

InLang = Annotated[str | None, strawberry.argument(description="Only this language, a BCP 47 tag.")]
InState = Annotated[MessageState | None, strawberry.argument(description="Only those in this state.")]
OfRole = Annotated[Role | None, strawberry.argument(description="Only those that this side says.")]
ByAuthor = Annotated[
    strawberry.ID | None,
    strawberry.argument(description="Only those by this person. For moderators, in their languages."),
]
InCollection = Annotated[strawberry.ID | None, strawberry.argument(description="Only this collection.")]
NewestFirst = Annotated[bool, strawberry.argument(description="The newest first instead.")]
Search = Annotated[
    str | None,
    strawberry.argument(
        description="Only those with all of these words, 10 at most. For moderators, in their languages. Of words that "
        "more than 1,000 messages have, not all are found: say more words, or a language."
    ),
]


@strawberry.type
class MessagesQuery:
    """Reading messages."""

    @strawberry.field(
        description="Messages of all trees by the time of writing, oldest first. Narrowed by more than language, a "
        "page may hold fewer nodes while more follow.",
        permission_classes=[SignedIn],
    )
    async def messages(
        self, info: Info, first: First, after: After = None, lang: InLang = None, state: InState = None,
        role: OfRole = None, author_id: ByAuthor = None, search: Search = None, newest_first: NewestFirst = False,
        collection_id: InCollection = None,
    ) -> Connection[MessageNode]:  # fmt: skip
        """A page of messages."""
        context, lang = info.context, None if lang is None else check_lang(lang)
        collection, cursor, size = context.services.collection, decode_cursor(after), page_size(first)
        if all(each is None for each in (state, role, author_id, search, collection_id)):
            page = await collection.messages_page(
                lang=lang, after=cursor, first=size, include_deleted=is_moderator(context), newest_first=newest_first
            )
        else:
            wanted = WantedMessages(
                lang=lang, state=None if state is None else stored(state), role=None if role is None else stored(role),
                author_id=None if author_id is None else raw_id(author_id, "User", path=("author_id",)), words=search,
                collection=None if collection_id is None else collection_key(collection_id),
                langs=moderated(context) if author_id is not None or search is not None else None,
                deleted=is_moderator(context), newest_first=newest_first,
            )  # fmt: skip
            page = await collection.find_messages(wanted, cursor, size)
        await prefetch(page.items, info)
        return connection(
            page.items, key=page.key, has_next=page.has_next, end=page.end,
            node=lambda record: MessageNode.of(record, context),
        )  # fmt: skip
