"""Registering, changing and removing clients, and the keys of services. For admins."""

from __future__ import annotations

from typing import Any

import strawberry
from strawberry.scalars import JSON

from core.errors import BadInput

from .client_types import ApiKeyNode, ClientKind, GrantType, OAuthClient, Scope
from .context import Context, Info, needed
from .enums import stored
from .errors import Payload, mutation
from .keyed import Keyed
from .permissions import Admin
from .relay import After, Connection, First, connection, decode_cursor, page_size, raw_id

MAX_ITEMS = 20


@strawberry.input(description="A client to register.")
class CreateClientInput(Keyed):
    """Input of `createClient`."""

    name: str = strawberry.field(description="What people are shown; 1 to 80 characters.")
    kind: ClientKind = strawberry.field(default=ClientKind.PUBLIC, description="Whether it gets a secret.")
    grants: list[GrantType] = strawberry.field(
        default_factory=lambda: [GrantType.AUTHORIZATION_CODE, GrantType.REFRESH_TOKEN],
        description="How it may get tokens.",
    )
    redirect_uris: list[str] = strawberry.field(default_factory=list, description="Where its people are sent back to.")
    scopes: list[Scope] = strawberry.field(description="What it may ask for.")
    first_party: bool = strawberry.field(
        default=False, description="Ours: on a site, people are not asked for consent."
    )
    home_url: str | None = strawberry.field(default=None, description="Shown on the consent page; https.")
    jwks: JSON | None = strawberry.field(
        default=None,
        description='Public keys of a confidential client, in place of a secret: {"keys": [...]}, JWKs on P-256 with a '
        "`kid` each, 1 to 4. They are given here and never fetched.",
    )


@strawberry.type(description="What became of a registration.")
class CreateClientPayload(Payload):
    """Payload of `createClient`."""

    client: OAuthClient | None = strawberry.field(default=None, description="The client.")
    secret: str | None = strawberry.field(
        default=None, description="The secret of a confidential client: shown now and never again."
    )


@strawberry.input(description="Changes of a client; what is left out stays as it is.")
class UpdateClientInput(Keyed):
    """Input of `updateClient`."""

    client_id: strawberry.ID = strawberry.field(description="The client.")
    name: str | None = strawberry.field(default=strawberry.UNSET, description="What people are shown.")
    redirect_uris: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description="Where its people are sent back to."
    )
    scopes: list[Scope] | None = strawberry.field(
        default=strawberry.UNSET,
        description="What it may ask for; keys lose the others now, sessions at their next refresh.",
    )
    first_party: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Whether it is ours; where it is not any more, its sessions end."
    )
    home_url: str | None = strawberry.field(default=strawberry.UNSET, description="Shown on the consent page.")
    jwks: JSON | None = strawberry.field(
        default=strawberry.UNSET, description="The public keys from now on, of a client that has some."
    )
    new_secret: bool = strawberry.field(default=False, description="Whether the secret is to be replaced, now.")


@strawberry.type(description="What became of a change.")
class UpdateClientPayload(Payload):
    """Payload of `updateClient`."""

    client: OAuthClient | None = strawberry.field(default=None, description="The client.")
    secret: str | None = strawberry.field(default=None, description="The new secret, if one was asked for.")


@strawberry.input(description="A client to remove.")
class DeleteClientInput(Keyed):
    """Input of `deleteClient`."""

    client_id: strawberry.ID = strawberry.field(description="The client.")


@strawberry.type(description="What became of a removal.")
class DeleteClientPayload(Payload):
    """Payload of `deleteClient`."""

    deleted: bool | None = strawberry.field(default=None, description="True: its sessions and keys are ended.")


@strawberry.input(description="A key for a service.")
class CreateApiKeyInput(Keyed):
    """Input of `createApiKey`."""

    client_id: strawberry.ID = strawberry.field(description="The service: a client with CLIENT_CREDENTIALS.")
    name: str = strawberry.field(description="What it is for; 1 to 80 characters.")
    scopes: list[Scope] = strawberry.field(description="What it is limited to, of the client's.")
    days: int = strawberry.field(default=90, description="Days until it ends, 1 to 366.")


@strawberry.type(description="What became of a key.")
class CreateApiKeyPayload(Payload):
    """Payload of `createApiKey`."""

    api_key: ApiKeyNode | None = strawberry.field(default=None, description="The key.")
    text: str | None = strawberry.field(
        default=None, description="Send it as 'Authorization: Bearer <text>': shown now and never again."
    )


@strawberry.input(description="A key to end.")
class RevokeApiKeyInput(Keyed):
    """Input of `revokeApiKey`."""

    api_key_id: strawberry.ID = strawberry.field(description="The key.")


@strawberry.type(description="What became of it.")
class RevokeApiKeyPayload(Payload):
    """Payload of `revokeApiKey`."""

    api_key: ApiKeyNode | None = strawberry.field(default=None, description="The key, ended.")


@strawberry.type
class ClientQuery:
    """Queries about clients."""

    @strawberry.field(description="Apps and services that ask for tokens, oldest first.", permission_classes=[Admin])
    async def clients(self, info: Info, first: First, after: After = None) -> Connection[OAuthClient]:
        """A page of clients."""
        size = page_size(first)
        found = await info.context.services.auth.clients.page(decode_cursor(after), size + 1)
        return connection(
            found[:size], key=lambda one: one[0], has_next=len(found) > size, node=lambda one: OAuthClient.of(one[1])
        )


@strawberry.type
class ClientMutation:
    """Mutations of clients."""

    @mutation(CreateClientPayload, Admin, "Register an app or service.")
    async def create_client(self, info: Info, input: CreateClientInput) -> CreateClientPayload:
        """Register it."""
        by = info.context.user().id
        client, secret = await info.context.services.auth.clients.create(_fields(info.context, input), by=by)
        return CreateClientPayload(client=OAuthClient.of(client), secret=secret)

    @mutation(UpdateClientPayload, Admin, "Change a client.")
    async def update_client(self, info: Info, input: UpdateClientInput) -> UpdateClientPayload:
        """Change it."""
        client, secret = await info.context.services.auth.clients.update(
            raw_id(input.client_id, "OAuthClient", path=("client_id",)), _fields(info.context, input),
            new_secret_wanted=input.new_secret, by=info.context.user().id,
        )  # fmt: skip
        return UpdateClientPayload(client=OAuthClient.of(client), secret=secret)

    @mutation(DeleteClientPayload, Admin, "Remove a client; what it got ends.")
    async def delete_client(self, info: Info, input: DeleteClientInput) -> DeleteClientPayload:
        """Remove it."""
        client_id = raw_id(input.client_id, "OAuthClient", path=("client_id",))
        await info.context.services.auth.clients.delete(client_id, by=info.context.user().id)
        return DeleteClientPayload(deleted=True)

    @mutation(CreateApiKeyPayload, Admin, "Make a key for a service.")
    async def create_api_key(self, info: Info, input: CreateApiKeyInput) -> CreateApiKeyPayload:
        """Make it."""
        auth = info.context.services.auth
        client = await auth.clients.get(raw_id(input.client_id, "OAuthClient", path=("client_id",)))
        if client.service_id is None:
            raise BadInput("keys are for services: clients with CLIENT_CREDENTIALS", path=("client_id",))
        scopes = [stored(scope) for scope in input.scopes]
        key, text = await auth.api_keys.create(
            client.service_id, input.name, scopes, input.days, by=info.context.user().id, allowed=client.scopes
        )
        return CreateApiKeyPayload(api_key=ApiKeyNode.of(key), text=text)

    @mutation(RevokeApiKeyPayload, Admin, "End a service's key: it is refused at once.")
    async def revoke_api_key(self, info: Info, input: RevokeApiKeyInput) -> RevokeApiKeyPayload:
        """End it."""
        key_id = raw_id(input.api_key_id, "ApiKey", path=("api_key_id",))
        key = await info.context.services.auth.api_keys.revoke(key_id, by=info.context.user().id)
        return RevokeApiKeyPayload(api_key=ApiKeyNode.of(key))


def _fields(context: Context, input: Any) -> dict[str, Any]:
    """What an input says about a client, in stored names."""
    names = ("name", "kind", "grants", "redirect_uris", "scopes", "first_party", "home_url", "jwks")
    said = {name: getattr(input, name, strawberry.UNSET) for name in names}
    given = {name: value for name, value in said.items() if value is not strawberry.UNSET}
    given = {name: value for name, value in given.items() if value is not None or name == "home_url"}
    for name in ("redirect_uris", "scopes", "grants"):
        if len(given.get(name) or ()) > MAX_ITEMS:
            raise BadInput(f"{name} has {len(given[name])} items; at most {MAX_ITEMS}", path=(name,))
    for name in ("grants", "scopes"):
        if name in given:
            given[name] = [stored(one) for one in given[name] or ()]
    if "jwks" in given:
        given["public_keys"] = needed(context.services.public_keys, "clients with keys")(given.pop("jwks"))
    return given | ({"kind": stored(given["kind"])} if "kind" in given else {})
