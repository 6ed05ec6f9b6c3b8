"""When something breaks behind the API: defects are masked and logged once, an absent store is said to be absent."""

from __future__ import annotations

import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from pymongo import MongoClient
from running_api import Caller, eventually, serving

from api.logs import JsonLines
from oa import embedded

SECRET = "mongodb://admin:hunter2@db.internal"


@pytest.fixture
def broken(settings):
    """An API in whose store one tree is in a state that does not exist, named like a secret."""
    name = f"test_broken_{uuid.uuid4().hex[:8]}"
    with MongoClient(settings.mongodb_uri) as client:
        tree = {"_id": "broken", "state": SECRET, "lang": "en", "by_time": "000|broken", "by_lang": "en|000|broken"}
        client[name]["trees"].insert_one(tree)
        with serving(replace(settings, mongodb_database=name, sweep_seconds=0)) as url:
            yield Caller(url)
        client.drop_database(name)


def test_a_defect_is_masked_named_and_logged_in_one_line(broken, caplog):
    ada = broken.sign_in("ada")
    caplog.clear()
    document = "query Broken { a: trees(first: 1) { nodes { id } } b: trees(first: 1) { nodes { id } } }"
    response = ada.post(document, x_request_id="request-of-ada")
    assert SECRET not in response.text
    for error in response.json()["errors"]:
        assert error["extensions"] == {"code": "INTERNAL", "correlationId": "request-of-ada"}
        assert error["message"] == "internal error; quote request-of-ada when you report it"
    (record,) = [each for each in caplog.records if each.name == "oa.graphql"]
    assert record.levelno == logging.ERROR
    assert record.fields["correlation_id"] == "request-of-ada"
    assert record.fields["error"] == "ValueError"
    assert "\n" not in JsonLines().format(record)


def test_a_defect_in_a_stream_is_masked_too(broken):
    body = {"query": "{ trees(first: 1) { nodes { id } } }"}
    headers = {**broken.sign_in("ada").headers, "accept": "text/event-stream"}
    response = broken.http.post(f"{broken.base}/graphql", json=body, headers=headers)
    assert "event: next" in response.text
    assert '"INTERNAL"' in response.text
    assert SECRET not in response.text


def test_a_store_that_is_gone_is_said_to_be_gone(settings, tmp_path):
    port = embedded.free_port()
    process = embedded.start(embedded.document_store_command(tmp_path / "mongo", port))
    embedded.wait_for_port(port, process)
    mine = replace(settings, mongodb_uri=f"mongodb://127.0.0.1:{port}", sweep_seconds=0, database_seconds=1)
    try:
        with serving(mine) as url:
            anyone = Caller(url)
            ada = anyone.sign_in("ada")
            assert anyone.http.get(f"{url}/readyz").status_code == 200
            process.kill()
            process.wait(10)
            with ThreadPoolExecutor() as pool:  # each waits out the driver's patience
                board = pool.submit(anyone.post, "{ leaderboard(frame: DAY, first: 1) { points } }")
                signed_in = pool.submit(ada.post, "{ viewer { streakDays } }").result()
                eventually(lambda: anyone.http.get(f"{url}/readyz").status_code == 503)  # seen a second ago at most
                ready = anyone.http.get(f"{url}/readyz")
            (error,) = board.result().json()["errors"]
            assert (board.result().status_code, error["extensions"]["code"]) == (200, "UNAVAILABLE")
            (error,) = signed_in.json()["errors"]
            assert (signed_in.status_code, error["extensions"]["code"]) == (503, "UNAVAILABLE")
            assert (ready.status_code, ready.json()["document_store"]) == (503, "does not answer")
            assert anyone.http.get(f"{url}/healthz").status_code == 200
    finally:
        process.kill()
        process.wait(10)
