"""The records of sign-in: clients, sessions, codes, device grants, consents, API keys, attempts.

Times are whole milliseconds since 1970, which sort and compare alike on every store. Secrets are kept as hashes only.
`expires_ms` is what the sweeper deletes by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.records import Record

MINUTE = 60_000
DAY = 24 * 60 * MINUTE
CODE_LIFE = MINUTE
"""An authorization code must be redeemed within this."""
DEVICE_LIFE = 15 * MINUTE
DEVICE_INTERVAL = 5_000
"""Milliseconds between two polls of one device."""
ATTEMPT_LIFE = 15 * MINUTE
"""Time to come back from somebody else's sign-in page, or to open the link in a letter."""
BROWSER_LIFE = DAY
"""A browser stays signed in on the authorization pages as long."""
SESSION_IDLE = 30 * DAY
"""An app's session ends when it was not renewed for as long."""
SESSION_LIFE = 365 * DAY
"""An app's session ends after this, however often it is renewed."""
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_TYPES = ("authorization_code", "refresh_token", DEVICE_GRANT, "client_credentials")
CLIENT_KINDS = ("public", "confidential")
SESSION_KINDS = ("browser", "app", "development", "command")
KEY_PREFIX = "oa_"
"""What every API key begins with, so that scanners of leaked secrets can tell one."""


@dataclass(frozen=True, kw_only=True)
class Client(Record):
    """An app or service that may ask for tokens; its id is the OAuth `client_id`.

    Attributes:
        kind: `public` (single-page and native apps, which can keep no secret) or `confidential`.
        redirect_uris: where its people are sent back to.
        scopes: those that it may ask for.
        grants: of `GRANT_TYPES`.
        secret_hash: of a confidential client.
        public_keys: public keys (JWK) of a confidential client that has them instead of a secret.
        first_party: it is ours: on a site of ours, people are not asked for consent.
        service_id: the user that it is when it acts for itself (client credentials, API keys); None for others.
        home_url: shown on the consent page.
    """

    name: str
    kind: str = "public"
    redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    grants: tuple[str, ...] = ("authorization_code", "refresh_token")
    secret_hash: str | None = None
    public_keys: tuple[dict[str, Any], ...] = ()
    first_party: bool = False
    service_id: str | None = None
    home_url: str | None = None
    created_ms: int = 0
    rev: int = 0

    def _keys(self) -> dict[str, str]:
        return {"by_time": f"{self.created_ms:015d}|{self.id}"}


@dataclass(frozen=True, kw_only=True)
class Session(Record):
    """One sign-in of one person: in a browser on our pages, or through an app. Its access tokens carry its id.

    Attributes:
        kind: of `SESSION_KINDS`.
        client_id, scopes: of an app's session; scopes None: not narrowed.
        secret_hash: of the browser's cookie, or of the part that all refresh tokens of the session share.
        refresh_hash: of the part that changes with each refresh; the one that is good now.
        device: what the browser or app called itself.
        revoked_ms: when it was ended; 0 while it is good.
    """

    user_id: str
    kind: str
    client_id: str | None = None
    scopes: tuple[str, ...] | None = None
    secret_hash: str | None = None
    refresh_hash: str | None = None
    device: str = ""
    created_ms: int = 0
    used_ms: int = 0
    expires_ms: int = 0
    revoked_ms: int = 0

    def good(self, now_ms: int) -> bool:
        """Whether it is neither ended nor over."""
        return not self.revoked_ms and now_ms < self.expires_ms


@dataclass(frozen=True, kw_only=True)
class Code(Record):
    """An authorization code; the id is its hash.

    Attributes:
        session_id: the session that it makes when it is redeemed; known before, so that a replay can end it.
        challenge: PKCE, S256.
        scopes: None: not narrowed.
    """

    client_id: str
    user_id: str
    session_id: str
    redirect_uri: str
    challenge: str
    scopes: tuple[str, ...] | None = ()
    expires_ms: int = 0
    used_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class DeviceGrant(Record):
    """A device that waits for its person; the id is the hash of its device code.

    Attributes:
        user_code_hash: of the short code that the person types.
        state: `pending`, `approved`, `denied`, `used`.
        polled_ms: when the device asked last.
    """

    client_id: str
    user_code_hash: str
    session_id: str
    scopes: tuple[str, ...] | None = ()
    state: str = "pending"
    user_id: str | None = None
    expires_ms: int = 0
    polled_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class ApiKey(Record):
    """A service's key; `oa_<id>_<secret>`, of which only the hash of the secret is kept."""

    user_id: str
    name: str
    secret_hash: str
    scopes: tuple[str, ...] = ()
    created_by: str | None = None
    created_ms: int = 0
    used_ms: int = 0
    expires_ms: int = 0
    revoked_ms: int = 0

    def good(self, now_ms: int) -> bool:
        """Whether it is neither revoked nor over."""
        return not self.revoked_ms and now_ms < self.expires_ms

    @property
    def text_begins(self) -> str:
        """How the key's text begins: enough to tell it from others, nothing to use it by."""
        return f"{KEY_PREFIX}{self.id.replace('-', '')}"


@dataclass(frozen=True, kw_only=True)
class Attempt(Record):
    """A sign-in that has begun and not come back; the id is the hash of its `state` (or of a letter's token).

    Attributes:
        provider: where the person was sent.
        browser_hash: of the cookie of the browser that began it; no other may end it.
        nonce, verifier: of OpenID Connect and PKCE towards the provider.
        next: page of ours to come back to.
        link_user_id: the person to whom the identity is to be linked; None for a plain sign-in.
        subject: of a letter, the address that it was sent to.
    """

    provider: str
    browser_hash: str
    nonce: str = ""
    verifier: str = ""
    next: str = "/account"
    link_user_id: str | None = None
    subject: str | None = None
    expires_ms: int = 0


SIGN_IN_INDEXES: dict[str, tuple[str, ...]] = {
    "oauth_clients": ("by_time",),
    "sessions": ("user_id", "client_id", "expires_ms"),
    "oauth_codes": ("expires_ms",),
    "oauth_devices": ("expires_ms", "user_code_hash"),
    "oauth_consents": ("user_id",),
    "api_keys": ("user_id",),
    "sign_in_attempts": ("expires_ms",),
    "client_assertions": ("expires_ms",),
    "identities": ("user_id",),
}
EXPIRING = ("sessions", "oauth_codes", "oauth_devices", "sign_in_attempts", "client_assertions")
"""Collections whose documents the sweeper deletes, a day after `expires_ms`: until then a replay is known as one."""
