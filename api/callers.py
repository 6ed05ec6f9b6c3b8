"""Who asks: from a bearer token to the viewer of a `Context`. Reads the stored user at each request, so that a role
that was taken away, or an account that was closed, counts at once and not when the token runs out."""

from __future__ import annotations

from core.errors import Unauthenticated
from graphql_schema.context import Context

from .settings import Settings
from .tokens import Tokens


class Callers:
    """Turns credentials into a context's viewer.

    Args:
        settings: for who may ask for the schema.
        tokens: checks access tokens.
    """

    def __init__(self, settings: Settings, tokens: Tokens) -> None:
        self._introspection = settings.introspection
        self._tokens = tokens

    async def identify(self, context: Context, authorization: str | None) -> None:
        """Set viewer, roles, scopes and expiry of `context` from an `Authorization` value; none means anonymous.

        Raises:
            Unauthenticated: the value is no bearer token, the token is not good, or its user is gone.
        """
        if authorization:
            await self._sign_in(context, _bearer(authorization))
        context.introspection = {
            "anyone": True, "signed-in": context.viewer is not None, "nobody": False,
        }[self._introspection]  # fmt: skip

    async def _sign_in(self, context: Context, token: str) -> None:
        claims = self._tokens.verify(token)
        user = (await context.services.accounts.get_many([claims.subject])).get(claims.subject)
        if user is None or user.deleted or not user.enabled:
            raise Unauthenticated("the access token's user is unknown or disabled")
        context.viewer = user
        context.roles = frozenset(user.roles) & claims.roles
        context.scopes = claims.scopes
        context.expires_at = claims.expires_at


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("authorization must be of the form 'Bearer <access token>'")
    return token.strip()
