"""Commands on documents that are named by their ids, answered from SQLite without the layers of nx-27017 and neosqlite.

Those take two thirds of such a command's time: sessions, cursors, what the schema is, SQL made anew, a document read
again after its change. Only what is surely answered alike is answered here (`tests/oa/test_store_direct.py` runs both
side by side); anything else, failures above all, is undone and left to the handler. Several writes of one command are
one transaction of SQLite: a crash leaves all of them or none. Written for the named releases of both packages alone.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sqlite3
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any, NamedTuple

from neosqlite._sqlite import sqlite3 as engine
from nx_27017.handler import NeoSQLiteHandler

from oa.store_pipelines import Pipelines
from oa.store_texts import Document, Unlike, changed, holds, inserted, plain_text, read, read_raw, replaced, written

logger = logging.getLogger("oa.store_direct")

WRITTEN_FOR = {"neosqlite": "1.17.2", "nx-27017": "0.8.0"}
BINARY_FORM = (3, 45)
"""Releases of SQLite from which neosqlite keeps documents as its binary JSON."""
TABLE = re.compile(r"(?!sqlite|neosqlite)[a-z][a-z0-9_]*")
"""Names of collections that are their tables' names too."""
ALWAYS = frozenset(("lsid", "maxTimeMS", "$db"))
WRITES = ALWAYS | {"ordered", "writeConcern"}
TAKEN = {
    "find": ALWAYS | {"find", "filter", "limit", "singleBatch"},
    "aggregate": ALWAYS | {"aggregate", "pipeline", "cursor"},
    "insert": WRITES | {"insert", "documents"},
    "update": WRITES | {"update", "updates"},
    "delete": WRITES | {"delete", "deletes"},
    "bulkWrite": WRITES | {"bulkWrite", "ops", "nsInfo", "errorsOnly"},
}
"""Command -> its arguments that are understood here."""
READS = ("find", "aggregate")
MAJORITY = {"w": "majority"}
"""The write concern that changes nothing about one SQLite."""
BULK_CHANGE = ("update", "filter", "updateMods")
MOST = 100
"""Documents of one answer that are sure to fit in its first batch."""
LONGEST = 1_000_000
"""Characters of one answer that are sure to fit into it."""


def unsuited() -> str | None:
    """Why what is installed is not what this was written for; None where it is."""
    found = {name: metadata.version(name) for name in WRITTEN_FOR}
    if found != WRITTEN_FOR:
        return f"written for {WRITTEN_FOR}, found {found}"
    version: tuple[int, ...] = engine.sqlite_version_info
    return f"SQLite {version} keeps documents in another form" if version >= BINARY_FORM else None


@contextlib.contextmanager
def _together(connection: sqlite3.Connection, count: int) -> Iterator[None]:
    """Several writes are one transaction; what fails leaves nothing."""
    if count > 1:
        connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        if count > 1:
            connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _table(name: Any) -> str:
    """The name of a collection's table."""
    if type(name) is not str or not TABLE.fullmatch(name) or name.endswith(("_files", "_chunks")) or "_fts" in name:
        raise Unlike("a collection's name")
    return name


class Direct:
    """Answers commands of one handler."""

    def __init__(self, handler: NeoSQLiteHandler) -> None:
        self._handler = handler
        self._pipelines = Pipelines()

    def answer(self, message: dict[str, Any]) -> Document | None:
        """What is answered to a command; None where the handler has to."""
        try:
            body = _whole(message)
            name = next(iter(body), "")
            if body.keys() - TAKEN.get(name, ()) or body.get("writeConcern", MAJORITY) != MAJORITY:
                return None
            where = _database(body)
            with self._handler._lock_for(where):
                database = self._handler.get_database(where)
                if database.db.in_transaction or (name in READS and _expire(database, body[name])):
                    return None
                return self._aggregated(database, body) if name == "aggregate" else WAYS[name](database.db, body)
        except Unlike:
            return None
        except Exception:  # whatever it was, it is undone, and the handler's errors are the ones that clients know
            logger.debug("the short way failed", exc_info=True)
            return None

    def _aggregated(self, database: Any, body: Document) -> Document:
        name, most = _table(body["aggregate"]), self._handler._first_batch_size(body)
        sql, values = self._pipelines.query(database, name, body["pipeline"])
        rows = database.db.execute(sql, values).fetchmany(most + 1)
        if len(rows) > most:
            raise Unlike("more than one batch")
        return _batch(body, name, [row[1:] for row in rows])


def _expire(database: Any, name: str) -> bool:
    """Whether a collection's documents may expire (a TTL index): the package removes those that did when it reads."""
    collection = database._collections.get(name)
    return collection is None or bool(collection._ttl_specs_cached())


def _whole(message: dict[str, Any]) -> Document:
    """A command's arguments, with the lists that are sent beside them."""
    (kind, body), *others = message["sections"]
    if kind != "body":
        raise Unlike("an order of sections")
    whole = dict(body)
    for kind, sent in others:
        if kind != "payload" or whole.keys() & sent.keys():
            raise Unlike("a section")
        whole |= sent
    return whole


def _database(body: Document) -> str:
    """The one database of a command."""
    if "bulkWrite" not in body:
        return str(body["$db"])
    names = {space["ns"].partition(".")[0] for space in body["nsInfo"]}
    if len(names) != 1:
        raise Unlike("more than one database")
    return str(names.pop())


def _batch(body: Document, name: str, rows: list[tuple[Any, str]]) -> Document:
    """An answer of documents by their ids and texts, all in its first batch."""
    if sum(len(text) for _, text in rows) > LONGEST:
        raise Unlike("a long answer")
    cursor = {"id": 0, "ns": f"{body['$db']}.{name}", "firstBatch": [read(text, identity) for identity, text in rows]}
    return {"ok": 1, "cursor": cursor}


def _find(connection: sqlite3.Connection, body: Document) -> Document:
    name, asked, limit = _table(body["find"]), body.get("filter", {}), body.get("limit", 0)
    wanted = asked.get("_id")
    identities = wanted.get("$in") if type(wanted) is dict and len(wanted) == 1 else [wanted]
    if len(asked) != 1 or type(identities) is not list or not 0 < len(identities) <= MOST or limit < 0:
        raise Unlike("a filter")
    if not all(map(plain_text, identities)):
        raise Unlike("an id")
    places = "= ?" if type(wanted) is str else f"IN ({', '.join('?' * len(identities))})"
    sql = f"SELECT _id, data FROM {name} WHERE _id {places}{f' LIMIT {int(limit)}' if limit else ''}"  # noqa: S608
    return _batch(body, name, connection.execute(sql, identities).fetchall())


def _insert(connection: sqlite3.Connection, body: Document) -> Document:
    name, documents = _table(body["insert"]), body["documents"]
    with _together(connection, len(documents)):
        identities = [_make(connection, name, each) for each in documents]
    return {"ok": 1, "n": len(identities), "insertedIds": identities}


def _update(connection: sqlite3.Connection, body: Document) -> Document:
    name, updates = _table(body["update"]), body["updates"]
    with _together(connection, len(updates)):
        done = [_change(connection, name, each, each["q"], each["u"]) for each in updates]
    answer = {"ok": 1, "n": sum(each.matched for each in done), "nModified": sum(each.modified for each in done)}
    made = [{"index": place, "_id": each.made} for place, each in enumerate(done) if each.made is not None]
    return answer | {"n": answer["n"] + len(made), "upserted": made} if made else answer


def _delete(connection: sqlite3.Connection, body: Document) -> Document:
    name, deletes = _table(body["delete"]), body["deletes"]
    if any(each.get("limit") != 1 or each.keys() != {"q", "limit"} for each in deletes):
        raise Unlike("more than one document")
    with _together(connection, len(deletes)):
        return {"ok": 1, "n": sum(_remove(connection, name, each["q"]) for each in deletes)}


def _bulk_write(connection: sqlite3.Connection, body: Document) -> Document:
    names = [_table(space["ns"].partition(".")[2]) for space in body["nsInfo"]]
    counts = dict.fromkeys(("nErrors", "nInserted", "nMatched", "nModified", "nUpserted", "nDeleted"), 0)
    results: list[Document] = []
    with _together(connection, len(body["ops"])):
        for place, each in enumerate(body["ops"]):
            result: Document = {"ok": 1, "idx": place, "n": 1}
            if each.keys() == {"insert", "document"}:
                _make(connection, names[each["insert"]], each["document"])
                counts["nInserted"] += 1
            elif "update" in each:
                change = {key: value for key, value in each.items() if key not in BULK_CHANGE}
                done = _change(connection, names[each["update"]], change, each["filter"], each["updateMods"])
                counts["nMatched"] += done.matched + (done.made is not None)
                counts["nModified"] += done.modified
                counts["nUpserted"] += done.made is not None
                result |= {"n": done.matched, "nModified": done.modified}
                result |= {} if done.made is None else {"upserted": {"_id": done.made}}
            elif each.keys() == {"delete", "filter", "multi"} and not each["multi"]:
                result["n"] = _remove(connection, names[each["delete"]], each["filter"])
                counts["nDeleted"] += result["n"]
            else:
                raise Unlike("an operation")
            results.append(result)
    batch = [] if body.get("errorsOnly") else results
    cursor = {"id": 0, "ns": "admin.$cmd.bulkWrite", "firstBatch": batch}
    return {"ok": 1, "cursor": cursor, **counts, "error": None, "writeErrors": []}


WAYS: dict[str, Callable[[sqlite3.Connection, Document], Document]] = {
    "find": _find,
    "insert": _insert,
    "update": _update,
    "delete": _delete,
    "bulkWrite": _bulk_write,
}


class Done(NamedTuple):
    """What one change did: documents matched and changed, and the id of the one that it made."""

    matched: int
    modified: int
    made: str | None = None


def _make(connection: sqlite3.Connection, name: str, document: Document) -> str:
    """Insert a document; its id."""
    identity = document.get("_id")
    if type(identity) is not str:
        raise Unlike("an id")
    connection.execute(f"INSERT INTO {name}(data, _id) VALUES (?, ?)", (written(document), identity))  # noqa: S608
    return identity


def _found(connection: sqlite3.Connection, name: str, asked: Document) -> tuple[int, Document] | None:
    """The document of an id that meets what is asked beside, as it is kept, and its row."""
    identity = asked.get("_id")
    if not plain_text(identity):
        raise Unlike("an id")
    row = connection.execute(f"SELECT id, data FROM {name} WHERE _id = ?", (identity,)).fetchone()  # noqa: S608
    document = read_raw(row[1]) if row else {}
    met = holds(document, {key: value for key, value in asked.items() if key != "_id"})
    return (row[0], document) if row and met else None


def _change(connection: sqlite3.Connection, name: str, options: Document, asked: Document, update: Document) -> Done:
    """Change the document of an id, or make it where that is asked."""
    if options.keys() - {"q", "u", "upsert", "multi"} or options.get("multi"):
        raise Unlike("an option")
    found = _found(connection, name, asked)
    if found:
        row, document = found
        if not any(key.startswith("$") for key in update):
            whole = written(replaced(document, update))
            connection.execute(f"UPDATE {name} SET data = ? WHERE id = ?", (whole, row))  # noqa: S608
            return Done(1, 1)
        made = changed(document, update)
        if update.keys() != {"$setOnInsert"}:
            connection.execute(f"UPDATE {name} SET data = ? WHERE id = ?", (written(made), row))  # noqa: S608
        return Done(1, int(made != document))
    if not options.get("upsert"):
        return Done(0, 0)
    if asked.keys() != {"_id"}:
        raise Unlike("what else a new document gets")
    return Done(0, 0, _make(connection, name, inserted(asked["_id"], update)))


def _remove(connection: sqlite3.Connection, name: str, asked: Document) -> int:
    """Delete the document of an id; how many were."""
    found = _found(connection, name, asked)
    if found:
        connection.execute(f"DELETE FROM {name} WHERE id = ?", (found[0],))  # noqa: S608
    return int(found is not None)
