"""Apps and services that may ask for tokens, and the keys of services, as admins see them."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import strawberry

from core.oauth_records import ApiKey, Client
from core.records import milliseconds, now
from core.scopes import SCOPES

from .account_types import at
from .context import Context, Info
from .nodes import reads
from .permissions import ADMIN
from .relay import Node, global_id
from .user_types import UserNode, load_user


@strawberry.enum(description="Whether a client can keep a secret.")
class ClientKind(Enum):
    """Kinds of client."""

    PUBLIC = strawberry.enum_value("public", description="Single-page and native apps: PKCE, no secret.")
    CONFIDENTIAL = strawberry.enum_value("confidential", description="Servers and services: they have a secret.")


@strawberry.enum(description="A way to get tokens.")
class GrantType(Enum):
    """Grant types of OAuth."""

    AUTHORIZATION_CODE = strawberry.enum_value("authorization_code", description="A person signs in by browser.")
    REFRESH_TOKEN = strawberry.enum_value("refresh_token", description="A session is renewed.")
    DEVICE_CODE = strawberry.enum_value(
        "urn:ietf:params:oauth:grant-type:device_code", description="A person signs in elsewhere for a device."
    )
    CLIENT_CREDENTIALS = strawberry.enum_value("client_credentials", description="A service is itself.")


@strawberry.enum(description="What a token is limited to.")
class Scope(Enum):
    """The closed list of scopes."""

    READ = strawberry.enum_value("read", description=SCOPES["read"])
    PROFILE = strawberry.enum_value("profile", description=SCOPES["profile"])
    TASKS = strawberry.enum_value("tasks", description=SCOPES["tasks"])
    CHAT = strawberry.enum_value("chat", description=SCOPES["chat"])
    ACCOUNT = strawberry.enum_value("account", description=SCOPES["account"])
    MODERATE = strawberry.enum_value("moderate", description=SCOPES["moderate"])
    JOBS = strawberry.enum_value("jobs", description=SCOPES["jobs"])
    ADMIN = strawberry.enum_value("admin", description=SCOPES["admin"])
    ACT_AS = strawberry.enum_value("act_as", description=SCOPES["act_as"])
    OFFLINE_ACCESS = strawberry.enum_value("offline_access", description=SCOPES["offline_access"])


@strawberry.type(name="ApiKey", description="A service's key.")
class ApiKeyNode:
    """A key without its secret."""

    id: strawberry.ID = strawberry.field(description="Pass it to `revokeApiKey`.")
    name: str = strawberry.field(description="What it is for.")
    begins_with: str = strawberry.field(description="How its text begins, to find it again.")
    scopes: list[Scope] = strawberry.field(description="What it is limited to.")
    created_at: datetime = strawberry.field(description="When it was made.")
    last_used_at: datetime | None = strawberry.field(description="When it was used last, to the minute.")
    expires_at: datetime = strawberry.field(description="When it ends.")
    good: bool = strawberry.field(description="Whether it is neither revoked nor over.")

    @classmethod
    def of(cls, key: ApiKey) -> ApiKeyNode:
        """The key."""
        return cls(
            id=global_id("ApiKey", key.id), name=key.name, begins_with=key.text_begins,
            scopes=[Scope(scope) for scope in key.scopes], created_at=at(key.created_ms),
            last_used_at=at(key.used_ms) if key.used_ms else None, expires_at=at(key.expires_ms),
            good=not key.revoked_ms and milliseconds(now()) < key.expires_ms,
        )  # fmt: skip


@strawberry.type(name="OAuthClient", description="An app or service that may ask for tokens.")
class OAuthClient(Node):
    """A client."""

    service_key: strawberry.Private[str | None]
    client_id: str = strawberry.field(description="The `client_id` of OAuth.")
    name: str = strawberry.field(description="What people are shown.")
    kind: ClientKind = strawberry.field(description="Whether it has a secret.")
    grants: list[GrantType] = strawberry.field(description="How it may get tokens.")
    redirect_uris: list[str] = strawberry.field(description="Where its people are sent back to.")
    scopes: list[Scope] = strawberry.field(description="What it may ask for.")
    first_party: bool = strawberry.field(description="Ours: on a site, people are not asked for consent.")
    home_url: str | None = strawberry.field(description="Shown on the consent page.")
    created_at: datetime = strawberry.field(description="When it was registered.")
    key_ids: list[str] = strawberry.field(description="The `kid` of each public key that it has in place of a secret.")

    @strawberry.field(description="The user that a service is when it acts for itself; null for other clients.")
    async def service(self, info: Info) -> UserNode | None:
        """The service account."""
        return None if self.service_key is None else await load_user(info.context, self.service_key)

    @strawberry.field(description="The keys of a service, oldest first; revoked ones are left out.")
    async def api_keys(self, info: Info) -> list[ApiKeyNode]:
        """Keys."""
        if self.service_key is None:
            return []
        return [ApiKeyNode.of(key) for key in await info.context.services.auth.api_keys.of_user(self.service_key)]

    @classmethod
    def of(cls, client: Client) -> OAuthClient:
        """The client."""
        return cls(
            id=global_id("OAuthClient", client.id), service_key=client.service_id, client_id=client.id,
            name=client.name, kind=ClientKind(client.kind), grants=[GrantType(grant) for grant in client.grants],
            redirect_uris=list(client.redirect_uris), scopes=[Scope(scope) for scope in client.scopes],
            first_party=client.first_party, home_url=client.home_url, created_at=at(client.created_ms),
            key_ids=[str(key["kid"]) for key in client.public_keys],
        )  # fmt: skip


@reads("OAuthClient")
async def load_client(context: Context, client_id: str) -> OAuthClient | None:
    """The client with that id, for admins; None for others."""
    context.user()
    if not ADMIN & context.roles:
        return None
    client = await context.services.auth.clients.find(client_id)
    return None if client is None else OAuthClient.of(client)
