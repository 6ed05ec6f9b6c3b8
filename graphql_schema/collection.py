"""Collection's part of the schema: reading trees, standings and oneself; the mutations; following open work."""

from __future__ import annotations

from typing import Annotated

import strawberry

from core.texts import check_lang

from .collections import CollectionsMutation, CollectionsQuery, collection_key
from .context import Info, needed
from .corrections import CorrectionMutation
from .enums import LeaderboardAround, TreeState, stored
from .event_types import JournalQuery
from .following import FollowingSubscription
from .gold import GoldMutation, GoldQuery
from .leaving import LeavingMutation
from .message_query import InLang, MessagesQuery, NewestFirst
from .message_types import MessageNode
from .moderation import ModerationMutation
from .nodes import read_node
from .own_work import OwnWorkMutation
from .people_query import PeopleQuery
from .permissions import Anyone, SignedIn
from .prefetch import prefetch
from .purging import PurgeMutation, PurgeQuery
from .relay import After, Connection, First, Node, connection, decode_cursor, page_size, raw_id
from .rewards import RewardMutation
from .rulings import RulingMutation, RulingQuery
from .sign_in import SignInMutation
from .standing_types import StandingNode
from .statistics import StatisticsQuery
from .stewardship import StewardshipMutation, StewardshipQuery
from .task_types import TYPE_OF_KIND
from .tasks import TaskMutation
from .text_groups import TextGroupQuery
from .tree_types import TreeNode, message_slice
from .viewer_types import Frame, Viewer

TYPES: list[type] = list(TYPE_OF_KIND.values())
"""Types that only an interface leads to."""
NodeId = Annotated[strawberry.ID, strawberry.argument(description="A global id that this API gave.")]
Around = Annotated[
    LeaderboardAround | None, strawberry.argument(description="Around whom; the top where it is left out.")
]
LastId = Annotated[strawberry.ID, strawberry.argument(description="The message that the thread ends in.")]
InState = Annotated[TreeState | None, strawberry.argument(description="Only trees in this state.")]
InCollection = Annotated[
    strawberry.ID | None,
    strawberry.argument(description="Only this collection. A page may then hold fewer nodes while more follow."),
]


@strawberry.type
class CollectionQuery(
    MessagesQuery, RulingQuery, TextGroupQuery, JournalQuery, PeopleQuery, StewardshipQuery, PurgeQuery,
    CollectionsQuery, GoldQuery, StatisticsQuery,
):  # fmt: skip
    """Queries about collection."""

    @strawberry.field(description="The object with that global id, if you may see it.", permission_classes=[Anyone])
    async def node(self, info: Info, id: NodeId) -> Node | None:
        """Relay's object identification."""
        return await read_node(info.context, id)

    @strawberry.field(description="You; null when nobody is signed in.", permission_classes=[Anyone])
    def viewer(self, info: Info) -> Viewer | None:
        """The signed-in user."""
        return None if info.context.viewer is None else Viewer.of(info.context.user())

    @strawberry.field(
        description="Conversation trees by the time of their prompt, oldest first.", permission_classes=[SignedIn]
    )
    async def trees(
        self, info: Info, first: First, after: After = None, state: InState = None, lang: InLang = None,
        newest_first: NewestFirst = False, collection_id: InCollection = None,
    ) -> Connection[TreeNode]:  # fmt: skip
        """A page of trees."""
        page = await info.context.services.collection.trees_page(
            state=None if state is None else stored(state), lang=_lang(lang), after=decode_cursor(after),
            first=page_size(first), newest_first=newest_first,
            collection=None if collection_id is None else collection_key(collection_id),
        )  # fmt: skip
        return connection(page.items, key=page.key, has_next=page.has_next, node=TreeNode.of, end=page.end)

    @strawberry.field(description="The thread that ends in a message, root first.", permission_classes=[SignedIn])
    async def thread(
        self, info: Info, message_id: LastId, first: First, after: After = None
    ) -> Connection[MessageNode]:
        """A page of the thread."""
        records = await info.context.services.collection.thread(raw_id(message_id, "Message", path=("message_id",)))
        await prefetch(records, info)
        return message_slice(records, info.context, first, after)

    @strawberry.field(
        description="The best contributors, best first; or you and those next to you, none while you have no points.",
        permission_classes=[Anyone],
    )
    async def leaderboard(self, info: Info, frame: Frame, first: First, around: Around = None) -> list[StandingNode]:
        """Places of one time frame."""
        if around is not None:
            neighbours = needed(info.context.services.neighbours, "leaderboards")
            found = await neighbours(info.context.user(), stored(frame), page_size(first))
            return [StandingNode.of(standing) for standing in found]
        leaderboard = needed(info.context.services.leaderboard, "leaderboards")
        return [StandingNode.of(standing) for standing in await leaderboard(stored(frame), page_size(first))]

    @strawberry.field(
        description="The leaderboard from its top to its end, page by page. A cursor is of one day, week or month.",
        permission_classes=[Anyone],
    )
    async def standings(
        self, info: Info, frame: Frame, first: First, after: After = None
    ) -> Connection[StandingNode]:  # fmt: skip
        """A page of a leaderboard."""
        board_page = needed(info.context.services.board_page, "leaderboards")
        page = await board_page(stored(frame), decode_cursor(after), page_size(first))
        return connection(
            page.places, key=lambda place: place[0], has_next=page.has_next,
            node=lambda place: StandingNode.of(place[1]),
        )  # fmt: skip


def _lang(lang: str | None) -> str | None:
    return None if lang is None else check_lang(lang)


@strawberry.type
class CollectionMutation(
    TaskMutation,
    ModerationMutation,
    RulingMutation,
    CorrectionMutation,
    OwnWorkMutation,
    LeavingMutation,
    PurgeMutation,
    StewardshipMutation,
    CollectionsMutation,
    RewardMutation,
    GoldMutation,
    SignInMutation,
):
    """Mutations of collection."""


@strawberry.type
class CollectionSubscription(FollowingSubscription):
    """Subscriptions of collection."""
