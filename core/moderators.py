"""What moderators may do, as their callers see it: one object over a database and a configuration.

Everything is checked again below: role, language, who looks at it now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from core import (
    appeals,
    corrections,
    journal,
    moderation_queue,
    promotion,
    purge,
    rulings,
    similar_texts,
    text_groups,
    user_admin,
)
from core.alike import Alike, GroupPage
from core.config import CollectionConfig
from core.database import Database, aware
from core.errors import OaError
from core.moderation_records import Event, ModerationItem, Outcome, PurgePreview
from core.objects import ObjectStore
from core.people_records import Appeal
from core.records import Message, User
from core.surroundings import look_around
from core.trollboard import Trouble, trollboard


class Moderators:
    """The moderators' work in one database."""

    def __init__(self, database: Database, config: CollectionConfig, store: ObjectStore | None = None) -> None:
        self.database = aware(database)
        self.config = config
        self.store = store

    async def queue_page(
        self, moderator: User, lang: str | None, reason: str | None, after: str | None, first: int,
        collection: str | None = None,
    ) -> tuple[list[ModerationItem], bool]:  # fmt: skip
        """See `core.moderation_queue.queue_page`."""
        return await moderation_queue.queue_page(self.database, moderator, lang, reason, after, first, collection)

    async def item(self, identity: str) -> ModerationItem:
        """The item of that id; raises `NotFound`."""
        return await moderation_queue.item(self.database, identity)

    async def claim_all(
        self, moderator: User, identities: Sequence[str], hold: bool
    ) -> dict[str, tuple[ModerationItem | None, OaError | None]]:
        """See `core.moderation_queue.claim_all`."""
        return await moderation_queue.claim_all(self.database, moderator, identities, hold)

    async def moderate(self, moderator: User, targets: list[str], act: str, reason: str) -> list[Outcome]:
        """See `core.rulings.moderate`."""
        return await rulings.moderate(self.database, self.config, moderator, targets, act, reason)

    async def events_page(
        self, *, subject: str | None = None, actor: str | None = None, kind: str | None = None,
        langs: Sequence[str] = (), before: str | None = None, first: int = 20,
    ) -> tuple[list[Event], bool]:  # fmt: skip
        """See `core.journal.events_page`."""
        return await journal.events_page(
            self.database, subject=subject, actor=actor, kind=kind, langs=langs, before=before, first=first
        )

    async def similar_texts(self, message: Message) -> list[Alike]:
        """Messages whose texts are like that of `message`, most alike first."""
        around = await look_around(self.database, message.text)
        return similar_texts.among(message.text, around.rows, self.config.alike_from, but=message.id)

    async def text_groups(
        self, back: timedelta, people: int, langs: Sequence[str], until: datetime | None, after: str | None, first: int
    ) -> GroupPage:
        """See `core.text_groups.groups_page`."""
        return await text_groups.groups_page(self.database, back, people, langs, until, after, first)

    async def decide_appeal(self, moderator: User, appeal_id: str, uphold: bool, reason: str) -> Appeal:
        """See `core.appeals.decide`."""
        return await appeals.decide(self.database, self.config, moderator, appeal_id, uphold, reason)

    async def correct(self, moderator: User, message_id: str, text: str, reason: str) -> Message:
        """See `core.corrections.correct`."""
        return await corrections.correct(self.database, self.config, moderator, message_id, text, reason)

    async def set_roles(self, admin: User, user_id: str, roles: Sequence[str]) -> User:
        """See `core.user_admin.set_roles`."""
        return await user_admin.set_roles(self.database, admin, user_id, roles)

    async def set_languages(self, admin: User, user_id: str, langs: Sequence[str]) -> User:
        """See `core.user_admin.set_languages`."""
        return await user_admin.set_languages(self.database, admin, user_id, langs)

    async def set_notes(self, moderator: User, user_id: str, notes: str) -> User:
        """See `core.user_admin.set_notes`."""
        return await user_admin.set_notes(self.database, moderator, user_id, notes)

    async def set_enabled(self, moderator: User, user_id: str, enabled: bool, reason: str) -> User:
        """See `core.user_admin.set_enabled`."""
        return await user_admin.set_enabled(self.database, self.config, moderator, user_id, enabled, reason)

    async def trollboard(self, frame: str, first: int) -> list[Trouble]:
        """See `core.trollboard.trollboard`."""
        return await trollboard(self.database, frame, first)

    async def set_trusted(self, moderator: User, user_id: str, trusted: bool, reason: str) -> User:
        """See `core.promotion.set_trusted`."""
        return await promotion.set_trusted(self.database, moderator, user_id, trusted, reason)

    async def purge_preview(self, admin: User, user_id: str | None, message_ids: Sequence[str]) -> PurgePreview:
        """See `core.purge.preview`."""
        return await purge.preview(self.database, admin, user_id, message_ids)

    async def purge(
        self, admin: User, user_id: str | None, message_ids: Sequence[str], token: str,
        reason: str,
    ) -> None:  # fmt: skip
        """Order a purge and carry it out; see `core.purge`."""
        ordered = await purge.order(self.database, admin, user_id, message_ids, token, reason)
        await purge.carry_out(self.database, self.config, self.store, ordered)
