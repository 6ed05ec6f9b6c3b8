"""Who asks: from an access token or an API key to the viewer of a `Context`.

Reads the stored user and the session at each request, so that a role that was taken away, an account that was closed
or a session that was ended counts at once and not when the token runs out.
"""

from __future__ import annotations

import asyncio

from core.errors import Forbidden, Unauthenticated
from core.oauth_records import KEY_PREFIX, Client, Session
from core.records import User, milliseconds, now
from graphql_schema.charging import take_for_nothing
from graphql_schema.context import Context
from graphql_schema.relay import raw_id

from .settings import Settings
from .tokens import Claims, Tokens

ACT_AS = "x-act-as"
"""Header by which a service says in whose name it acts; over WebSocket it is `actAs` of `connection_init`."""
LENT_ROLES = frozenset({"contributor", "trusted"})
"""Roles of a person that a service gets with the name; nobody moderates or administers through a service."""


class Callers:
    """Turns credentials into a context's viewer.

    Args:
        settings: for who may ask for the schema.
        tokens: checks access tokens.
    """

    def __init__(self, settings: Settings, tokens: Tokens) -> None:
        self._introspection = settings.introspection
        self._tokens = tokens

    async def identify(self, context: Context, authorization: str | None, act_as: str | None = None) -> None:
        """Set viewer, roles, scopes and expiry of `context` from an `Authorization` value; none means anonymous.

        Args:
            context: to be completed.
            authorization: `Bearer` and an access token or API key.
            act_as: global id of the person in whose name a service acts.

        Raises:
            Unauthenticated: the value is no bearer token, the token is not good, or its user is gone.
            Forbidden: the caller may not act for that person.
            TooMany: too many were not good from that address.
        """
        if authorization:
            try:
                token = _bearer(authorization)
                await (self._by_key(context, token) if token.startswith(KEY_PREFIX) else self._by_token(context, token))
            except Unauthenticated:
                await take_for_nothing(context, context.address)
                raise
        if act_as:
            await _act_as(context, act_as)
        asked_by = self._introspection
        context.introspection = asked_by == "anyone" or (asked_by == "signed-in" and context.viewer is not None)

    async def _by_token(self, context: Context, token: str) -> None:
        claims = self._tokens.verify(token)
        user, _ = await asyncio.gather(_user(context, claims.subject), _session(context, claims))
        context.viewer = user
        context.roles = frozenset(user.roles) & claims.roles
        context.scopes = claims.scopes
        context.expires_at = claims.expires_at
        context.session_id, context.client_id = claims.session_id, claims.client_id

    async def _by_key(self, context: Context, text: str) -> None:
        key = await context.services.auth.api_keys.verify(text)
        context.viewer = await _user(context, key.user_id)
        client = await _client(context, context.viewer)
        context.roles = frozenset(context.viewer.roles)
        context.scopes = frozenset(key.scopes) & frozenset(client.scopes)
        context.client_id = client.id
        context.key_id = key.id
        context.expires_at = key.expires_ms / 1000


async def _user(context: Context, user_id: str) -> User:
    user = (await context.services.accounts.get_many([user_id])).get(user_id)
    if user is None or user.deleted or not user.enabled:
        why = f": {user.disabled_reason}" if user is not None and user.disabled_reason else ""
        raise Unauthenticated(f"the access token's user is unknown or disabled{why}")
    return user


async def _client(context: Context, service: User) -> Client:
    """The client that a service account belongs to: what was taken from it is gone from its keys."""
    named = [key.partition(":")[2] for key in service.identities if key.startswith("service:")]
    client = await context.services.auth.clients.find(named[0] if named else None)
    if client is None:
        raise Unauthenticated("the service of the API key is not registered any more")
    return client


async def _session(context: Context, claims: Claims) -> Session | None:
    """The good session of a token that has one."""
    if claims.session_id is None:
        return None
    session = await context.services.auth.sessions.get(claims.session_id)
    if session is None or session.user_id != claims.subject or not session.good(milliseconds(now())):
        raise Unauthenticated("the session of the access token was ended; sign in again")
    return session


async def _act_as(context: Context, act_as: str) -> None:
    """Make the named person the viewer, and the service the actor."""
    service = context.user()
    if "service" not in context.roles or context.scopes is None or "act_as" not in context.scopes:
        raise Forbidden("only a service whose token has the scope act_as may act for somebody")
    person = await _user(context, raw_id(act_as, "User", path=("actAs",)))
    context.actor, context.viewer = service, person
    context.roles = frozenset(person.roles) & LENT_ROLES


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("authorization must be of the form 'Bearer <access token>'")
    return token.strip()
