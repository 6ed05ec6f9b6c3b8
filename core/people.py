"""What contributors see and do about their own work: one object over a database and a configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from core import (
    appeals,
    consent,
    contributions,
    departures,
    layout,
    learning,
    own_data,
    own_messages,
    promotion,
    propagation,
)
from core.config import CollectionConfig
from core.database import Database, aware
from core.objects import ObjectStore
from core.people_records import Agreement, Appeal, Contribution, DataExport, RankingFeedback, Revision
from core.records import Message, User
from core.voices import Voice


class People:
    """Contributors' own work in one database.

    Args:
        database: migrated.
        config: the collection's.
        store: holds exports of people's own data; None where there are none.
    """

    def __init__(self, database: Database, config: CollectionConfig, store: ObjectStore | None = None) -> None:
        self.database = aware(database)
        self.config = config
        self.store = store

    async def trust(self, user: User) -> promotion.Progress:
        """See `core.promotion.progress`."""
        return await promotion.progress(self.database, self.config, user)

    async def set_training_consent(self, user: User, allow: bool) -> User:
        """See `core.consent.set_consent`."""
        return await consent.set_consent(self.database, user, allow)

    async def contributions(self, user: User, before: str | None, first: int) -> tuple[list[Contribution], bool]:
        """See `core.contributions.contributions`."""
        return await contributions.contributions(self.database, user, before, first)

    async def ranking_feedback(self, user: User, before: str | None, first: int) -> tuple[list[RankingFeedback], bool]:
        """See `core.contributions.ranking_feedback`."""
        return await contributions.ranking_feedback(self.database, user, before, first)

    async def agreement(self, user: User) -> list[Agreement]:
        """See `core.contributions.agreement_of`."""
        return await contributions.agreement_of(self.database, self.config, user)

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

    async def appeals(self, appeal_ids: Sequence[str]) -> dict[str, Appeal]:
        """See `core.appeals.by_ids`."""
        return await appeals.by_ids(self.database, appeal_ids)

    async def appeal_of(self, appeal_id: str) -> Appeal:
        """The appeal of that id; raises `NotFound`."""
        return await appeals.load(self.database, appeal_id)

    async def request_export(self, user: User) -> DataExport:
        """See `core.own_data.request`."""
        return await own_data.request(self.database, user)

    async def export_of(self, user: User) -> tuple[DataExport, str | None] | None:
        """The person's export and, when it is ready, a signed URL that is good for a quarter of an hour."""
        found = await own_data.of_user(self.database, user.id)
        if found is None or found.state != "ready" or self.store is None:
            return None if found is None else (found, None)
        key = layout.personal_export(user.id, found.name)
        return found, await asyncio.to_thread(self.store.signed_url, key)

    async def depart(self, user: User, withdraw: bool) -> None:
        """See `core.departures.depart`; the rest follows in the background."""
        await departures.depart(self.database, user, withdraw)

    async def gone_from(self, labels: Sequence[str]) -> dict[str, int]:
        """Those of the snapshots (`name@version`) that hold what is gone since -> how many of their sources."""
        return await propagation.gone_from(self.database, labels)

    async def withdrawn_from(self, labels: Sequence[str]) -> dict[str, int]:
        """`gone_from`, of messages for which consent was taken back."""
        return await propagation.gone_from(self.database, labels, propagation.WITHDRAWN)

    async def marked_snapshots(self) -> dict[str, int]:
        """See `core.propagation.marked_snapshots`."""
        return await propagation.marked_snapshots(self.database)

    async def snapshots_without_consent(self) -> dict[str, int]:
        """`marked_snapshots`, of messages for which consent was taken back."""
        return await propagation.marked_snapshots(self.database, propagation.WITHDRAWN)

    async def voices(self, user_ids: Sequence[str]) -> dict[str, Voice]:
        """What was learned of those of the people of whom anything was, from their reviews and rankings."""
        return await learning.voices(self.database, list(user_ids))
