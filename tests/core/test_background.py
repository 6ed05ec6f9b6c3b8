"""A step in the background that fails ends no other."""

from __future__ import annotations

import asyncio
import logging

import pytest
from pymongo.errors import AutoReconnect

from core.background import repeat
from core.errors import NotFound


async def test_whatever_fails_the_next_step_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    failures: list[Exception] = [AutoReconnect("gone"), NotFound("no such thing"), ZeroDivisionError()]
    after = asyncio.Event()

    async def step() -> None:
        if failures:
            raise failures.pop(0)
        after.set()

    running = asyncio.create_task(repeat(step, 0, "the step"))
    async with asyncio.timeout(10):
        await after.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    told = [(each.levelno, each.getMessage(), each.exc_info is not None) for each in caplog.records]
    assert told == [
        (logging.WARNING, "the step failed: gone", False),
        (logging.WARNING, "the step failed: no such thing", False),
        (logging.ERROR, "the step failed", True),
    ]
