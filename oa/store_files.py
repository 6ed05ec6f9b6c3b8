"""SQLite files of the embedded store: how they are opened, and text indexes that are written only where a text changed.

neosqlite keeps a text index by a trigger that removes and adds a document's words at each of its changes: of a message,
at each review. That was half of what such a change costs. The trigger made here says when it is needed.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from nx_27017.handler import NeoSQLiteHandler

PAGES_BEFORE_COPYING = 4_000
"""Pages of 4 KiB that may stand in the log of writes before they are copied to where they belong (SQLite: 1,000). One
that is written again meanwhile is copied once. What is durable, and when, does not depend on it."""
PLAIN = re.compile(
    r"(?P<head>CREATE TRIGGER (?P<name>\w+_fts_update)\s+AFTER UPDATE ON \w+)(?P<body>\s+BEGIN\s.*\sEND)", re.DOTALL
)
"""The trigger as neosqlite makes it."""
FIELD = re.compile(r"json_extract\(new\.data, ('[^']*')\)")


def handler_of(folder: str) -> NeoSQLiteHandler:
    """nx-27017's handler of the databases in a folder, one file each."""
    handler = NeoSQLiteHandler(data_dir=folder)
    plain = handler._open_db_conn

    def opened(name: str) -> Any:
        database = plain(name)
        database.db.execute(f"PRAGMA wal_autocheckpoint = {PAGES_BEFORE_COPYING}")
        write_changed_texts_only(database.db)
        return database

    handler._open_db_conn = opened
    return handler


def write_changed_texts_only(connection: sqlite3.Connection) -> int:
    """Give a database's text indexes the condition where they lack it; how many did."""
    made = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    lacking = [found for (sql,) in made if (found := PLAIN.fullmatch(sql)) and len(FIELD.findall(sql)) == 1]
    for found in lacking:
        (field,) = FIELD.findall(found["body"])
        condition = f"WHEN json_extract(old.data, {field}) IS NOT json_extract(new.data, {field})"
        connection.execute("SAVEPOINT text_index")
        try:
            connection.execute(f"DROP TRIGGER {found['name']}")
            connection.execute(f"{found['head']} {condition}{found['body']}")
        except BaseException:
            connection.execute("ROLLBACK TO text_index")
            raise
        finally:
            connection.execute("RELEASE text_index")
    return len(lacking)
