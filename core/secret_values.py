"""Secrets that we give out once and keep only as hashes: codes, refresh tokens, keys, cookies.

Each has 256 random bits, so one round of SHA-256 hides it: there is nothing to guess. Pure, but for randomness.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
"""What S256 makes of any verifier: 32 bytes in base64url."""


def new_secret() -> str:
    """256 random bits as 43 characters that need no escaping in a URL, header or form."""
    return secrets.token_urlsafe(32)


def hashed(secret: str) -> str:
    """What is stored of a secret: its SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret: str, stored: str | None) -> bool:
    """Whether `secret` is the one whose hash is `stored`; takes the same time whatever differs."""
    return stored is not None and hmac.compare_digest(hashed(secret), stored)


def challenge_of(verifier: str) -> str:
    """The S256 code challenge of a PKCE verifier (RFC 7636, section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode()


def proves(verifier: str, challenge: str) -> bool:
    """Whether `verifier` is well formed and the one behind an S256 `challenge`."""
    return bool(VERIFIER.fullmatch(verifier)) and hmac.compare_digest(challenge_of(verifier), challenge)
