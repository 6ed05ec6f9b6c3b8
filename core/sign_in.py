"""Sign-in as its callers see it: sessions, grants, clients, keys and attempts over one database, and their sweeping."""

from __future__ import annotations

from core.accounts import Accounts
from core.api_keys import ApiKeys
from core.attempts import Attempts
from core.background import repeat
from core.clients import Clients
from core.database import Database, aware
from core.grants import Codes, Devices
from core.oauth_records import DAY, EXPIRING
from core.records import milliseconds, now
from core.sessions import Sessions


class SignIn:
    """All that the authorization server stores.

    Args:
        database: migrated.
    """

    def __init__(self, database: Database) -> None:
        database = aware(database)
        self.accounts = Accounts(database)
        self.sessions = Sessions(database)
        self.clients = Clients(database, self.accounts, self.sessions)
        self.codes = Codes(database, self.sessions)
        self.devices = Devices(database)
        self.api_keys = ApiKeys(database)
        self.attempts = Attempts(database)


async def sweep_sign_in(database: Database) -> int:
    """Delete what has been over for a day; returns how many documents."""
    over, deleted = {"expires_ms": {"$lt": milliseconds(now()) - DAY}}, 0
    for name in EXPIRING:
        deleted += (await database[name].delete_many(over)).deleted_count
    return deleted


async def run_sign_in_sweeper(database: Database, seconds: float = 300.0) -> None:
    """Sweep every `seconds` until cancelled; a store that does not answer is tried again next time."""
    await repeat(lambda: sweep_sign_in(database), seconds, "the sweep of sign-ins")
