"""Several writes by one command: each is told by itself, what is there stops nothing, old stores do the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure, PyMongoError, WriteConcernError

from core import writes
from core.database import connect, unavailable
from core.writes import Change, Gone, New, Whole, Write, together
from oa import embedded

IDS = st.sampled_from(["a", "b"])
NAMES = st.sampled_from(["one", "two"])
REVS = st.integers(0, 2)


@st.composite
def some_write(draw: st.DrawFn) -> Write:
    name, identity, rev = draw(NAMES), draw(IDS), draw(REVS)
    return draw(
        st.sampled_from([
            New(name, {"_id": identity, "rev": 0}),
            Change(name, {"_id": identity, "rev": rev}, {"$set": {"rev": rev + 1}}),
            Whole(name, {"_id": identity, "rev": rev}, {"_id": identity, "rev": rev + 1}),
            Gone(name, {"_id": identity, "rev": rev}),
        ])
    )  # fmt: skip


def expected(made: list[Write]) -> tuple[tuple[bool, ...], dict[str, dict[str, int]]]:
    """What each write comes to, and what is stored then: collection -> id -> rev."""
    stored: dict[str, dict[str, int]] = {"one": {}, "two": {}}
    done = []
    for write in made:
        there = stored[write.collection]
        if isinstance(write, New):
            done.append(write.document["_id"] not in there)
            there.setdefault(write.document["_id"], 0)
            continue
        identity, rev = write.guard["_id"], write.guard["rev"]
        done.append(there.get(identity) == rev)
        if done[-1] and isinstance(write, Change | Whole):
            there[identity] = rev + 1
        elif done[-1]:
            del there[identity]
    return tuple(done), stored


async def read(database) -> dict[str, dict[str, int]]:
    return {name: {each["_id"]: each["rev"] async for each in database[name].find()} for name in ("one", "two")}


UNKNOWN = {"old": ("no such command: 'bulkWrite'", 59), "other": ("unsupported wire command: bulkWrite", None)}


@pytest.mark.parametrize("store", ["new", *UNKNOWN])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(made=st.lists(some_write(), max_size=8))
async def test_each_write_is_done_or_told_not_to_be(database, store: str, made: list[Write]) -> None:
    for name in ("one", "two"):
        await database[name].delete_many({})
    real = AsyncDatabase.command

    async def command(self: Any, command: Any, *arguments: Any, **options: Any) -> Any:
        if store in UNKNOWN and "bulkWrite" in command:
            raise OperationFailure(*UNKNOWN[store])
        return await real(self, command, *arguments, **options)

    done, stored = expected(made)
    with patch.object(AsyncDatabase, "command", command):
        assert await together(database, made) == done
    writes._too_old.discard(database.client)
    assert await read(database) == stored


async def test_more_writes_than_one_command_takes(database, monkeypatch) -> None:
    monkeypatch.setattr(writes, "CHUNK", 3)
    made: list[Write] = [New("one", {"_id": f"{number}", "rev": 0}) for number in range(7)]
    assert await together(database, made[:5]) == (True,) * 5
    assert await together(database, made) == (False,) * 5 + (True,) * 2
    assert await database["one"].count_documents({}) == 7


async def test_what_is_not_replicated_is_told(database) -> None:
    real = AsyncDatabase.command

    async def command(self: Any, *arguments: Any, **options: Any) -> Any:
        answer = await real(self, *arguments, **options)
        return answer | {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}}

    with patch.object(AsyncDatabase, "command", command), pytest.raises(WriteConcernError, match="replication"):
        await together(database, [New("one", {"_id": "a", "rev": 0}), New("one", {"_id": "b", "rev": 0})])


@pytest.mark.skipif("OA_MONGODB_URI" in os.environ, reason="kills a server of its own, not the one named")
async def test_a_store_that_is_gone_is_told_as_by_any_other_command(tmp_path: Path) -> None:
    port = embedded.free_port()
    process = embedded.start(embedded.document_store_command(tmp_path / "mongo", port))
    try:
        embedded.wait_for_port(port, process)
        async with connect(f"mongodb://127.0.0.1:{port}") as client:
            assert await together(client["gone"], [New("one", {"_id": each}) for each in "ab"]) == (True, True)
            process.kill()
            process.wait(10)
            with pytest.raises(PyMongoError) as failure:
                await together(client["gone"], [New("one", {"_id": each}) for each in "cd"])
            assert unavailable(failure.value).code == "UNAVAILABLE"
    finally:
        process.kill()
        process.wait(10)


async def test_another_failure_is_raised(database) -> None:
    with pytest.raises(PyMongoError):
        await together(database, [New("one", {"_id": "a"}), Change("one", {"_id": "a"}, {"$inc": {"_id": "x"}})])


@pytest.mark.parametrize("options", ["", "?w=1", "?replicaSet=rs0&w=0"])
async def test_writes_ask_for_the_majority_whatever_the_address_says(options: str) -> None:
    async with connect(f"mongodb://127.0.0.1:1/{options}") as client:
        assert client.write_concern.document == {"w": "majority"}
