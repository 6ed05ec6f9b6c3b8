"""kill -9 of the document store in the middle of writes: nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest
from core_people import GOOD, SMALL
from pymongo.errors import PyMongoError

from core.accounts import Accounts
from core.collection import Collection
from core.database import connect, migrate
from core.sweeper import sweep_once
from oa import embedded


@pytest.mark.skipif("OA_MONGODB_URI" in os.environ, reason="kills a server of its own, not the one named")
async def test_no_acknowledged_submission_is_lost(tmp_path: Path) -> None:
    port = embedded.free_port()
    command = embedded.document_store_command(tmp_path / "mongo", port)
    process = embedded.start(command)
    embedded.wait_for_port(port, process)
    client = connect(f"mongodb://127.0.0.1:{port}")
    database = client["killed"]
    await migrate(database)
    collection, accounts = Collection(database, SMALL, random.Random(1)), Accounts(database)
    people = [await accounts.ensure_user("test", f"p{number}", f"p{number}") for number in range(6)]
    prompts: list[str] = []
    reviews: list[str] = []
    enough = asyncio.Event()

    async def work(user) -> None:
        try:
            while True:
                task = await collection.request_task(user, "initial_prompt", ["en"])
                await collection.submit_prompt(user, task.id, f"Question {task.id}?", "en")
                prompts.append(task.id)
                review = await collection.request_task(user, "random", ["en"])
                if review.kind == "label_initial_prompt":
                    await collection.submit_review(user, review.id, GOOD)
                    reviews.append(review.id)
                if len(prompts) > 20:
                    enough.set()
        except PyMongoError:
            return

    workers = [asyncio.create_task(work(user)) for user in people]
    await asyncio.wait_for(enough.wait(), 60)
    process.kill()
    process.wait(10)
    await asyncio.wait_for(asyncio.gather(*workers), 60)
    process = embedded.start(command)
    try:
        embedded.wait_for_port(port, process)
        client = connect(f"mongodb://127.0.0.1:{port}")
        collection = Collection(client["killed"], SMALL, random.Random(1))
        swept = await sweep_once(collection.database, SMALL)
        assert swept.failures == []
        assert set(await collection.trees(prompts)) == set(prompts)
        assert set(await collection.messages(prompts)) == set(prompts)
        stored = {each["_id"] async for each in collection.database["reviews"].find()}
        assert set(reviews) <= stored
        states = [each["state"] async for each in collection.database["tasks"].find()]
        assert "answered" not in states
        assert await collection.database["trees"].count_documents({"dirty": True}) == 0
        counted = [each["review_count"] async for each in collection.database["messages"].find()]
        assert sum(counted) == len(stored)
    finally:
        process.kill()
        process.wait(10)
