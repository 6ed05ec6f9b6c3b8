"""The driver as we use it: no task and no session for a command, and an end to each wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from pymongo import InsertOne
from pymongo.errors import AutoReconnect, DocumentTooLarge, NetworkTimeout
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from stalling_proxy import StallingProxy

from core.connections import Connection
from core.database import Client, connect, is_silent


@pytest.fixture
def proxy(mongodb_uri):
    address = urlsplit(mongodb_uri)
    with StallingProxy(address.hostname, address.port).running() as proxy:
        yield proxy


class Watching(CommandListener):
    """Knows of commands that went out."""

    def __init__(self, event: asyncio.Event) -> None:
        self.event = event
        self.commands: list[dict[str, object]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.event.set()
        self.commands.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass


@pytest.fixture
async def gone_out() -> asyncio.Event:
    """Set when a command of `client` goes out."""
    return asyncio.Event()


@pytest.fixture
async def client(proxy, gone_out) -> AsyncIterator[Client]:
    async with connect(f"mongodb://127.0.0.1:{proxy.port}", Watching(gone_out)) as client:
        await client["admin"].command("ping")  # the connection is there
        gone_out.clear()
        yield client
        proxy.go_on()


def connections(client: Client) -> list[object]:
    return [each for server in client._topology._servers.values() for each in server.pool.conns]


async def test_a_command_makes_no_task(client) -> None:
    assert [type(each) for each in connections(client)] == [Connection]
    loop, made = asyncio.get_running_loop(), []

    def noted(loop, work, **options):
        made.append(work)
        return asyncio.Task(work, loop=loop, **options)

    loop.set_task_factory(noted)
    try:
        await client["admin"].command("ping")
        assert await client["none"]["none"].find_one({"_id": "a"}) is None
    finally:
        loop.set_task_factory(None)
    assert [work for work in made if "monitor" not in str(work)] == []


async def test_commands_name_no_session(mongodb_uri, database) -> None:
    watching = Watching(asyncio.Event())
    async with connect(mongodb_uri, watching) as client:
        of = client[database.name]["of"]
        await of.insert_many([{"_id": each} for each in range(5)])
        assert len([each async for each in of.find(batch_size=2)]) == 5
        assert len([each async for each in await of.aggregate([{"$match": {}}], batchSize=2)]) == 5
        added = [InsertOne({"_id": each}, namespace=f"{database.name}.of") for each in (5, 6)]
        assert (await client.bulk_write(added)).inserted_count == 2
    assert {"insert", "find", "getMore", "aggregate", "bulkWrite"} <= {next(iter(each)) for each in watching.commands}
    assert not any("lsid" in each for each in watching.commands)


async def test_a_wait_ends_with_its_time_and_its_connection(proxy) -> None:
    async with connect(f"mongodb://127.0.0.1:{proxy.port}", seconds=0.2) as client:
        await client["admin"].command("ping")
        proxy.stall()
        with pytest.raises(NetworkTimeout) as failure:
            await client["none"]["none"].insert_one({"_id": "a"})
        assert is_silent(failure.value)
        assert connections(client) == []
        proxy.go_on()
        assert (await client["admin"].command("ping"))["ok"] == 1


async def test_who_stops_waiting_leaves_no_answer_to_the_next(client, proxy, gone_out) -> None:
    proxy.stall()
    asked = asyncio.ensure_future(client["admin"].command("buildInfo"))
    await gone_out.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    proxy.go_on()
    assert "version" not in await client["admin"].command("ping")


async def test_a_wait_ends_when_the_driver_gives_its_connection_up(client, proxy, gone_out) -> None:
    proxy.stall()
    asked = asyncio.ensure_future(client["none"]["none"].insert_one({"_id": "a"}))
    await gone_out.wait()
    (server,) = client._topology._servers.values()
    await server.pool.reset(interrupt_connections=True)
    with pytest.raises(AutoReconnect):
        await asyncio.wait_for(asked, 10)


async def test_a_document_that_is_too_long_is_told(client) -> None:
    with pytest.raises(DocumentTooLarge):
        await client["none"]["none"].insert_one({"text": "a" * (17 << 20)})
    assert (await client["admin"].command("ping"))["ok"] == 1
