"""SQLite files of the embedded store, one a database, and how they are opened."""

from __future__ import annotations

from typing import Any

from nx_27017.handler import NeoSQLiteHandler

PAGES_BEFORE_COPYING = 4_000
"""Pages of 4 KiB that may stand in the log of writes before they are copied to where they belong (SQLite: 1,000). One
that is written again meanwhile is copied once. The end of the process loses nothing that was acknowledged; that of the
machine may lose what stands in the log (neosqlite opens files with `synchronous=NORMAL`)."""


def handler_of(folder: str) -> NeoSQLiteHandler:
    """nx-27017's handler of the databases in a folder."""
    handler = NeoSQLiteHandler(data_dir=folder)
    plain = handler._open_db_conn

    def opened(name: str) -> Any:
        database = plain(name)
        database.db.execute(f"PRAGMA wal_autocheckpoint = {PAGES_BEFORE_COPYING}")
        return database

    handler._open_db_conn = opened
    return handler
