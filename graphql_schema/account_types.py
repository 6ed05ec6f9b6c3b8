"""What one sees of one's own account: sessions, ways to sign in, the terms of use."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum

import strawberry

from core.oauth_records import Session
from core.records import User

from .context import Context, Info
from .permissions import ByViewer
from .relay import global_id


@strawberry.enum(description="How a session began.")
class SessionKind(Enum):
    """Kinds of session."""

    BROWSER = strawberry.enum_value("browser", description="Signed in on our pages.")
    APP = strawberry.enum_value("app", description="Through an app.")
    DEVELOPMENT = strawberry.enum_value("development", description="By development sign-in.")
    COMMAND = strawberry.enum_value("command", description="By the command line.")


@strawberry.type(name="Session", description="One sign-in of yours, which you may end.")
class SessionNode:
    """A session."""

    id: strawberry.ID = strawberry.field(description="Pass it to `revokeSession`.")
    client_key: strawberry.Private[str | None]
    kind: SessionKind = strawberry.field(description="How it began.")
    device: str = strawberry.field(description="What the browser or app called itself.")
    scopes: list[str] | None = strawberry.field(description="What it is limited to; null: to nothing.")
    created_at: datetime = strawberry.field(description="When it began.")
    last_used_at: datetime = strawberry.field(description="When it was renewed last.")
    expires_at: datetime = strawberry.field(description="When it ends, if it is not renewed.")
    current: bool = strawberry.field(description="Whether this request belongs to it.")

    @strawberry.field(description="Name of the app; null where there is none, or it is not registered any more.")
    async def client_name(self, info: Info) -> str | None:
        """The client's name."""
        client = await info.context.loaders.clients.load(self.client_key) if self.client_key else None
        return None if client is None else client.name

    @classmethod
    def of(cls, session: Session, context: Context) -> SessionNode:
        """The session."""
        return cls(
            id=global_id("Session", session.id), client_key=session.client_id, kind=SessionKind(session.kind),
            device=session.device, scopes=None if session.scopes is None else list(session.scopes),
            created_at=at(session.created_ms), last_used_at=at(session.used_ms), expires_at=at(session.expires_ms),
            current=session.id == context.session_id,
        )  # fmt: skip


@strawberry.type(description="A way in which you sign in.")
class Identity:
    """A linked identity."""

    id: strawberry.ID = strawberry.field(description="Pass it to `unlinkIdentity`.")
    provider: str = strawberry.field(description="Id of the provider, such as google; email for letters.")


@strawberry.type(description="An app that you have allowed to use your account.")
class AllowedApp:
    """A consent."""

    id: strawberry.ID = strawberry.field(description="Pass it to `revokeApp`.")
    name: str = strawberry.field(description="What it calls itself.")
    scopes: list[str] = strawberry.field(description="What you have allowed.")
    allowed_at: datetime = strawberry.field(description="When you allowed something last.")


@strawberry.type(description="The terms of use that hold now.")
class TermsOfUse:
    """The terms."""

    version: str = strawberry.field(description="Pass it to `acceptTerms`.")
    url: str | None = strawberry.field(description="Where they can be read.")
    accepted: bool = strawberry.field(description="Whether you accepted this version.")


@strawberry.type
class OwnAccount:
    """Fields of `Viewer` about the account."""

    record: strawberry.Private[User]

    @strawberry.field(description="Where you are signed in, newest first; 200 at most.", permission_classes=[ByViewer])
    async def sessions(self, info: Info) -> list[SessionNode]:
        """Good sessions."""
        found = await info.context.services.auth.sessions.of_user(self.record.id)
        return [SessionNode.of(session, info.context) for session in found]

    @strawberry.field(
        description="Apps that you have allowed to use your account, newest first.", permission_classes=[ByViewer]
    )
    async def apps(self, info: Info) -> list[AllowedApp]:
        """Consents to clients that still exist."""
        clients = info.context.services.auth.clients
        allowed = await clients.allowed_by(self.record.id)
        known = await clients.get_many([client_id for client_id, _, _ in allowed])
        return [
            AllowedApp(id=global_id("App", one), name=known[one].name, scopes=list(scopes), allowed_at=at(when))
            for one, scopes, when in allowed
            if one in known
        ]

    @strawberry.field(description="The ways in which you sign in.", permission_classes=[ByViewer])
    def identities(self, info: Info) -> list[Identity]:
        """Linked identities."""
        return identities_of(self.record)

    @strawberry.field(description="The terms of use; null where there are none.")
    def terms(self, info: Info) -> TermsOfUse | None:
        """The terms, and whether they were accepted."""
        terms = info.context.services.terms
        if terms is None:
            return None
        return TermsOfUse(version=terms.version, url=terms.url, accepted=self.record.terms_version == terms.version)


def identities_of(user: User) -> list[Identity]:
    """The ways in which a person signs in, the first one first."""
    return [Identity(id=global_id("Identity", key), provider=key.partition(":")[0]) for key in user.identities]


def at(milliseconds: int) -> datetime:
    """Milliseconds since 1970 as a time."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
