"""What one does to one's own account: ends sessions, links and unlinks ways to sign in, accepts the terms of use."""

from __future__ import annotations

import strawberry

from core.errors import BadInput, NotFound

from .account_types import Identity, TermsOfUse, identities_of
from .context import Info, needed
from .errors import Payload, mutation
from .keyed import Keyed
from .permissions import SignedIn
from .relay import raw_id
from .user_types import UserNode


@strawberry.input(description="A session to end.")
class RevokeSessionInput(Keyed):
    """Input of `revokeSession`."""

    session_id: strawberry.ID = strawberry.field(description="The session.")


@strawberry.type(description="What became of a session.")
class RevokeSessionPayload(Payload):
    """Payload of `revokeSession`."""

    revoked: bool | None = strawberry.field(default=None, description="True: its tokens are refused from now on.")


@strawberry.input(description="Which sessions to end.")
class SignOutEverywhereInput(Keyed):
    """Input of `signOutEverywhere`."""

    but_this_one: bool = strawberry.field(default=False, description="Whether this request's own session stays.")


@strawberry.type(description="What became of the sessions.")
class SignOutEverywherePayload(Payload):
    """Payload of `signOutEverywhere`."""

    revoked: int | None = strawberry.field(default=None, description="How many were ended.")


@strawberry.input(description="An app that shall no longer use your account.")
class RevokeAppInput(Keyed):
    """Input of `revokeApp`."""

    app_id: strawberry.ID = strawberry.field(description="The app.")


@strawberry.type(description="What became of it.")
class RevokeAppPayload(Payload):
    """Payload of `revokeApp`."""

    revoked: bool | None = strawberry.field(
        default=None, description="True: its sessions are ended, and you are asked again next time."
    )


@strawberry.input(description="A way to sign in to be linked.")
class LinkIdentityInput(Keyed):
    """Input of `linkIdentity`."""

    provider: str = strawberry.field(description="Id of the provider, such as google; email for letters.")


@strawberry.type(description="Where linking goes on.")
class LinkIdentityPayload(Payload):
    """Payload of `linkIdentity`."""

    url: str | None = strawberry.field(
        default=None, description="Open it in the person's browser: they prove there who they are."
    )


@strawberry.input(description="A way to sign in to be taken away.")
class UnlinkIdentityInput(Keyed):
    """Input of `unlinkIdentity`."""

    identity_id: strawberry.ID = strawberry.field(description="The identity; never the last one.")


@strawberry.type(description="What became of it.")
class UnlinkIdentityPayload(Payload):
    """Payload of `unlinkIdentity`."""

    identities: list[Identity] | None = strawberry.field(default=None, description="Those that are left.")


@strawberry.input(description="A name for oneself.")
class SetDisplayNameInput(Keyed):
    """Input of `setDisplayName`."""

    display_name: str = strawberry.field(description="What everybody shall see; 1 to 64 visible characters.")


@strawberry.type(description="What became of a name.")
class SetDisplayNamePayload(Payload):
    """Payload of `setDisplayName`."""

    user: UserNode | None = strawberry.field(default=None, description="You, as others see you.")


@strawberry.input(description="Terms of use that were read.")
class AcceptTermsInput(Keyed):
    """Input of `acceptTerms`."""

    version: str = strawberry.field(description="The version that was read: it must be the one that holds now.")


@strawberry.type(description="What became of the terms.")
class AcceptTermsPayload(Payload):
    """Payload of `acceptTerms`."""

    terms: TermsOfUse | None = strawberry.field(default=None, description="The terms, accepted.")


@strawberry.type
class AccountMutation:
    """Mutations of one's own account."""

    @mutation(RevokeSessionPayload, SignedIn, "End one of your sessions: its tokens are refused at once.")
    async def revoke_session(self, info: Info, input: RevokeSessionInput) -> RevokeSessionPayload:
        """End the session."""
        user = info.context.user()
        session_id = raw_id(input.session_id, "Session", path=("session_id",))
        if not await info.context.services.auth.sessions.revoke(session_id, user.id):
            raise NotFound("you have no such session, or it was ended before", path=("session_id",))
        return RevokeSessionPayload(revoked=True)

    @mutation(SignOutEverywherePayload, SignedIn, "End all of your sessions, in browsers and apps.")
    async def sign_out_everywhere(self, info: Info, input: SignOutEverywhereInput) -> SignOutEverywherePayload:
        """End the sessions."""
        user = info.context.user()
        spared = info.context.session_id if input.but_this_one else None
        return SignOutEverywherePayload(
            revoked=await info.context.services.auth.sessions.revoke_all(user.id, but=spared)
        )

    @mutation(RevokeAppPayload, SignedIn, "Take back what you allowed an app; its sessions end.")
    async def revoke_app(self, info: Info, input: RevokeAppInput) -> RevokeAppPayload:
        """Forget the consent."""
        user = info.context.user()
        await info.context.services.auth.clients.forget_consent(user.id, raw_id(input.app_id, "App", path=("app_id",)))
        return RevokeAppPayload(revoked=True)

    @mutation(LinkIdentityPayload, SignedIn, "Begin to link another way to sign in to your account.")
    async def link_identity(self, info: Info, input: LinkIdentityInput) -> LinkIdentityPayload:
        """Say where it goes on: only a browser can prove who somebody is elsewhere."""
        return LinkIdentityPayload(url=needed(info.context.services.link_url, "linked sign-ins")(input.provider))

    @mutation(UnlinkIdentityPayload, SignedIn, "Take away one of the ways in which you sign in; never the last.")
    async def unlink_identity(self, info: Info, input: UnlinkIdentityInput) -> UnlinkIdentityPayload:
        """Take it away."""
        user = info.context.user()
        key = raw_id(input.identity_id, "Identity", path=("identity_id",))
        return UnlinkIdentityPayload(
            identities=identities_of(await info.context.services.accounts.unlink(user.id, key))
        )

    @mutation(SetDisplayNamePayload, SignedIn, "Change the name that everybody sees.")
    async def set_display_name(self, info: Info, input: SetDisplayNameInput) -> SetDisplayNamePayload:
        """Store the name."""
        user = info.context.user()
        changed = await info.context.services.accounts.set_display_name(user.id, input.display_name)
        return SetDisplayNamePayload(user=UserNode.of(changed))

    @mutation(AcceptTermsPayload, SignedIn, "Accept the terms of use.")
    async def accept_terms(self, info: Info, input: AcceptTermsInput) -> AcceptTermsPayload:
        """Note that they were accepted."""
        user, terms = info.context.user(), needed(info.context.services.terms, "terms of use")
        if input.version != terms.version:
            raise BadInput(f"version is {input.version[:40]!r}; {terms.version!r} holds now", path=("version",))
        await info.context.services.accounts.accept_terms(user.id, terms.version)
        return AcceptTermsPayload(terms=TermsOfUse(version=terms.version, url=terms.url, accepted=True))
