"""What one sees of oneself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import strawberry

from core import texts
from core.errors import BadInput
from core.pools import DEFAULT
from core.records import TASK_KINDS, User, now
from core.scoring import streak_now

from .account_types import OwnAccount
from .collections import CollectionId, collection_key
from .context import Info, needed
from .contribution_types import OwnWork
from .enums import LeaderboardFrame, TaskKind, UserRole, stored
from .permissions import ByViewer
from .standing_types import StandingNode
from .task_types import TaskNode
from .user_types import UserNode

MAX_LANGS = 50
Langs = Annotated[
    list[str], strawberry.argument(description=f"Languages you work in, as BCP 47 tags; 1 to {MAX_LANGS}.")
]

Frame = Annotated[LeaderboardFrame, strawberry.argument(description="The time to count.")]


@strawberry.type(description="Open work of one kind.")
class TaskAvailability:
    """How much of one kind there is for somebody."""

    kind: TaskKind = strawberry.field(description="The kind.")
    count: int = strawberry.field(description="Pieces that you could take now; counting stops at a few hundred.")


@strawberry.type(description="You.")
class Viewer(OwnWork, OwnAccount):
    """The signed-in user, as they see themselves."""

    user: UserNode = strawberry.field(description="What others see of you.")
    streak_days: int = strawberry.field(
        description="Whole days, of 24 hours, since your streak began; it ends after 36 hours without work."
    )

    @strawberry.field(description="What you may do with this token.")
    def roles(self, info: Info) -> list[UserRole]:
        """Roles, those stored that the token carries too."""
        return [UserRole(role) for role in self.record.roles if role in info.context.roles]

    @strawberry.field(
        description="The tasks in your hands, oldest first; take one up again on any device.",
        permission_classes=[ByViewer],
    )
    async def tasks(self, info: Info) -> list[TaskNode]:
        """Open tasks; a collection allows only a few."""
        return [TaskNode.of(task) for task in await info.context.services.collection.open_tasks(self.record)]

    @strawberry.field(description="Which kinds of work are open for you.", permission_classes=[ByViewer])
    async def available_tasks(
        self, info: Info, langs: Langs, collection_id: CollectionId = None
    ) -> list[TaskAvailability]:
        """Kinds with at least one piece of open work."""
        return await availability(info, check_langs(langs), collection_key(collection_id))

    @strawberry.field(description="Your place on a leaderboard.")
    async def standing(self, info: Info, frame: Frame) -> StandingNode:
        """The viewer's own standing."""
        standing = needed(info.context.services.standing, "standings")
        return StandingNode.of(await standing(self.record, stored(frame)))

    @classmethod
    def of(cls, user: User) -> Viewer:
        """The viewer."""
        return cls(
            record=user, user=UserNode.of(user), streak_days=streak_now(user.streak_days, user.last_activity_at, now())
        )


def check_langs(langs: list[str]) -> list[str]:
    """`langs`, each once, in order.

    Raises:
        BadInput: none, too many, or one that is no language tag.
    """
    if len(langs) > MAX_LANGS:
        raise BadInput(f"langs has {len(langs)} languages; it must have 1 to {MAX_LANGS}", path=("langs",))
    return list(texts.check_langs(langs))


async def availability(info: Info, langs: list[str], collection: str = DEFAULT) -> list[TaskAvailability]:
    """Open work for the viewer by kind, in the usual order of kinds, only kinds that have some."""
    return shown_availability(await info.context.services.collection.available(info.context.user(), langs, collection))


def shown_availability(counts: Mapping[str, int]) -> list[TaskAvailability]:
    """Counts by kind, in the usual order, only kinds that have some."""
    return [TaskAvailability(kind=TaskKind(kind), count=counts[kind]) for kind in TASK_KINDS if counts.get(kind)]
