"""Points and places: one person's standing in one time frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import strawberry

from core.scoring import POINTS

from .enums import LeaderboardFrame
from .user_types import UserNode

if TYPE_CHECKING:
    from core.leaderboard import Standing

ACTS = ", ".join(POINTS)
"""What is counted, as the schema says it."""


@strawberry.type(description="How often something was done that counts.")
class ScoreCount:
    """One sort of act."""

    act: str = strawberry.field(description=f"What was done: {ACTS}.")
    count: int = strawberry.field(description="How often.")


@strawberry.type(name="Standing", description="One person's place on a leaderboard.")
class StandingNode:
    """A place."""

    user: UserNode = strawberry.field(description="Whose it is.")
    frame: LeaderboardFrame = strawberry.field(description="The time counted.")
    rank: int | None = strawberry.field(description="Place, from 1; null without points, or far down.")
    points: int = strawberry.field(description="Points in that time.")
    total: int = strawberry.field(description="Points ever.")
    level: int = strawberry.field(description="Level by all points ever, from 1 to 100.")
    next_level_at: int | None = strawberry.field(description="Points ever at which the next level begins.")
    counts: list[ScoreCount] = strawberry.field(description="What the points are for.")

    @classmethod
    def of(cls, standing: Standing) -> StandingNode:
        """The place as a GraphQL object."""
        return cls(
            user=UserNode.of(standing.user),
            frame=LeaderboardFrame(standing.frame),
            rank=standing.rank,
            points=standing.points,
            total=standing.total,
            level=standing.level,
            next_level_at=standing.next_level_at,
            counts=[
                ScoreCount(act=act, count=count) for act, count in sorted(standing.counts.items()) if act in POINTS
            ],
        )
