"""What can be followed: open work, the moderators' queue, the leaderboard; each at once, and again when it changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

import strawberry

from core.texts import check_lang

from .collections import CollectionId, collection_key
from .context import Info, needed
from .enums import stored
from .permissions import Contributor, Moderator, SignedIn
from .queue_types import ModerationItemNode, moderators
from .relay import First, page_size
from .rulings import InCollection, InLang, OfKind
from .standing_types import StandingNode
from .viewer_types import Frame, Langs, TaskAvailability, check_langs, shown_availability

if TYPE_CHECKING:
    from core.leaderboard import Standing


@strawberry.type
class FollowingSubscription:
    """Subscriptions of collection. Work, items and points come in other processes too, so each is looked at anew."""

    @strawberry.subscription(
        description="Which kinds of work are open for you: now, and again whenever that changes.",
        permission_classes=[Contributor],
    )
    async def task_available(
        self, info: Info, langs: Langs, collection_id: CollectionId = None
    ) -> AsyncGenerator[list[TaskAvailability], None]:
        """Follow open work."""
        wanted, within = check_langs(langs), collection_key(collection_id)
        user, collection = info.context.user(), info.context.services.collection
        key = f"tasks|{user.id}|{within}|{','.join(wanted)}"
        following = info.context.services.following
        async with aclosing(following.follow(key, lambda: collection.available(user, wanted, within))) as seen:
            async for counts in seen:
                yield shown_availability(counts)

    @strawberry.subscription(
        description="The first things of the moderators' queue: now, and again whenever they change.",
        permission_classes=[Moderator],
    )
    async def moderation_queue(
        self, info: Info, first: First, lang: InLang = None, kind: OfKind = None, collection_id: InCollection = None
    ) -> AsyncGenerator[list[ModerationItemNode], None]:
        """Follow the queue, as it is for this moderator."""
        size, user = page_size(first), info.context.user()
        lang, reason = None if lang is None else check_lang(lang), None if kind is None else stored(kind)
        within = None if collection_id is None else collection_key(collection_id)
        scope = "" if user.has_role("admin") else ",".join(user.moderates)
        key = f"queue|{scope}|{size}|{lang}|{reason}|{within}"

        async def look() -> list[object]:
            found, _ = await moderators(info.context).queue_page(user, lang, reason, None, size, within)
            return list(found)

        async with aclosing(info.context.services.following.follow(key, look)) as seen:
            async for items in seen:
                yield [ModerationItemNode.of(item) for item in items]  # type: ignore[arg-type]

    @strawberry.subscription(
        description="The best contributors: now, and again whenever they or their points change.",
        permission_classes=[SignedIn],
    )
    async def leaderboard(self, info: Info, frame: Frame, first: First) -> AsyncGenerator[list[StandingNode], None]:
        """Follow the first places of one time frame."""
        size, wanted = page_size(first), stored(frame)
        leaderboard = needed(info.context.services.leaderboard, "leaderboards")

        def places(standings: list[Standing] | None) -> list[tuple[str, str, int]]:
            return [(each.user.id, each.user.display_name, each.points) for each in standings or ()]

        board = info.context.services.following.follow(
            f"board|{wanted}|{size}", lambda: leaderboard(wanted, size), places
        )
        async with aclosing(board) as seen:
            async for standings in seen:
                yield [StandingNode.of(standing) for standing in standings]
