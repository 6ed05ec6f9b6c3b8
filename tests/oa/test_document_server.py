"""The front of the embedded document store: messages in any pieces, long commands beside short ones, one a folder."""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo import InsertOne, MongoClient, UpdateOne

from oa import embedded
from oa.document_server import DOUBTED, MOST_WRITES, PROVEN, QUICK_SECONDS, Paces, Server, shape


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A running server: its port and folder."""
    folder, port = tmp_path_factory.mktemp("documents"), embedded.free_port()
    process = embedded.start(embedded.document_store_command(folder, port))
    embedded.wait_for_port(port, process)
    yield port, folder
    process.terminate()
    assert process.wait(10) == 0


@pytest.fixture
def client(store):
    with MongoClient(f"mongodb://{embedded.HOST}:{store[0]}", timeoutMS=20_000) as client:
        yield client


def message(number: int, **command: object) -> bytes:
    """A command as it goes over the wire."""
    body = bson.encode(command)
    return struct.pack("<iiiiIB", 21 + len(body), number, 0, 2013, 0, 0) + body


def answers(connection: socket.socket, count: int) -> dict[int, dict]:
    """Number of the command -> what was answered."""
    read, found = b"", {}
    while len(found) < count:
        read += connection.recv(65536)
        while len(read) >= 16 and len(read) >= (size := struct.unpack_from("<i", read)[0]):
            found[struct.unpack_from("<i", read, 8)[0]] = bson.decode(read[21:size])
            read = read[size:]
    return found


@pytest.mark.parametrize("piece", [1, 7, 100, 10_000])
def test_commands_come_in_any_pieces_and_are_answered_in_order(store, piece) -> None:
    sent = b"".join(message(number, ping=1, **{"$db": "admin"}) for number in range(1, 9))
    with socket.create_connection((embedded.HOST, store[0])) as connection:
        for at in range(0, len(sent), piece):
            connection.sendall(sent[at : at + piece])
        found = answers(connection, 8)
    assert list(found) == list(range(1, 9))
    assert all(each["ok"] == 1 for each in found.values())


@pytest.mark.parametrize("header", [(15, 1, 0, 2013), (2**30, 1, 0, 2013), (40, 1, 0, 7)])
def test_what_is_no_message_ends_the_connection_and_no_other(store, client, header) -> None:
    with socket.create_connection((embedded.HOST, store[0])) as connection:
        connection.settimeout(5)
        connection.sendall(struct.pack("<iiii", *header) + bytes(64))
        with pytest.raises(ConnectionError):
            raise ConnectionResetError if connection.recv(1) == b"" else AssertionError
    assert client.admin.command("ping")["ok"] == 1


def test_a_command_that_fails_is_answered_and_the_next_one_too(store) -> None:
    with socket.create_connection((embedded.HOST, store[0])) as connection:
        wrong = message(1, aggregate="x", pipeline=[{"$nothing": 1}], cursor={}, **{"$db": "test"})
        connection.sendall(wrong + message(2, ping=1, **{"$db": "admin"}))
        found = answers(connection, 2)
    assert (found[1]["ok"], found[2]["ok"]) == (0, 1)


def test_values_come_back_as_they_were(client) -> None:
    kept = {"_id": bson.ObjectId(), "id": 0, "list": [{"a": None, "b": 1.5}], "text": "ä", "many": {"x": [1, [2]]}}
    client.test["kept"].insert_one(kept)
    for _ in range(PROVEN + 2):  # by a thread, then without
        assert client.test["kept"].find_one({"_id": kept["_id"]}) == kept


def test_many_clients_and_long_answers(client) -> None:
    rows = [{"_id": number, "text": "x" * 1000} for number in range(1500)]
    client.test["rows"].insert_many(rows)

    def read(_: int) -> int:
        return sum(1 for _ in client.test["rows"].find({}, batch_size=400))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(8))) == {1500}


def test_writes_sent_together_and_others_keep_out_of_each_others_way(client) -> None:
    """Each guarded change is made by one of those who try it at the same moment, whatever the command it goes by.

    All go by threads: some may change many documents, others are sent with so many.
    """
    client.test["guarded"].insert_one({"_id": "one", "rev": 0})

    def change(person: int) -> int:
        made = 0
        for turn in range(20):
            rev = client.test["guarded"].find_one({"_id": "one"})["rev"]
            guard, update = {"_id": "one", "rev": rev}, {"$set": {"rev": rev + 1}}
            if person % 2:
                made += client.test["guarded"].update_many(guard, update).matched_count
                continue
            notes = [InsertOne({"_id": f"{person}-{turn}-{n}"}, namespace="test.notes") for n in range(MOST_WRITES)]
            done = client.bulk_write([UpdateOne(guard, update, namespace="test.guarded"), *notes])
            assert done.inserted_count == MOST_WRITES
            made += done.matched_count
        return made

    with ThreadPoolExecutor(8) as pool:
        made = sum(pool.map(change, range(8)))
    assert client.test["guarded"].find_one({"_id": "one"})["rev"] == made
    assert client.test["notes"].count_documents({}) == 4 * 20 * MOST_WRITES


def test_a_second_server_on_the_same_data_is_refused(store) -> None:
    command = embedded.document_store_command(store[1], embedded.free_port())
    second = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert second.returncode == 1
    assert b"another server runs" in second.stderr


def test_a_long_command_goes_to_a_thread_and_a_quick_one_is_not_kept_waiting() -> None:
    """What is quick is answered at once only while no thread is at a command, whose lock it would wait for."""
    server = Server(handler=None)
    key = ("find", "x", None, "_id")
    for _ in range(PROVEN):
        assert not server.may_answer_at_once(key)
        server.paces.took(key, 0.001)
    assert server.may_answer_at_once(key)
    server.in_threads = 1
    assert not server.may_answer_at_once(key)
    server.in_threads = 0
    server.paces.took(key, 2 * QUICK_SECONDS)
    assert not server.may_answer_at_once(key)


@given(st.lists(st.sampled_from([0.001, 1.0]), max_size=DOUBTED + 50))
def test_only_what_was_quick_often_enough_is_taken_for_quick(times) -> None:
    paces = Paces()
    for seconds in times:
        paces.took(("ping",), seconds)
    slow = [place for place, seconds in enumerate(times) if seconds == 1.0]
    since = len(times) - 1 - slow[-1] if slow else len(times)
    assert paces.is_quick(("ping",)) == (since >= PROVEN + (DOUBTED if slow else 0))


@pytest.mark.parametrize(
    ("sections", "known"),
    [
        ([("body", {"find": "x", "filter": {"_id": 1}, "limit": 1})], True),
        ([("body", {"update": "x"}), ("payload", {"updates": [{"q": {"_id": 1}, "u": {}, "multi": False}]})], True),
        ([("body", {"update": "x"}), ("payload", {"updates": [{"q": {}, "u": {}, "multi": True}]})], False),
        ([("body", {"delete": "x"}), ("payload", {"deletes": [{"q": {}, "limit": 0}]})], False),
        ([("body", {"insert": "x"}), ("payload", {"documents": [{}] * 33})], False),
        ([("body", {"createIndexes": "x", "indexes": []})], False),
        ([("body", {"getMore": 1, "collection": "x"})], False),
    ],
)
def test_only_commands_that_name_what_they_touch_have_a_shape(sections, known) -> None:
    assert (shape({"sections": sections}) is not None) == known


def test_a_connection_that_goes_amid_an_answer_harms_nobody(store, client) -> None:
    going = [threading.Thread(target=_go, args=(store[0],)) for _ in range(5)]
    for each in going:
        each.start()
    for each in going:
        each.join()
    assert client.admin.command("ping")["ok"] == 1


def _go(port: int) -> None:
    with socket.create_connection((embedded.HOST, port)) as connection:
        connection.sendall(message(1, find="rows", filter={}, **{"$db": "test"}))
