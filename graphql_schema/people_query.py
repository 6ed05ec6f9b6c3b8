"""People, for moderators: one by id, and all as a list that can be narrowed."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import strawberry

from core.records import User
from core.wanted import WantedMessages, WantedPeople

from .context import Info, needed
from .enums import UserRole, stored
from .message_types import MessageNode
from .permissions import Moderator, moderated
from .prefetch import prefetch
from .relay import After, Connection, First, connection, decode_cursor, page_size, raw_id
from .scoping import has_scope
from .standing_types import StandingNode
from .stewardship import Frame, Person


@strawberry.enum(description="Whether somebody may take part.")
class PersonState(Enum):
    """States of an account."""

    ACTIVE = strawberry.enum_value("active", description="They may.")
    BANNED = strawberry.enum_value("banned", description="They were kept out.")
    LEFT = strawberry.enum_value("left", description="They deleted their account.")


PersonId = Annotated[strawberry.ID, strawberry.argument(description="The id of a user.")]
NameStart = Annotated[
    str | None, strawberry.argument(description="Only those whose name begins so, whatever the case; in that order.")
]
WithRole = Annotated[UserRole | None, strawberry.argument(description="Only those who have this role.")]
InState = Annotated[PersonState | None, strawberry.argument(description="Only those in this state.")]


@strawberry.type(description="One person and what they did, as moderators see it.")
class Profile:
    """A person's page."""

    person: Person = strawberry.field(description="Who they are, and what they may do.")
    record: strawberry.Private[User]

    @strawberry.field(description="Providers by which they sign in, such as google; null but for admins.")
    def signs_in_with(self, info: Info) -> list[str] | None:
        """The providers alone: who somebody is there, such as an e-mail address, is in no type."""
        if "admin" not in info.context.roles or not has_scope(info.context, "admin"):
            return None
        return sorted({identity.partition(":")[0] for identity in self.record.identities})

    @strawberry.field(description="Their messages in your languages, newest first.")
    async def messages(self, info: Info, first: First, after: After = None) -> Connection[MessageNode]:
        """A page of what they wrote, with what was taken out."""
        wanted = WantedMessages(
            author_id=self.record.id, langs=moderated(info.context), deleted=True, newest_first=True
        )
        page = await info.context.services.collection.find_messages(wanted, decode_cursor(after), page_size(first))
        await prefetch(page.items, info)
        return connection(
            page.items, key=page.key, has_next=page.has_next, end=page.end,
            node=lambda record: MessageNode.of(record, info.context),
        )  # fmt: skip

    @strawberry.field(description="Their place on a leaderboard.")
    async def standing(self, info: Info, frame: Frame) -> StandingNode:
        """The place, points and level of one time frame."""
        standing = needed(info.context.services.standing, "leaderboards")
        return StandingNode.of(await standing(self.record, stored(frame)))


@strawberry.type
class PeopleQuery:
    """Accounts."""

    @strawberry.field(
        description="Everybody with an account; without a name or a role the oldest first.",
        permission_classes=[Moderator],
    )
    async def people(
        self, info: Info, first: First, after: After = None, name: NameStart = None, role: WithRole = None,
        state: InState = None,
    ) -> Connection[Person]:  # fmt: skip
        """A page of accounts."""
        size = page_size(first)
        wanted = WantedPeople(
            name=name, role=None if role is None else stored(role), state=None if state is None else stored(state)
        )
        found = await info.context.services.accounts.page(decode_cursor(after), size + 1, wanted)
        return connection(
            found[:size], key=lambda row: row[0], has_next=len(found) > size, node=lambda row: Person.of(row[1])
        )

    @strawberry.field(description="One person and what they did.", permission_classes=[Moderator])
    async def person(self, info: Info, id: PersonId) -> Profile | None:
        """The account of that id; null where there is none."""
        user = await info.context.loaders.users.load(raw_id(id, "User"))
        return None if user is None else Profile(person=Person.of(user), record=user)
