"""Moderators' and admins' part of the schema about people: appeals, roles, languages, bans, notes."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from core.records import User, now
from core.scoring import streak_now

from .context import Info
from .contribution_types import AppealNode, Reliability, reliability_of
from .enums import LeaderboardFrame, UserRole, stored
from .errors import Payload, mutation
from .keyed import Keyed
from .permissions import Admin, Moderator
from .queue_types import moderators
from .relay import First, page_size, raw_id
from .user_types import UserNode

if TYPE_CHECKING:
    from core.trollboard import Trouble

Frame = Annotated[LeaderboardFrame, strawberry.argument(description="The time to count.")]


@strawberry.type(description="A person, as moderators see them.")
class Person:
    """What is not for everyone."""

    user: UserNode = strawberry.field(description="What everyone sees.")
    roles: list[UserRole] = strawberry.field(description="What they may be.")
    moderates: list[str] = strawberry.field(description="Languages that they moderate; empty for all.")
    enabled: bool = strawberry.field(description="Whether they may do anything; false for who is banned.")
    disabled_reason: str | None = strawberry.field(description="What they were told when they were banned.")
    notes: str = strawberry.field(description="What moderators noted about them.")
    left: bool = strawberry.field(description="Whether they deleted their account.")
    trust_withheld: str | None = strawberry.field(description="Why the role TRUSTED was taken back; null where not.")
    last_activity_at: datetime | None = strawberry.field(description="When they did something last; null for never.")
    streak_days: int = strawberry.field(description="As `Viewer.streakDays`.")
    on_leaderboards: bool = strawberry.field(description="Whether they want to stand on leaderboards.")
    terms_version: str | None = strawberry.field(description="The terms of use that they accepted last.")
    user_key: strawberry.Private[str]

    @strawberry.field(description="How far their reviews and rankings are trusted; null while nothing is known.")
    async def reliability(self, info: Info) -> Reliability | None:
        """The estimates: evidence, never a ban by itself."""
        return await reliability_of(info.context, self.user_key)

    @classmethod
    def of(cls, user: User) -> Person:
        """The person."""
        return cls(
            user=UserNode.of(user), roles=[UserRole(role) for role in user.roles], moderates=list(user.moderates),
            enabled=user.enabled, disabled_reason=user.disabled_reason, notes=user.notes, left=user.deleted,
            trust_withheld=user.trust_withheld, last_activity_at=user.last_activity_at,
            streak_days=streak_now(user.streak_days, user.last_activity_at, now()),
            on_leaderboards=user.show_on_leaderboard, terms_version=user.terms_version, user_key=user.id,
        )  # fmt: skip


@strawberry.input(description="A decision about an appeal.")
class DecideAppealInput(Keyed):
    """Input of `decideAppeal`."""

    appeal_id: strawberry.ID = strawberry.field(description="The appeal.")
    uphold: bool = strawberry.field(description="Whether its author is right: the message is accepted, or put back.")
    reason: str = strawberry.field(description="Why; its author reads it.")


@strawberry.type(description="What became of a decision.")
class DecideAppealPayload(Payload):
    """Payload of `decideAppeal`."""

    appeal: AppealNode | None = strawberry.field(default=None, description="The appeal, decided.")


@strawberry.input(description="The roles of a person.")
class SetRolesInput(Keyed):
    """Input of `setRoles`."""

    user_id: strawberry.ID = strawberry.field(description="The person.")
    roles: list[UserRole] = strawberry.field(description="Exactly these.")


@strawberry.type(description="What became of roles.")
class SetRolesPayload(Payload):
    """Payload of `setRoles`."""

    person: Person | None = strawberry.field(default=None, description="The person.")


@strawberry.input(description="The languages of a moderator.")
class SetModeratorLanguagesInput(Keyed):
    """Input of `setModeratorLanguages`."""

    user_id: strawberry.ID = strawberry.field(description="The moderator.")
    langs: list[str] = strawberry.field(description="BCP 47 tags; none for all languages.")


@strawberry.type(description="What became of languages.")
class SetModeratorLanguagesPayload(Payload):
    """Payload of `setModeratorLanguages`."""

    person: Person | None = strawberry.field(default=None, description="The moderator.")


@strawberry.input(description="Somebody to ban, or to let in again.")
class BanUserInput(Keyed):
    """Input of `banUser`."""

    user_id: strawberry.ID = strawberry.field(description="The person.")
    reason: str = strawberry.field(default="", description="Why; needed for a ban, and told to the person.")
    lift: bool = strawberry.field(default=False, description="Lift the ban instead.")


@strawberry.type(description="What became of a ban.")
class BanUserPayload(Payload):
    """Payload of `banUser`."""

    person: Person | None = strawberry.field(default=None, description="The person.")


@strawberry.input(description="Whether somebody is trusted.")
class SetTrustedInput(Keyed):
    """Input of `setTrusted`."""

    user_id: strawberry.ID = strawberry.field(description="The person.")
    trusted: bool = strawberry.field(description="Give the role, or take it back: work alone does not earn it again.")
    reason: str = strawberry.field(default="", description="Why; needed to take it back, and told to the person.")


@strawberry.type(description="What became of a person's trust.")
class SetTrustedPayload(Payload):
    """Payload of `setTrusted`."""

    person: Person | None = strawberry.field(default=None, description="The person.")


@strawberry.input(description="Notes about a person.")
class SetNotesInput(Keyed):
    """Input of `setNotes`."""

    user_id: strawberry.ID = strawberry.field(description="The person.")
    notes: str = strawberry.field(description="In place of those that there are; at most 4,096 characters.")


@strawberry.type(description="What became of notes.")
class SetNotesPayload(Payload):
    """Payload of `setNotes`."""

    person: Person | None = strawberry.field(default=None, description="The person.")


@strawberry.type(description="What of somebody's messages was no good, in one time.")
class TroubleRow:
    """One place on the trollboard."""

    person: Person = strawberry.field(description="Whose.")
    accepted: int = strawberry.field(description="Messages that were accepted.")
    refused: int = strawberry.field(description="Messages that were refused.")
    spam: int = strawberry.field(description="Those of them that were refused as spam, among other reasons.")
    removed: int = strawberry.field(description="Messages that moderators or red flags took out.")
    share: float = strawberry.field(description="Refused and removed among all, 0 to 1; of few messages held for less.")

    @classmethod
    def of(cls, record: Trouble) -> TroubleRow:
        """The place."""
        return cls(
            person=Person.of(record.user), accepted=record.accepted, refused=record.refused, spam=record.spam,
            removed=record.removed, share=record.share,
        )  # fmt: skip


@strawberry.type
class StewardshipQuery:
    """People, for moderators."""

    @strawberry.field(
        description="People by the share of their messages that was no good, worst first.",
        permission_classes=[Moderator],
    )
    async def trollboard(self, info: Info, frame: Frame, first: First) -> list[TroubleRow]:
        """Places of one time frame."""
        found = await moderators(info.context).trollboard(stored(frame), page_size(first))
        return [TroubleRow.of(each) for each in found]


@strawberry.type
class StewardshipMutation:
    """Decisions about people."""

    @mutation(DecideAppealPayload, Moderator, "Uphold or reject an appeal; not one against your own decision.")
    async def decide_appeal(self, info: Info, input: DecideAppealInput) -> DecideAppealPayload:
        """Decide it, and do what follows."""
        appeal_id = raw_id(input.appeal_id, "Appeal", path=("appeal_id",))
        decided = await moderators(info.context).decide_appeal(
            info.context.user(), appeal_id, input.uphold, input.reason
        )
        return DecideAppealPayload(appeal=AppealNode.of(decided))

    @mutation(SetRolesPayload, Admin, "Give a person exactly these roles.")
    async def set_roles(self, info: Info, input: SetRolesInput) -> SetRolesPayload:
        """Set them."""
        roles = [stored(role) for role in input.roles]
        return SetRolesPayload(
            person=Person.of(await moderators(info.context).set_roles(info.context.user(), _user(input.user_id), roles))
        )

    @mutation(SetModeratorLanguagesPayload, Admin, "Say which languages a moderator looks after.")
    async def set_moderator_languages(
        self, info: Info, input: SetModeratorLanguagesInput
    ) -> SetModeratorLanguagesPayload:
        """Set them."""
        changed = await moderators(info.context).set_languages(info.context.user(), _user(input.user_id), input.langs)
        return SetModeratorLanguagesPayload(person=Person.of(changed))

    @mutation(BanUserPayload, Moderator, "Keep a person out, or let them in again; moderators ban contributors only.")
    async def ban_user(self, info: Info, input: BanUserInput) -> BanUserPayload:
        """Ban, or lift the ban."""
        changed = await moderators(info.context).set_enabled(
            info.context.user(), _user(input.user_id), input.lift, input.reason
        )
        return BanUserPayload(person=Person.of(changed))

    @mutation(SetTrustedPayload, Moderator, "Give a contributor the role TRUSTED, or take it back with a reason.")
    async def set_trusted(self, info: Info, input: SetTrustedInput) -> SetTrustedPayload:
        """Give it or take it back."""
        changed = await moderators(info.context).set_trusted(
            info.context.user(), _user(input.user_id), input.trusted, input.reason
        )
        return SetTrustedPayload(person=Person.of(changed))

    @mutation(SetNotesPayload, Moderator, "Note something about a person, for moderators.")
    async def set_notes(self, info: Info, input: SetNotesInput) -> SetNotesPayload:
        """Set them."""
        changed = await moderators(info.context).set_notes(info.context.user(), _user(input.user_id), input.notes)
        return SetNotesPayload(person=Person.of(changed))


def _user(value: str) -> str:
    return raw_id(value, "User", path=("user_id",))
