"""Following: one look for all, the latest value only, an end for everybody when it fails, a bound."""

from __future__ import annotations

import asyncio

import pytest

from core.errors import TooMany, Unavailable
from graphql_schema.watching import Watch


class Thing:
    """Something to look at; counts the looks."""

    def __init__(self) -> None:
        self.value: object = 1
        self.looks = 0
        self.looked = asyncio.Event()

    async def look(self) -> object:
        self.looks += 1
        self.looked.set()
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


async def looks(thing: Thing, times: int) -> None:
    """Wait until the thing was looked at `times` more times."""
    for _ in range(times):
        thing.looked.clear()
        await thing.looked.wait()


async def test_all_who_follow_the_same_share_one_look() -> None:
    watch, thing = Watch(seconds=0.001), Thing()
    followers = [watch.follow("thing", thing.look) for _ in range(5)]
    assert [await anext(each) for each in followers] == [1] * 5
    assert watch.things == 1
    before = thing.looks
    await looks(thing, 10)
    assert thing.looks - before <= 11, "not once for each follower"
    thing.value = 2
    assert [await anext(each) for each in followers] == [2] * 5
    for each in followers:
        await each.aclose()
    assert watch.things == 0


async def test_only_changes_are_told_and_the_latest_is_given() -> None:
    watch, thing = Watch(seconds=0.001), Thing()
    slow = watch.follow("thing", thing.look, same=lambda value: None if value is None else value // 10)
    assert await anext(slow) == 1
    thing.value = 5
    waiting = asyncio.create_task(anext(slow))
    await looks(thing, 3)
    assert not waiting.done(), "5 is the same as 1 by tens"
    thing.value = 42
    assert await waiting == 42
    for value in (50, 60, 70):
        thing.value = value
        await looks(thing, 2)
    assert await anext(slow) == 70
    await slow.aclose()


async def test_a_failure_ends_all_and_following_again_starts_anew() -> None:
    watch, thing = Watch(seconds=0.001), Thing()
    followers = [watch.follow("thing", thing.look) for _ in range(2)]
    assert [await anext(each) for each in followers] == [1, 1]
    thing.value = Unavailable("the store does not answer")
    for each in followers:
        with pytest.raises(Unavailable):
            await anext(each)
    thing.value = 3
    again = watch.follow("thing", thing.look)
    assert await anext(again) == 3
    await again.aclose()
    assert watch.things == 0


async def test_no_more_than_so_many_things_are_followed() -> None:
    watch, thing = Watch(seconds=0.001, most=2), Thing()
    held = [watch.follow(name, thing.look) for name in ("a", "b")]
    for each in held:
        await anext(each)
    with pytest.raises(TooMany):
        await anext(watch.follow("c", thing.look))
    await held[0].aclose()
    more = watch.follow("c", thing.look)
    assert await anext(more) == 1
    for each in (*held, more):
        await each.aclose()
