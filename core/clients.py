"""OAuth clients: registered by admins, changed, deleted, authenticated. Consents that people gave them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymongo.errors import DuplicateKeyError

from core.accounts import Accounts
from core.database import Database
from core.errors import BadInput, Conflict, NotFound
from core.ids import new_id
from core.journal import record
from core.oauth_records import CLIENT_KINDS, GRANT_TYPES, Client
from core.records import User, milliseconds, now
from core.redirects import check_redirect_uri
from core.scopes import SERVICE_ONLY, check_scopes
from core.secret_values import hashed, matches, new_secret
from core.sessions import Sessions
from core.texts import is_name

MAX_NAME = 80
MAX_URIS = 10
MOST_CONSENTS = 200
"""Apps of one person that are listed."""
SECRET_PREFIX = "oac_"  # noqa: S105 - what secrets begin with, not one


class Clients:
    """The clients in one database.

    Args:
        database: holds them, in `oauth_clients`, and consents in `oauth_consents`.
        accounts: services get an account there.
        sessions: a deleted client's are ended.
    """

    def __init__(self, database: Database, accounts: Accounts, sessions: Sessions) -> None:
        self._database = database
        self._clients = database["oauth_clients"]
        self._consents = database["oauth_consents"]
        self._accounts = accounts
        self._sessions = sessions

    async def create(self, wanted: dict[str, Any], *, by: str | None = None) -> tuple[Client, str | None]:
        """Register a client; `wanted` holds fields of `Client` that a caller may set.

        Returns:
            the client, and its secret where it is confidential: it is shown now and never again.

        Raises:
            BadInput: a field is wrong; says which.
        """
        client_id, secret = new_id(), None
        fields = checked_fields(wanted)
        if fields.get("kind") == "confidential" and not fields["public_keys"]:
            secret = SECRET_PREFIX + new_secret()
            fields["secret_hash"] = hashed(secret)
        if "client_credentials" in fields["grants"]:
            service = await self._accounts.ensure_user("service", client_id, fields["name"], ("service",))
            fields["service_id"] = service.id
        client = Client(id=client_id, created_ms=milliseconds(now()), **fields)
        await self._clients.insert_one(client.to_document())
        await record(self._database, "create_client", client_id, {"name": client.name}, by=by)
        return client, secret

    async def update(
        self, client_id: str, wanted: dict[str, Any], *, new_secret_wanted: bool = False, by: str | None = None
    ) -> tuple[Client, str | None]:
        """Change the fields in `wanted`; kind and grants stay as they were registered, and whether it has keys.

        Scopes that are taken away are gone from keys at once, and from sessions with the next refresh. A client that is
        not ours any more loses its sessions: nobody was asked whether it may have them.
        """
        client, secret = await self.get(client_id), None
        if wanted.get("public_keys") and not client.public_keys:
            raise BadInput("the client has no keys to replace; register another one", path=("jwks",))
        before = {name: getattr(client, name) for name in _SETTABLE}
        fields = checked_fields(before | wanted | {"kind": client.kind, "grants": client.grants})
        if new_secret_wanted:
            if client.kind != "confidential" or client.public_keys:
                raise BadInput("a public client, or one with keys, has no secret to renew", path=("new_secret",))
            secret = SECRET_PREFIX + new_secret()
            fields["secret_hash"] = hashed(secret)
        lists = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
        change = {"$set": lists, "$inc": {"rev": 1}}
        changed = await self._clients.update_one({"_id": client_id, "rev": client.rev}, change)
        if not changed.matched_count:
            raise Conflict(f"client {client_id!r} was changed in the meantime; look again")
        if client.first_party and not fields["first_party"]:
            await self._sessions.revoke_all(client_id=client_id)
        await record(self._database, "update_client", client_id, {"fields": sorted(wanted)}, by=by)
        return await self.get(client_id), secret

    async def delete(self, client_id: str, *, by: str | None = None) -> None:
        """Take a client out; its sessions end, and its service account is disabled."""
        client = await self.get(client_id)
        await self._clients.delete_one({"_id": client_id})
        if client.service_id is not None:
            await self._accounts.set_enabled(client.service_id, False, by=by)
        await self._sessions.revoke_all(client_id=client_id)
        await record(self._database, "delete_client", client_id, {"name": client.name}, by=by)

    async def first_use(self, client_id: str, assertion_id: str, expires_ms: int) -> bool:
        """Whether this assertion of the client was not taken before; it is now."""
        used = {"_id": hashed(f"{client_id}|{assertion_id}"), "expires_ms": expires_ms}
        try:
            await self._database["client_assertions"].insert_one(used)
        except DuplicateKeyError:
            return False
        return True

    async def get(self, client_id: str) -> Client:
        """The client; raises `NotFound`."""
        if (client := await self.find(client_id)) is None:
            raise NotFound(f"there is no client {client_id[:80]!r}")
        return client

    async def find(self, client_id: str | None) -> Client | None:
        """The client, or None."""
        document = await self._clients.find_one({"_id": client_id}) if client_id else None
        return None if document is None else Client.from_document(document)

    async def get_many(self, client_ids: Sequence[str]) -> dict[str, Client]:
        """Those clients that exist, by id."""
        found = self._clients.find({"_id": {"$in": list(client_ids)}})
        return {document["_id"]: Client.from_document(document) async for document in found}

    async def page(self, after: str | None = None, first: int = 20) -> list[tuple[str, Client]]:
        """Clients, oldest first, each with its cursor."""
        found = self._clients.find({"by_time": {"$gt": after or ""}}).sort("by_time").limit(first)
        return [(document["by_time"], Client.from_document(document)) async for document in found]

    async def consented(self, user: User, client_id: str) -> frozenset[str]:
        """The scopes that this person has allowed this client before."""
        document = await self._consents.find_one({"_id": f"{user.id}|{client_id}"})
        return frozenset(document["scopes"]) if document else frozenset()

    async def remember_consent(self, user: User, client_id: str, scopes: Sequence[str]) -> None:
        """Add to what this person allows this client."""
        change = {
            "$addToSet": {"scopes": {"$each": list(scopes)}},
            "$set": {"at_ms": milliseconds(now()), "user_id": user.id, "client_id": client_id},
        }
        await self._consents.update_one({"_id": f"{user.id}|{client_id}"}, change, upsert=True)

    async def allowed_by(self, user_id: str) -> list[tuple[str, tuple[str, ...], int]]:
        """What a person has allowed: client id, scopes, and when it was allowed last, in milliseconds; newest first."""
        found = self._consents.find({"user_id": user_id}).limit(MOST_CONSENTS)
        consents = [(one["client_id"], tuple(one["scopes"]), int(one["at_ms"])) async for one in found]
        return sorted(consents, key=lambda consent: -consent[2])

    async def forget_consent(self, user_id: str, client_id: str) -> None:
        """Ask again next time, and end what the client has."""
        await self._consents.delete_one({"_id": f"{user_id}|{client_id}"})
        await self._sessions.revoke_all(user_id=user_id, client_id=client_id)


def secret_fits(client: Client, secret: str | None) -> bool:
    """Whether `secret` is the client's: none for a public client, its own for a confidential one without keys."""
    if client.kind == "public":
        return not secret
    return bool(secret) and matches(secret or "", client.secret_hash)


_SETTABLE = ("name", "public_keys", "redirect_uris", "scopes", "first_party", "home_url")


def checked_fields(wanted: dict[str, Any]) -> dict[str, Any]:
    """Fields of a client, checked and in their stored form.

    Raises:
        BadInput: says which is wrong, and the right form.
    """
    name, kind = str(wanted.get("name") or "").strip(), wanted.get("kind") or "public"
    if not 1 <= len(name) <= MAX_NAME or not is_name(name):
        raise BadInput(f"name has {len(name)} characters; it must have 1 to {MAX_NAME} visible ones", path=("name",))
    if kind not in CLIENT_KINDS:
        raise BadInput(f"kind {kind!r} is unknown; one of: {', '.join(CLIENT_KINDS)}", path=("kind",))
    grants = tuple(dict.fromkeys(wanted.get("grants") or GRANT_TYPES[:2]))
    for grant in grants:
        if grant not in GRANT_TYPES:
            raise BadInput(f"grant {grant[:60]!r} is unknown; one of: {', '.join(GRANT_TYPES)}", path=("grants",))
    if wanted.get("public_keys") and kind == "public":
        raise BadInput("a client with keys is confidential: a public one proves nothing", path=("kind",))
    scopes = check_scopes(wanted.get("scopes") or ("read", "profile"))
    if "client_credentials" in grants and kind == "public":
        raise BadInput("client_credentials needs a confidential client: a public one has no secret", path=("grants",))
    if SERVICE_ONLY & set(scopes) and "client_credentials" not in grants:
        raise BadInput("act_as is for services: the client needs the grant client_credentials", path=("scopes",))
    return {
        "name": name, "public_keys": tuple(wanted.get("public_keys") or ()),
        "kind": kind, "grants": grants, "scopes": scopes, "redirect_uris": _uris(wanted, grants),
        "first_party": bool(wanted.get("first_party")), "home_url": _home(wanted.get("home_url")),
    }  # fmt: skip


def _uris(wanted: dict[str, Any], grants: tuple[str, ...]) -> tuple[str, ...]:
    uris = tuple(dict.fromkeys(check_redirect_uri(str(uri)) for uri in wanted.get("redirect_uris") or ()))
    if len(uris) > MAX_URIS:
        raise BadInput(f"{len(uris)} redirect URIs are given; at most {MAX_URIS}", path=("redirect_uris",))
    if "authorization_code" in grants and not uris:
        raise BadInput("authorization_code needs at least one redirect URI", path=("redirect_uris",))
    return uris


def _home(url: Any) -> str | None:
    if url is None or url == "":
        return None
    if not isinstance(url, str) or not url.startswith("https://") or len(url) > 500 or not url.isprintable():
        raise BadInput(f"home_url is {str(url)[:80]!r}; it must be https://...", path=("home_url",))
    return url
