"""Grants on their way to a session: authorization codes and device codes. Each is used once, by one guarded write."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

from core.database import Database
from core.errors import BadInput, NotFound, TooMany, Unauthenticated
from core.ids import new_id
from core.oauth_records import CODE_LIFE, DEVICE_INTERVAL, DEVICE_LIFE, Code, DeviceGrant
from core.records import milliseconds, now
from core.secret_values import CHALLENGE, hashed, new_secret, proves
from core.sessions import Sessions

USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""Consonants: easy to read out, and no words come of them (RFC 8628, section 6.1)."""
USER_CODE_LENGTH = 8


class Codes:
    """Authorization codes.

    Args:
        database: holds them, in `oauth_codes`.
        sessions: where a replay ends what the code gave.
    """

    def __init__(self, database: Database, sessions: Sessions) -> None:
        self._codes = database["oauth_codes"]
        self._sessions = sessions

    async def issue(
        self, client_id: str, user_id: str, redirect_uri: str, challenge: str, scopes: Sequence[str] | None
    ) -> str:
        """A code for this client, good for a minute and one redemption."""
        if not CHALLENGE.fullmatch(challenge):
            raise BadInput("code_challenge must be 43 characters of base64url: the SHA-256 of the verifier")
        code = new_secret()
        stored = Code(
            id=hashed(code), client_id=client_id, user_id=user_id, session_id=new_id(), redirect_uri=redirect_uri,
            challenge=challenge, scopes=None if scopes is None else tuple(scopes),
            expires_ms=milliseconds(now()) + CODE_LIFE,
        )  # fmt: skip
        await self._codes.insert_one(stored.to_document())
        return code

    async def redeem(self, code: str, client_id: str, redirect_uri: str | None, verifier: str) -> Code:
        """The grant behind a code, which is used up now.

        Raises:
            Unauthenticated: it is unknown, old, used, another client's, or verifier or redirect URI do not fit. Where
                it had been used before, the session that it made is ended.
        """
        document = await self._codes.find_one({"_id": hashed(code)})
        grant = None if document is None else Code.from_document(document)
        if grant is None or grant.client_id != client_id:
            raise Unauthenticated("the code is unknown, or another client's")
        if grant.used_ms:
            raise await self._replayed(grant)
        if not proves(verifier, grant.challenge):
            raise Unauthenticated("code_verifier is missing or does not fit the code_challenge")
        if redirect_uri is not None and redirect_uri != grant.redirect_uri:
            raise Unauthenticated("redirect_uri is not that of the authorization request")
        present = milliseconds(now())
        if present >= grant.expires_ms:
            raise Unauthenticated("the code is too old; begin again")
        unused = {"_id": grant.id, "used_ms": 0}
        if not (await self._codes.update_one(unused, {"$set": {"used_ms": present}})).matched_count:
            raise await self._replayed(grant)
        return replace(grant, used_ms=present)

    async def _replayed(self, grant: Code) -> Unauthenticated:
        await self._sessions.revoke(grant.session_id)
        return Unauthenticated("the code was used before; what it gave is ended, sign in again")


class Devices:
    """Devices that wait for their person (RFC 8628)."""

    def __init__(self, database: Database) -> None:
        self._devices = database["oauth_devices"]

    async def begin(self, client_id: str, scopes: Sequence[str] | None) -> tuple[str, str]:
        """A device code and the user code that goes with it, such as `BCDF-GHJK`."""
        device_code = new_secret()
        user_code = "".join(secrets.choice(USER_CODE_LETTERS) for _ in range(USER_CODE_LENGTH))
        grant = DeviceGrant(
            id=hashed(device_code), client_id=client_id, user_code_hash=hashed(user_code), session_id=new_id(),
            scopes=None if scopes is None else tuple(scopes), expires_ms=milliseconds(now()) + DEVICE_LIFE,
        )  # fmt: skip
        await self._devices.insert_one(grant.to_document())
        return device_code, f"{user_code[:4]}-{user_code[4:]}"

    async def waiting(self, user_code: str) -> DeviceGrant:
        """The pending grant of what a person typed; case, spaces and dashes do not count.

        Raises:
            NotFound: there is none, or it was decided or is too old.
        """
        document = await self._devices.find_one({"user_code_hash": hashed(plain_user_code(user_code))})
        grant = None if document is None else DeviceGrant.from_document(document)
        if grant is None or grant.state != "pending" or milliseconds(now()) >= grant.expires_ms:
            raise NotFound("that code is not known, or no longer good; look at the device again")
        return grant

    async def decide(self, grant: DeviceGrant, user_id: str, approved: bool) -> None:
        """Let the device in as this person, or not.

        Raises:
            NotFound: it was decided in the meantime.
        """
        change = {"state": "approved" if approved else "denied", "user_id": user_id}
        decided = await self._devices.update_one({"_id": grant.id, "state": "pending"}, {"$set": change})
        if not decided.matched_count:
            raise NotFound("that code was used already")

    async def poll(self, device_code: str, client_id: str) -> DeviceGrant:
        """The grant as it stands when its device asks; `approved` is given once, and is `used` afterwards.

        Raises:
            Unauthenticated: the code is unknown, another client's, used, or too old.
            TooMany: the device asks more often than each `DEVICE_INTERVAL`.
        """
        present, key = milliseconds(now()), hashed(device_code)
        document = await self._devices.find_one({"_id": key})
        grant = None if document is None else DeviceGrant.from_document(document)
        if grant is None or grant.client_id != client_id or grant.state == "used":
            raise Unauthenticated("the device code is unknown, used, or another client's")
        if present >= grant.expires_ms:
            raise Unauthenticated("the device code is too old", path=("expired",))
        in_time = {"_id": key, "polled_ms": {"$lte": present - DEVICE_INTERVAL}}
        if not (await self._devices.update_one(in_time, {"$set": {"polled_ms": present}})).matched_count:
            raise TooMany("the device asks too often", retry_after=DEVICE_INTERVAL / 1000)
        if grant.state == "approved":
            unused = {"_id": key, "state": "approved"}
            if not (await self._devices.update_one(unused, {"$set": {"state": "used"}})).matched_count:
                raise Unauthenticated("the device code is used")
        return grant


def plain_user_code(text: str) -> str:
    """What a person typed as the code's letters alone."""
    return "".join(letter for letter in text.upper() if letter in USER_CODE_LETTERS)[: USER_CODE_LENGTH + 1]
