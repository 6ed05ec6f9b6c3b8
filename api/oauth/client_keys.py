"""Clients that prove who they are with a key of their own instead of a secret: `private_key_jwt` (RFC 7523, section 3;
OpenID Connect Core, section 9).

Threat: an assertion that somebody else made, made for another server, or sent before. So a client registers its
public keys, on P-256 alone, and its assertions are signed by one of them with ES256 and nothing else; they say for
which server they are, live an hour at most and are taken once. Keys that an assertion brings are not looked at.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeGuard

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from core.errors import BadInput
from core.oauth_records import MINUTE, Client
from core.records import milliseconds, now

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHM = "ES256"
MOST_KEYS = 4
LONGEST = 4_096
"""Characters of an assertion."""
LIFE = 60 * MINUTE
LEEWAY = 10_000
"""Milliseconds by which another machine's clock may differ."""
_REGISTRY = JWSRegistry(algorithms=[ALGORITHM])


class BadAssertion(Exception):
    """An assertion that proves nothing; the message says why and quotes nothing of it."""


def checked_keys(given: object) -> tuple[dict[str, Any], ...]:
    """The public keys of a JWK set, as they are stored.

    Raises:
        BadInput: it is no set of one to four public keys on P-256, each with a `kid` of its own.
    """
    right = f"jwks must be {{'keys': [...]}} with 1 to {MOST_KEYS} public keys on P-256, each with a kid of its own"
    keys = given.get("keys") if isinstance(given, dict) else None
    if not isinstance(keys, list) or not 1 <= len(keys) <= MOST_KEYS or not all(isinstance(key, dict) for key in keys):
        raise BadInput(right, path=("jwks",))
    stored = []
    for key in keys:
        kid = key.get("kid")
        if "d" in key:
            raise BadInput("jwks holds a private key, which is now known to others; make a new one", path=("jwks",))
        if key.get("kty") != "EC" or key.get("crv") != "P-256" or not isinstance(kid, str) or not 1 <= len(kid) <= 100:
            raise BadInput(right, path=("jwks",))
        try:
            public = ECKey.import_key({name: key[name] for name in ("kty", "crv", "x", "y")}).as_dict(private=False)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise BadInput(right, path=("jwks",)) from error
        stored.append({name: public[name] for name in ("kty", "crv", "x", "y")} | {"kid": kid})
    if len({key["kid"] for key in stored}) < len(stored):
        raise BadInput(right, path=("jwks",))
    return tuple(stored)


def verified(assertion: str, client: Client, audiences: Collection[str]) -> tuple[str, int]:
    """The id of a good assertion of that client, and when it ends, in milliseconds since 1970.

    Args:
        assertion: a signed JWT.
        client: has keys.
        audiences: what this server is called.

    Raises:
        BadAssertion: says what is wrong with it.
    """
    if len(assertion) > LONGEST:
        raise BadAssertion(f"it has more than {LONGEST} characters")
    keys = {key["kid"]: key for key in client.public_keys}

    def key_of(token: Any) -> ECKey:
        kid = token.headers().get("kid")
        if not isinstance(kid, str) or kid not in keys:
            raise BadAssertion("its kid is none of the client's keys")
        return ECKey.import_key(keys[kid])

    try:
        claims = jwt.decode(assertion, key_of, registry=_REGISTRY).claims
    except (JoseError, ValueError) as error:
        raise BadAssertion(f"it is not signed with {ALGORITHM} by a key of the client") from error
    return _checked(claims, client.id, audiences)


def _checked(claims: dict[str, Any], client_id: str, audiences: Collection[str]) -> tuple[str, int]:
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        raise BadAssertion("iss and sub must both be the client's id")
    audience = claims.get("aud")
    if audience not in audiences if isinstance(audience, str) else audience not in [[each] for each in audiences]:
        raise BadAssertion("aud must be this server alone: its issuer, or its token endpoint")
    ends, begins, name = claims.get("exp"), claims.get("nbf", 0), claims.get("jti")
    if not _is_time(ends) or not _is_time(begins):
        raise BadAssertion("exp must be there and a time, as nbf where it is")
    if not isinstance(name, str) or not 1 <= len(name) <= 200:
        raise BadAssertion("jti must be a text of 1 to 200 characters")
    present, ends_ms = milliseconds(now()), int(ends * 1000)
    if not present - LEEWAY < ends_ms <= present + LIFE + LEEWAY:
        raise BadAssertion(f"exp must be in the next {LIFE // MINUTE} minutes")
    if begins * 1000 > present + LEEWAY:
        raise BadAssertion("nbf has not come")
    return name, ends_ms


def _is_time(value: Any) -> TypeGuard[float]:
    """Whether it is a number of seconds since 1970 that can be reckoned with: Python's JSON knows NaN and more."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**40
