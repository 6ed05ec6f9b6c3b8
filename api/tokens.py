"""Access tokens: JWTs (RFC 9068) signed with ES256, at most 15 minutes old.

Threat: a token that someone else made, or made for something else. So the algorithm is pinned (`none` and HMAC with our
public key as its secret are refused before any signature is looked at), and type, issuer, audience, subject and times
are required and checked. Knows keys and claims; does not know users: what a subject may do now, the store says.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from core.errors import Unauthenticated
from core.ids import new_id
from graphql_schema.context import AccessToken

from .keys import SigningKeys
from .settings import MAX_TOKEN_SECONDS

ALGORITHM = "ES256"
AUDIENCE = "open-assistant-api"
TYPE = "at+jwt"
KNOWN = 2_000
"""Good tokens that are remembered: to check a signature takes 0.1 ms."""
LEEWAY = 10.0
"""Seconds by which another machine's clock may differ."""


@dataclass(frozen=True)
class Claims:
    """A token that is good.

    Attributes:
        subject: id of the user whose it is.
        roles: those that it carries.
        scopes: those that it is limited to; None: it is not limited.
        expires_at: Unix time, in seconds, at which it ends.
        session_id: the session that it belongs to; None for a service's own.
        client_id: the client that it was given to; None for our own sign-in.
        token_id: its `jti`.
    """

    subject: str
    roles: frozenset[str]
    scopes: frozenset[str] | None
    expires_at: float
    session_id: str | None = None
    client_id: str | None = None
    token_id: str = ""


class Tokens:
    """Makes and checks access tokens.

    Args:
        keys: the key that signs, and those that verify.
        issuer: `iss`.
        seconds: life of a token.
    """

    def __init__(self, keys: SigningKeys, issuer: str, seconds: int) -> None:
        self.keys = keys
        self.issuer = issuer
        self._seconds = seconds
        self._registry = JWSRegistry(algorithms=[ALGORITHM])
        required = jwt.ClaimsOption(essential=True)
        self._claims = jwt.JWTClaimsRegistry(
            leeway=int(LEEWAY),
            iss=jwt.ClaimsOption(essential=True, value=issuer),
            aud=jwt.ClaimsOption(essential=True, value=AUDIENCE),
            exp=required, iat=required, sub=required,
        )  # fmt: skip
        self._known = lru_cache(KNOWN)(self._read)

    def mint(
        self, subject: str, roles: Iterable[str], scopes: Iterable[str] | None = None, *,
        session_id: str | None = None, client_id: str | None = None,
    ) -> AccessToken:  # fmt: skip
        """A token for the user with id `subject`, carrying these roles (of those that the user has).

        Args:
            subject: user id.
            roles: of those that the user has.
            scopes: what it is limited to; None: to nothing.
            session_id: the session with which it ends.
            client_id: to whom it is given.
        """
        issued = int(time.time())
        expires = issued + self._seconds
        claims = {
            "iss": self.issuer, "aud": AUDIENCE, "sub": subject, "iat": issued, "exp": expires, "jti": new_id(),
            "roles": sorted(roles), "scope": None if scopes is None else " ".join(sorted(scopes)),
            "sid": session_id, "client_id": client_id,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": ALGORITHM, "typ": TYPE, "kid": self.keys.active_id}
        return AccessToken(jwt.encode(header, claims, self.keys.active, registry=self._registry), float(expires))

    def verify(self, token: str) -> Claims:
        """What a good token says. One that was found good is looked at again only for whether it has run out.

        Raises:
            Unauthenticated: it is malformed, forged, for another audience, or has run out; the message says which kind
                of wrong, and never quotes the token.
        """
        claims = self._known(token)
        return claims if time.time() < claims.expires_at else self._read(token)

    def _read(self, token: str) -> Claims:
        try:
            decoded = jwt.decode(token, self._key_of, registry=self._registry)
            if decoded.header.get("typ") != TYPE:
                raise Unauthenticated(f"the token is no access token: its typ must be {TYPE!r}")
            self._claims.validate(decoded.claims)
        except (JoseError, ValueError) as error:
            raise Unauthenticated(f"the access token is not good: {_reason(error)}") from error
        return _claims(decoded.claims)

    def _key_of(self, token: Any) -> ECKey:
        """The key that a token names, of ours; whatever else its header brings is not looked at."""
        return self.keys.by_id(token.headers().get("kid"))


def _claims(claims: dict[str, Any]) -> Claims:
    subject, roles, scope = claims["sub"], claims.get("roles"), claims.get("scope")
    named = [claims.get(name) for name in ("sid", "client_id", "jti")]
    maybe: list[Any] = [scope, *named]
    if not isinstance(roles, list) or not all(isinstance(text, str) for text in [subject, *roles]):
        raise Unauthenticated("the access token is not good: sub must be a text, roles a list of texts")
    if not all(text is None or isinstance(text, str) for text in maybe):
        raise Unauthenticated("the access token is not good: scope, sid, client_id and jti must be texts")
    if claims["exp"] - claims["iat"] > MAX_TOKEN_SECONDS:
        raise Unauthenticated(f"the access token is not good: it may live {MAX_TOKEN_SECONDS} s at most")
    session_id, client_id, token_id = named
    scopes = None if scope is None else frozenset(scope.split())
    return Claims(subject, frozenset(roles), scopes, float(claims["exp"]), session_id, client_id, token_id or "")


def _reason(error: Exception) -> str:
    return str(getattr(error, "error", "") or type(error).__name__).replace("_", " ")
