"""Sessions: begun at sign-in, renewed by refresh tokens, listed, ended. One document a session, every change one write.

A refresh token is `oar_<session>.<family>.<turn>`. The family's part is the same for the whole session, the turn's part
changes with each refresh. So a token with the right family and a wrong turn is one that was used before: it was stolen,
or its thief was faster, and the session ends. Nobody who lacks the family's part can end a session that way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pymongo.errors import DuplicateKeyError

from core.database import Database
from core.errors import Unauthenticated
from core.ids import new_id
from core.oauth_records import BROWSER_LIFE, MINUTE, SESSION_IDLE, SESSION_LIFE, Session
from core.records import milliseconds, now
from core.secret_values import hashed, matches, new_secret

REFRESH_PREFIX = "oar_"
DEVICE_NAME = 120
"""Characters kept of what a browser or app calls itself."""
MOST = 200
"""Sessions of one person that are listed."""


class Sessions:
    """The sessions in one database.

    Args:
        database: holds them, in `sessions`; what is promised one is in `oauth_codes` and `oauth_devices`.
    """

    def __init__(self, database: Database) -> None:
        self._sessions = database["sessions"]
        self._promises = (database["oauth_codes"], database["oauth_devices"])

    async def open_browser(self, user_id: str, device: str = "") -> tuple[Session, str]:
        """A browser's session on our pages, and the value of its cookie."""
        secret, session_id = new_secret(), new_id()
        session = _fresh(session_id, user_id, "browser", device, BROWSER_LIFE, secret_hash=hashed(secret))
        await self._sessions.insert_one(session.to_document())
        return session, f"{session_id}.{secret}"

    async def open_plain(self, user_id: str, kind: str, seconds: int) -> Session:
        """A session with one access token and no way to renew it: development sign-in, or the command line."""
        session = _fresh(new_id(), user_id, kind, "", seconds * 1000)
        await self._sessions.insert_one(session.to_document())
        return session

    async def open_app(
        self, session_id: str, user_id: str, client_id: str, scopes: Sequence[str] | None, device: str = "", *,
        renewable: bool = True,
    ) -> tuple[Session, str | None]:  # fmt: skip
        """An app's session under an id that was promised, and its first refresh token.

        There is a refresh token only where the client is `renewable` and scopes are not narrowed or `offline_access`
        is among them.

        Raises:
            Unauthenticated: the session was ended before it began, or begun before.
        """
        family, turn = new_secret(), new_secret()
        lasting = renewable and (scopes is None or "offline_access" in scopes)
        session = _fresh(
            session_id, user_id, "app", device, SESSION_IDLE if lasting else 60 * MINUTE, client_id=client_id,
            scopes=None if scopes is None else tuple(scopes), secret_hash=hashed(family) if lasting else None,
            refresh_hash=hashed(turn) if lasting else None,
        )  # fmt: skip
        try:
            await self._sessions.insert_one(session.to_document())
        except DuplicateKeyError as error:
            raise Unauthenticated("this grant was used before; sign in again") from error
        return session, _refresh_token(session_id, family, turn) if lasting else None

    async def of_browser(self, cookie: str | None) -> Session | None:
        """The good session of a cookie, or None."""
        session_id, _, secret = (cookie or "").partition(".")
        session = await self.get(session_id) if secret else None
        if session is None or session.kind != "browser" or not matches(secret, session.secret_hash):
            return None
        return session if session.good(milliseconds(now())) else None

    async def get(self, session_id: str) -> Session | None:
        """The session of that id, good or not; None if there is none."""
        document = await self._sessions.find_one({"_id": session_id})
        return None if document is None else Session.from_document(document)

    async def get_many(self, session_ids: Sequence[str]) -> dict[str, Session]:
        """The sessions of those ids that there are, good or not, by id."""
        found = self._sessions.find({"_id": {"$in": list(session_ids)}})
        return {document["_id"]: Session.from_document(document) async for document in found}

    async def refresh(self, token: str, client_id: str) -> tuple[Session, str]:
        """Take a refresh token in exchange for the next one.

        Raises:
            Unauthenticated: it is not good. Where it had been used before, its whole session ends.
        """
        session_id, family, turn = read_refresh_token(token)
        session, present = await self.get(session_id), milliseconds(now())
        if session is None or session.client_id != client_id or not matches(family, session.secret_hash):
            raise Unauthenticated("the refresh token is unknown, or another client's")
        if not session.good(present):
            raise Unauthenticated("the session is over; sign in again")
        fresh = new_secret()
        ends = min(present + SESSION_IDLE, session.created_ms + SESSION_LIFE)
        changes: dict[str, Any] = {"refresh_hash": hashed(fresh), "used_ms": present, "expires_ms": ends}
        guard = {"_id": session_id, "refresh_hash": hashed(turn), "revoked_ms": 0}
        if not (await self._sessions.update_one(guard, {"$set": changes})).matched_count:
            await self.revoke(session_id)
            raise Unauthenticated("the refresh token was used before; its session is ended, sign in again")
        return replace(session, **changes), _refresh_token(session_id, family, fresh)

    async def of_refresh_token(self, token: str) -> Session | None:
        """The session of a refresh token that is good now; None for any other text. Changes nothing."""
        try:
            session_id, family, turn = read_refresh_token(token)
        except Unauthenticated:
            return None
        session = await self.get(session_id)
        known = session is not None and matches(family, session.secret_hash) and matches(turn, session.refresh_hash)
        return session if known else None

    async def of_user(self, user_id: str) -> list[Session]:
        """The person's good sessions, newest first."""
        present = milliseconds(now())
        found = self._sessions.find({"user_id": user_id}).limit(5 * MOST)
        sessions = [Session.from_document(document) async for document in found]
        good = [session for session in sessions if session.good(present)]
        return sorted(good, key=lambda session: session.id, reverse=True)[:MOST]

    async def revoke(self, session_id: str, user_id: str | None = None) -> bool:
        """End a session, or one that is promised and not begun yet; of this user only, where one is named.

        Its access tokens are refused from now on. Returns whether there was one to end.
        """
        change = {"$set": {"revoked_ms": milliseconds(now())}}
        if user_id is not None:
            mine = {"_id": session_id, "user_id": user_id, "revoked_ms": 0}
            return (await self._sessions.update_one(mine, change)).matched_count > 0
        stone = {"user_id": "", "kind": "app", "expires_ms": milliseconds(now()) + SESSION_IDLE}
        await self._sessions.update_one({"_id": session_id}, change | {"$setOnInsert": stone}, upsert=True)
        return True

    async def revoke_all(self, user_id: str | None = None, client_id: str | None = None, but: str | None = None) -> int:
        """End all sessions of a person, of a client, or of the one with the other, but one; returns how many.

        Codes and devices that were let in and have not begun their session will not begin it any more.
        """
        whose = {"user_id": user_id, "client_id": client_id}
        query = {name: value for name, value in whose.items() if value is not None}
        if not query:
            return 0
        change = {"$set": {"revoked_ms": milliseconds(now())}}
        spared = {} if but is None else {"_id": {"$ne": but}}
        ended = (await self._sessions.update_many(query | spared | {"revoked_ms": 0}, change)).matched_count
        for session_id in await self._promised(query):
            if session_id != but:
                await self.revoke(session_id)
        return ended

    async def _promised(self, whose: dict[str, str]) -> list[str]:
        """Sessions of grants that are good, or were until just now: used or not, as a session may begin meanwhile."""
        wanted: dict[str, Any] = {"expires_ms": {"$gte": milliseconds(now()) - MINUTE}} | whose
        return [str(each["session_id"]) for grants in self._promises async for each in grants.find(wanted)]


def _fresh(session_id: str, user_id: str, kind: str, device: str, life: int, **more: object) -> Session:
    present = milliseconds(now())
    printable = "".join(letter for letter in device if letter.isprintable())[:DEVICE_NAME]
    times = {"created_ms": present, "used_ms": present, "expires_ms": present + life}
    return Session(id=session_id, user_id=user_id, kind=kind, device=printable, **times, **more)  # type: ignore[arg-type]


def _refresh_token(session_id: str, family: str, turn: str) -> str:
    return f"{REFRESH_PREFIX}{session_id}.{family}.{turn}"


def read_refresh_token(token: str) -> tuple[str, str, str]:
    """Session, family and turn in a refresh token; raises `Unauthenticated` for any other text."""
    parts = token.removeprefix(REFRESH_PREFIX).split(".")
    if not token.startswith(REFRESH_PREFIX) or len(parts) != 3 or not all(parts) or len(token) > 200:
        raise Unauthenticated("that is no refresh token of this server")
    return parts[0], parts[1], parts[2]
