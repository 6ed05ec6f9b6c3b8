"""One record that is not as it should be keeps the background from nothing else; a store that is silent stops it."""

from __future__ import annotations

import asyncio

import pytest
from core_people import write_prompt
from pymongo.errors import PyMongoError

from core.database import connect
from core.errands import run_errands
from core.facts import mark
from core.sweeper import sweep_once


async def test_what_cannot_be_read_keeps_nothing_else_from_being_healed(collection, person) -> None:
    database = collection.database
    tree_id = await write_prompt(collection, await person("ann"))
    await mark(database, tree_id)
    await database["tasks"].insert_one({"_id": "broken", "deadline": "answered|0"})
    await database["work"].insert_one({"_id": "broken", "check_at": 1, "tree_id": "gone"})
    await database["trees"].insert_one({"_id": "broken", "dirty": True})
    swept = await sweep_once(database, collection.config)
    assert not (await collection.tree(tree_id)).dirty
    told = [each.partition(":")[0] for each in swept.failures]
    assert told == ["task broken", "work broken", "tree broken"]


async def test_errands_go_on_after_one_that_cannot_be_read(collection) -> None:
    departures = collection.database["departures"]
    await departures.insert_many([{"_id": name, "open": 1} for name in ("broken", "broken too")])
    running = asyncio.create_task(run_errands(collection.database, collection.config, None, seconds=0))
    async with asyncio.timeout(10):
        while await departures.find_one({"open": 1}) is not None:
            assert not running.done()
            await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_store_that_does_not_answer_stops_all(collection) -> None:
    async with connect("mongodb://127.0.0.1:1", seconds=0.1) as client:
        with pytest.raises(PyMongoError):
            await sweep_once(client["nothing"], collection.config)
