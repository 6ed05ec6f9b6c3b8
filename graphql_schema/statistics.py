"""How much there is: the numbers of the original's statistics page, counted in the background."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import strawberry

from .context import Info
from .enums import MessageState, Role, TreeState
from .permissions import SignedIn
from .relay import global_id

if TYPE_CHECKING:
    from core.statistics import Statistics


@strawberry.type(description="Messages of one language, role and verdict.")
class MessageCount:
    """One row."""

    lang: str = strawberry.field(description="Language, as a BCP 47 tag.")
    role: Role = strawberry.field(description="Who speaks.")
    state: MessageState = strawberry.field(description="What reviewers made of them.")
    human: int = strawberry.field(description="Those by people.")
    synthetic: int = strawberry.field(description="Those by models.")
    removed: int = strawberry.field(description="Those that were taken out, by whomever.")


@strawberry.type(description="Trees of one collection and language in one state.")
class TreeCount:
    """One row."""

    collection_id: strawberry.ID = strawberry.field(description="The collection.")
    lang: str = strawberry.field(description="Language, as a BCP 47 tag.")
    state: TreeState = strawberry.field(description="Where they are on their way.")
    count: int = strawberry.field(description="How many.")


@strawberry.type(description="People with an account.")
class PeopleCount:
    """How many of each sort."""

    total: int = strawberry.field(description="All but those who have left.")
    active_day: int = strawberry.field(description="Who did something in the last 24 hours.")
    active_week: int = strawberry.field(description="In the last 7 days.")
    active_month: int = strawberry.field(description="In the last 30 days.")
    accepted_terms: int = strawberry.field(description="Who accepted terms of use.")
    banned: int = strawberry.field(description="Who is kept out.")
    left: int = strawberry.field(description="Who deleted their account.")


@strawberry.type(name="Statistics", description="How much there is.")
class StatisticsNode:
    """All counts."""

    at: datetime = strawberry.field(description="As of when: one count of everything began then.")
    messages: list[MessageCount] = strawberry.field(description="Messages by language, role and verdict.")
    trees: list[TreeCount] = strawberry.field(description="Trees by collection, language and state.")
    people: PeopleCount = strawberry.field(description="People.")

    @classmethod
    def of(cls, found: Statistics) -> StatisticsNode:
        """The counts."""
        counted = found.people
        return cls(
            at=found.at,
            messages=[
                MessageCount(
                    lang=each.lang, role=Role(each.role), state=MessageState(each.state), human=each.human,
                    synthetic=each.synthetic, removed=each.removed,
                )
                for each in found.messages
            ],
            trees=[
                TreeCount(
                    collection_id=global_id("Collection", each.collection), lang=each.lang,
                    state=TreeState(each.state), count=each.count,
                )
                for each in found.trees
            ],
            people=PeopleCount(
                total=counted.get("all", 0), active_day=counted.get("active_day", 0),
                active_week=counted.get("active_week", 0), active_month=counted.get("active_month", 0),
                accepted_terms=counted.get("accepted_terms", 0), banned=counted.get("banned", 0),
                left=counted.get("left", 0),
            ),
        )  # fmt: skip


@strawberry.type
class StatisticsQuery:
    """Counts."""

    @strawberry.field(
        description="How many messages, trees and people there are; null until they were counted for the first time.",
        permission_classes=[SignedIn],
    )
    async def statistics(self, info: Info) -> StatisticsNode | None:
        """What the last count found."""
        found = await info.context.services.collection.statistics()
        return None if found is None else StatisticsNode.of(found)
