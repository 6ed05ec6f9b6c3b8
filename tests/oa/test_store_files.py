"""Files of the embedded store: text indexes that follow their texts alone, and what a kill amid writes leaves."""

from __future__ import annotations

import sqlite3
import threading

import bson
import pytest
from nx_27017.handler import NeoSQLiteHandler
from pymongo import InsertOne, MongoClient
from pymongo.errors import PyMongoError

from oa import embedded
from oa.document_server import Server
from oa.store_files import PAGES_BEFORE_COPYING, handler_of, write_changed_texts_only

TEXT = {"key": {"text": "text"}, "name": "text_text"}


def ask(server: Server, **command: object) -> dict:
    """What is answered to a command."""
    message = {"request_id": 1, "sections": [("body", {**command, "$db": "test"})]}
    return bson.decode(server.answer(message, None)[21:])


def found(server: Server, word: str) -> list[str]:
    """Ids of the documents with a word."""
    answer = ask(server, find="notes", filter={"$text": {"$search": word}})
    return sorted(each["_id"] for each in answer["cursor"]["firstBatch"])


def change(server: Server, identity: str, **fields: object) -> None:
    assert ask(server, update="notes", updates=[{"q": {"_id": identity}, "u": {"$set": fields}}])["nModified"] == 1


@pytest.fixture
def old(tmp_path) -> str:
    """A folder with a text index as the package makes it."""
    server = Server(NeoSQLiteHandler(data_dir=str(tmp_path)))
    ask(
        server,
        insert="notes",
        documents=[{"_id": "a", "text": "red apple"}, {"_id": "b", "text": "green pear", "rev": 1}],
    )
    assert ask(server, createIndexes="notes", indexes=[TEXT])["ok"] == 1
    server.handler.close_all()
    return str(tmp_path)


def test_a_text_index_follows_the_texts_and_nothing_else(old: str) -> None:
    server = Server(handler_of(old))
    assert (found(server, "apple"), found(server, "pear")) == (["a"], ["b"])
    connection = server.handler.get_database("test").db
    written = "SELECT count(*), total(length(block)) FROM notes_text_fts_data"
    before = connection.execute(written).fetchone()
    change(server, "b", rev=2)
    assert connection.execute(written).fetchone() == before
    change(server, "b", text="blue plum")
    assert connection.execute(written).fetchone() != before
    assert (found(server, "apple"), found(server, "pear"), found(server, "plum")) == (["a"], [], ["b"])
    change(server, "a", text=None)
    assert found(server, "apple") == []
    assert connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (PAGES_BEFORE_COPYING,)
    assert write_changed_texts_only(connection) == 0


def test_an_index_made_over_the_wire_gets_the_condition_and_can_be_dropped(tmp_path) -> None:
    port = embedded.free_port()
    process = embedded.start(embedded.document_store_command(tmp_path, port))
    try:
        embedded.wait_for_port(port, process)
        with MongoClient(f"mongodb://{embedded.HOST}:{port}", timeoutMS=20_000) as client:
            notes = client.test["notes"]
            notes.insert_one({"_id": "a", "text": "red apple"})
            notes.create_index([("text", "text")], name="text_text")
            with sqlite3.connect(f"file:{tmp_path / 'test.db'}?mode=ro", uri=True) as other:
                (sql,) = other.execute("SELECT sql FROM sqlite_master WHERE name = 'notes_text_fts_update'").fetchone()
            assert "WHEN json_extract(old.data, '$.text') IS NOT json_extract(new.data, '$.text')" in sql
            notes.update_one({"_id": "a"}, {"$set": {"text": "plum"}})
            assert notes.count_documents({"$text": {"$search": "plum"}}) == 1
            notes.drop_index("text_text")
            notes.update_one({"_id": "a"}, {"$set": {"text": "pear"}})
            assert notes.find_one({"_id": "a"}) == {"_id": "a", "text": "pear"}
    finally:
        process.terminate()
        process.wait(10)


def test_a_kill_loses_nothing_acknowledged_and_leaves_writes_sent_together_whole(tmp_path) -> None:
    port = embedded.free_port()
    acknowledged = {"alone": 0, "together": 0}
    process = embedded.start(embedded.document_store_command(tmp_path, port))

    def write() -> None:
        with MongoClient(f"mongodb://{embedded.HOST}:{port}", timeoutMS=20_000, retryWrites=False) as client:
            for turn in range(100_000):
                try:
                    client.test["alone"].insert_one({"_id": f"{turn}"})
                    acknowledged["alone"] += 1
                    rows = [
                        InsertOne({"_id": f"{turn}|{n}", "text": "x" * 500}, namespace="test.together")
                        for n in range(8)
                    ]
                    client.bulk_write(rows)
                    acknowledged["together"] += 8
                except PyMongoError:
                    return
                if turn == 40:
                    process.kill()

    embedded.wait_for_port(port, process)
    writer = threading.Thread(target=write)
    writer.start()
    writer.join(30)
    process.wait(10)
    again = embedded.start(embedded.document_store_command(tmp_path, port))
    try:
        embedded.wait_for_port(port, again)
        with MongoClient(f"mongodb://{embedded.HOST}:{port}", timeoutMS=20_000) as client:
            kept = {name: client.test[name].count_documents({}) for name in acknowledged}
    finally:
        again.terminate()
        again.wait(10)
    assert acknowledged["alone"] > 40
    assert kept["alone"] - acknowledged["alone"] in (0, 1)
    assert kept["together"] - acknowledged["together"] in (0, 8)
