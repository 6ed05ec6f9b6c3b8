"""Sign-ins under way: what was sent to a provider or by letter, and comes back once, to the browser that began it.

Threat: login CSRF (a victim's browser made to end an attacker's sign-in), replay, and mixing up of providers. So an
attempt is found by an unguessable text, taken out by the same write that finds it, and good only with the cookie of the
browser and the provider that it began with.
"""

from __future__ import annotations

from dataclasses import replace

from core.database import Database
from core.errors import Unauthenticated
from core.oauth_records import ATTEMPT_LIFE, Attempt
from core.records import milliseconds, now
from core.secret_values import hashed, matches, new_secret

_AGAIN = "this sign-in is not known here, too old, or was used already; begin again in this browser"


class Attempts:
    """The attempts in one database.

    Args:
        database: holds them, in `sign_in_attempts`.
    """

    def __init__(self, database: Database) -> None:
        self._attempts = database["sign_in_attempts"]

    async def begin(self, attempt: Attempt) -> str:
        """Keep an attempt (its id and time are set here); returns the text by which it comes back."""
        state = new_secret()
        kept = replace(attempt, id=hashed(state), expires_ms=milliseconds(now()) + ATTEMPT_LIFE)
        await self._attempts.insert_one(kept.to_document())
        return state

    async def finish(self, state: str, provider: str, browser: str | None) -> Attempt:
        """The attempt of `state`, which is over now; nothing changes unless provider and browser are its own.

        Raises:
            Unauthenticated: it is unknown, old, used, of another provider, or of another browser.
        """
        attempt = await self.look(state, provider, browser)
        if not (await self._attempts.delete_one({"_id": attempt.id})).deleted_count:
            raise Unauthenticated(_AGAIN)
        return attempt

    async def look(self, state: str, provider: str, browser: str | None) -> Attempt:
        """As `finish`, but the attempt stays."""
        document = await self._attempts.find_one({"_id": hashed(state)})
        attempt = None if document is None else Attempt.from_document(document)
        if attempt is None or attempt.provider != provider or milliseconds(now()) >= attempt.expires_ms:
            raise Unauthenticated(_AGAIN)
        if not browser or not matches(browser, attempt.browser_hash):
            raise Unauthenticated(_AGAIN)
        return attempt
