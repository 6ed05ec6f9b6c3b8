"""Access tokens: JWTs (RFC 9068) signed with ES256, at most 15 minutes old.

Threat: a token that someone else made, or made for something else. So the algorithm is pinned (`none` and HMAC with our
public key as its secret are refused before any signature is looked at), and type, issuer, audience, subject and times
are required and checked. Knows keys and claims; does not know users: what a subject may do now, the store says.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from core.errors import BadInput, Unauthenticated
from core.ids import new_id
from graphql_schema.context import AccessToken

from .settings import MAX_TOKEN_SECONDS

ALGORITHM = "ES256"
AUDIENCE = "open-assistant-api"
TYPE = "at+jwt"
LEEWAY = 10.0
"""Seconds by which another machine's clock may differ."""


@dataclass(frozen=True)
class Claims:
    """A token that is good: whose it is, the roles and scopes it carries, the Unix time in seconds at which it ends."""

    subject: str
    roles: frozenset[str]
    scopes: frozenset[str]
    expires_at: float


class Tokens:
    """Makes and checks access tokens.

    Args:
        key: an ES256 key with its private part.
        issuer: `iss`.
        seconds: life of a token.
    """

    def __init__(self, key: ECKey, issuer: str, seconds: int) -> None:
        self._key = key
        self._issuer = issuer
        self._seconds = seconds
        self._registry = JWSRegistry(algorithms=[ALGORITHM])
        required = jwt.ClaimsOption(essential=True)
        self._claims = jwt.JWTClaimsRegistry(
            leeway=int(LEEWAY),
            iss=jwt.ClaimsOption(essential=True, value=issuer),
            aud=jwt.ClaimsOption(essential=True, value=AUDIENCE),
            exp=required, iat=required, sub=required,
        )  # fmt: skip

    def mint(self, subject: str, roles: Iterable[str], scopes: Iterable[str] = ()) -> AccessToken:
        """A token for the user with id `subject`, carrying these roles (of those that the user has) and scopes."""
        issued = int(time.time())
        expires = issued + self._seconds
        claims = {
            "iss": self._issuer, "aud": AUDIENCE, "sub": subject, "iat": issued, "exp": expires, "jti": new_id(),
            "roles": sorted(roles), "scope": " ".join(sorted(scopes)),
        }  # fmt: skip
        header = {"alg": ALGORITHM, "typ": TYPE, "kid": self._key.thumbprint()}
        return AccessToken(jwt.encode(header, claims, self._key, registry=self._registry), float(expires))

    def verify(self, token: str) -> Claims:
        """What a good token says.

        Raises:
            Unauthenticated: it is malformed, forged, for another audience, or has run out; the message says which kind
                of wrong, and never quotes the token.
        """
        try:
            decoded = jwt.decode(token, self._key, registry=self._registry)
            if decoded.header.get("typ") != TYPE:
                raise Unauthenticated(f"the token is no access token: its typ must be {TYPE!r}")
            self._claims.validate(decoded.claims)
        except (JoseError, ValueError) as error:
            raise Unauthenticated(f"the access token is not good: {_reason(error)}") from error
        return _claims(decoded.claims)


def _claims(claims: dict[str, Any]) -> Claims:
    subject, roles, scope = claims["sub"], claims.get("roles"), claims.get("scope", "")
    texts: list[Any] = [subject, scope, *roles] if isinstance(roles, list) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise Unauthenticated("the access token is not good: sub and scope must be texts, roles a list of texts")
    if claims["exp"] - claims["iat"] > MAX_TOKEN_SECONDS:
        raise Unauthenticated(f"the access token is not good: it may live {MAX_TOKEN_SECONDS} s at most")
    return Claims(subject, frozenset(texts[2:]), frozenset(scope.split()), float(claims["exp"]))


def _reason(error: Exception) -> str:
    return str(getattr(error, "error", "") or type(error).__name__).replace("_", " ")


def load_key(path: Path, *, make: bool = False) -> ECKey:
    """The signing key in a PEM file.

    Args:
        path: the file.
        make: make the file, readable by its owner only, where there is none.

    Raises:
        BadInput: there is no such file, others can read it, or it holds no P-256 private key.
    """
    if make and not path.exists():
        _write_new_key(path)
    try:
        mode = path.stat().st_mode & 0o077
        key = ECKey.import_key(path.read_bytes())
    except (OSError, ValueError, JoseError) as error:
        raise BadInput(f"token key {str(path)!r} cannot be read: it must be a PEM private key on P-256") from error
    if mode:
        raise BadInput(f"token key {str(path)!r} can be read by others: chmod 600 it")
    if not key.is_private or key.curve_name != "P-256":
        raise BadInput(f"token key {str(path)!r} is of another kind: it must be a PEM private key on P-256")
    return key


def _write_new_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_bytes(ECKey.generate_key("P-256", private=True).as_pem(private=True))
    try:
        os.link(partial, path)  # fails where another process was first: its key then stands
    except FileExistsError:
        pass
    finally:
        partial.unlink()
