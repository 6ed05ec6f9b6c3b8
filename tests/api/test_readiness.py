"""Readiness: however many ask, the stores are looked at once while a look is good."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo.monitoring import CommandListener, CommandStartedEvent

from api import health
from core.database import connect


class Pings(CommandListener):
    def __init__(self) -> None:
        self.count = 0

    def started(self, event: CommandStartedEvent) -> None:
        self.count += event.command_name == "ping"

    def succeeded(self, event: Any) -> None: ...
    def failed(self, event: Any) -> None: ...


class NoBucket:
    def check_bucket(self) -> None:
        raise OSError("nothing is there")


async def test_those_who_ask_at_once_share_one_look(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pings = Pings()
    client = connect(mongodb_uri, pings)
    try:
        readiness = health.Readiness(client["test_readiness"], NoBucket())
        monkeypatch.setattr(health, "KEPT", 1000.0)
        assert await asyncio.gather(*(readiness.look() for _ in range(20))) == [(True, False)] * 20
        assert pings.count == 1
        monkeypatch.setattr(health, "KEPT", 0.0)
        readiness = health.Readiness(client["test_readiness"], NoBucket())
        for _ in range(2):
            await readiness.look()
        assert pings.count == 3, "a look that is over is not good any more"
    finally:
        await client.close()
