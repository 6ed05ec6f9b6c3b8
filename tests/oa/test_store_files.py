"""Files of the embedded store: how they are opened, and what a kill amid writes leaves in them."""

from __future__ import annotations

import threading

from pymongo import InsertOne, MongoClient
from pymongo.errors import PyMongoError

from oa import embedded
from oa.store_files import PAGES_BEFORE_COPYING, handler_of


def test_a_database_is_opened_with_a_long_log_of_writes(tmp_path) -> None:
    database = handler_of(str(tmp_path)).get_database("test")
    assert database.db.execute("PRAGMA wal_autocheckpoint").fetchone() == (PAGES_BEFORE_COPYING,)
    assert database.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


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
