"""What contributors see and do about their own work: one object over a database and a configuration."""

from __future__ import annotations

from core import appeals, contributions, own_messages
from core.config import CollectionConfig
from core.database import Database, aware
from core.people_records import Agreement, Appeal, Contribution, RankingFeedback, Revision
from core.records import Message, User


class People:
    """Contributors' own work in one database."""

    def __init__(self, database: Database, config: CollectionConfig) -> None:
        self.database = aware(database)
        self.config = config

    async def contributions(self, user: User, before: str | None, first: int) -> tuple[list[Contribution], bool]:
        """See `core.contributions.contributions`."""
        return await contributions.contributions(self.database, user, before, first)

    async def ranking_feedback(self, user: User, before: str | None, first: int) -> tuple[list[RankingFeedback], bool]:
        """See `core.contributions.ranking_feedback`."""
        return await contributions.ranking_feedback(self.database, user, before, first)

    async def agreement(self, user: User) -> list[Agreement]:
        """See `core.contributions.agreement_of`."""
        return await contributions.agreement_of(self.database, user)

    async def edit(self, user: User, message_id: str, text: str) -> Message:
        """See `core.own_messages.edit`."""
        return await own_messages.edit(self.database, self.config, user, message_id, text)

    async def withdraw(self, user: User, message_id: str) -> Message:
        """See `core.own_messages.withdraw`."""
        return await own_messages.withdraw(self.database, self.config, user, message_id)

    async def revisions(self, message_id: str) -> list[Revision]:
        """See `core.own_messages.revisions`."""
        return await own_messages.revisions(self.database, message_id)

    async def appeal(self, user: User, message_id: str, text: str) -> Appeal:
        """See `core.appeals.appeal`."""
        return await appeals.appeal(self.database, user, message_id, text)

    async def appeal_of(self, appeal_id: str) -> Appeal:
        """The appeal of that id; raises `NotFound`."""
        return await appeals.load(self.database, appeal_id)
