"""Buckets that many share: never more than the bucket gives, whatever is drawn where, and few commands of the store."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.monitoring import CommandListener, CommandStartedEvent

from core.database import connect
from core.rate_blocks import Blocks
from core.rate_limits import SECOND, RateLimits
from core.rates import OutOfTokens, Rate


class Clock:
    now = 1_700_000_000 * SECOND

    def __call__(self) -> int:
        return self.now


class Commands(CommandListener):
    count = 0

    def started(self, event: CommandStartedEvent) -> None:
        self.count += 1

    def succeeded(self, event: Any) -> None: ...
    def failed(self, event: Any) -> None: ...


@pytest.fixture
async def counted(database: Any, mongodb_uri: str) -> AsyncIterator[tuple[Any, Commands]]:
    """The database, and how many commands it gets through it."""
    commands = Commands()
    client = connect(mongodb_uri, commands)
    yield client[database.name], commands
    await client.close()


def blocks(database: Any, clock: Clock, rate: Rate) -> Blocks:
    return Blocks(RateLimits(database, {"a": rate}, clock))


async def granted(shared: Blocks, caller: str, amount: int) -> int:
    try:
        await shared.take(caller, "a", amount)
    except OutOfTokens:
        return 0
    return amount


async def test_many_processes_spend_no_more_than_there_is_and_one_spends_all(database: Any) -> None:
    clock, rate = Clock(), Rate(300, 60)
    three = [blocks(database, clock, rate) for _ in range(3)]
    spent = sum(await asyncio.gather(*(granted(each, "school", 2) for each in three * 60)))
    assert 290 <= spent <= 300  # each may hold back a block of 3
    alone = blocks(database, clock, rate)
    assert sum([await granted(alone, "other", 7) for _ in range(50)]) == 294
    assert sum([await granted(alone, "other", 1) for _ in range(9)]) == 6
    with pytest.raises(OutOfTokens, match="a: 300 are allowed in 60 s") as refused:
        await alone.take("other", "a", 3)
    assert (refused.value.verdict.remaining, refused.value.retry_after) == (0, 0.6)


async def test_what_everybody_does_costs_a_command_a_block(counted: tuple[Any, Commands]) -> None:
    database, commands = counted
    shared = blocks(database, Clock(), Rate(1000, 60))
    left = [(await shared.take("school", "a", 1)).remaining for _ in range(100)]  # type: ignore[union-attr]
    assert left == list(range(999, 899, -1))
    assert commands.count <= 11


async def test_a_person_costs_one_command_and_who_is_known_to_be_refused_none(counted: tuple[Any, Commands]) -> None:
    database, commands = counted
    limits = RateLimits(database, {"a": Rate(5, 60)}, Clock())
    for _ in range(5):
        await limits.take("ada", "a")
    assert commands.count == 5
    refusals = [await asyncio.gather(limits.take("ada", "a"), return_exceptions=True) for _ in range(3)]
    assert {type(each) for (each,) in refusals} == {OutOfTokens}
    assert commands.count == 5


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.sampled_from([1, 10, 400]),
    takes=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 1), st.integers(1, 60)), min_size=1, max_size=12),
)
async def test_what_is_spent_fits_into_the_bucket_whoever_spends(
    database: Any, count: int, takes: list[tuple[int, int, int]]
) -> None:
    clock, caller = Clock(), uuid.uuid4().hex
    both = [blocks(database, clock, Rate(count, 10)) for _ in range(2)]
    began, spent = clock.now, 0
    for wait, which, amount in takes:
        clock.now += wait * 1000
        spent += await granted(both[which], caller, amount)
        assert spent <= count + (clock.now - began) * count / (10 * SECOND)
