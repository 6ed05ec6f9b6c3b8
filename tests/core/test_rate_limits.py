"""Token buckets in the store: what they allow, whoever races, and what a bucket of exact arithmetic would allow."""

from __future__ import annotations

import asyncio
import uuid
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import BadInput, TooMany
from core.rate_limits import PURGE_EVERY, SECOND, RateLimits
from core.rates import DEFAULT_RATES, Rate, parse_rates


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1_700_000_000 * SECOND

    def __call__(self) -> int:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


@pytest.fixture
def clock():
    return Clock()


def limits(database, clock, **rates):
    return RateLimits(database, {name: Rate(*rate) for name, rate in rates.items()}, clock)


async def test_a_bucket_holds_its_count_and_says_when_there_is_more(database, clock):
    buckets = limits(database, clock, generate=(3, 30))
    assert [(await buckets.take("ada", "generate")).remaining for _ in range(3)] == [2, 1, 0]
    with pytest.raises(TooMany) as refused:
        await buckets.take("ada", "generate")
    assert refused.value.retry_after == 10
    assert "generate: 3 are allowed in 30 s; try again in 10 s" in refused.value.message
    clock.pass_(9.9)
    with pytest.raises(TooMany) as refused:
        await buckets.take("ada", "generate")
    assert refused.value.retry_after == 0.1
    clock.pass_(0.1)
    verdict = await buckets.take("ada", "generate")
    assert (verdict.remaining, verdict.reset) == (0, 30)


async def test_callers_and_actions_have_buckets_of_their_own(database, clock):
    buckets = limits(database, clock, a=(1, 60), b=(1, 60))
    for caller in ("ada", "bob"):
        for action in ("a", "b"):
            assert (await buckets.take(caller, action)).remaining == 0
            with pytest.raises(TooMany):
                await buckets.take(caller, action)


async def test_what_is_not_limited_is_not_counted(database, clock):
    assert await limits(database, clock).take("ada", "anything") is None
    assert await database["rate_buckets"].find_one({}) is None


async def test_what_never_fits_is_refused_without_a_time_and_takes_nothing(database, clock):
    buckets = limits(database, clock, cost=(100, 60))
    with pytest.raises(TooMany, match="ask for less at once") as refused:
        await buckets.take("ada", "cost", 101)
    assert refused.value.retry_after is None
    assert (await buckets.take("ada", "cost", 100)).remaining == 0


async def test_racing_callers_get_exactly_the_count(database, clock):
    one, other = (limits(database, clock, a=(20, 60)) for _ in range(2))
    answers = await asyncio.gather(*(each.take("ada", "a") for each in (one, other) * 30), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, TooMany)]
    allowed = [answer.remaining for answer in answers if not isinstance(answer, Exception)]
    assert (len(allowed), len(refused)) == (20, 40)
    assert sorted(allowed) == list(range(20))


async def test_a_limit_outlives_the_process_that_counted(database, clock):
    await limits(database, clock, a=(1, 60)).take("ada", "a")
    with pytest.raises(TooMany):
        await limits(database, clock, a=(1, 60)).take("ada", "a")


async def test_full_buckets_are_deleted_and_others_stay(database, clock):
    buckets = limits(database, clock, a=(10, 60))
    await buckets.take("early", "a")
    clock.pass_(7)
    await buckets.take("late", "a")
    assert await buckets.purge() == 1
    assert [each["_id"] async for each in database["rate_buckets"].find()] == ["late|a"]
    for number in range(PURGE_EVERY):  # as buckets are made, full ones go by themselves
        clock.pass_(6.1)
        await buckets.take(f"somebody-{number}", "a")
    assert await database["rate_buckets"].count_documents({}) <= 3


class Reference:
    """A token bucket by the book, in exact arithmetic."""

    def __init__(self, rate: Rate, now: int) -> None:
        self.rate, self.tokens, self.at = rate, Fraction(rate.count), now

    def take(self, amount: int, now: int) -> bool:
        gained = Fraction(now - self.at, SECOND) * self.rate.count / Fraction(self.rate.seconds)
        self.tokens, self.at = min(Fraction(self.rate.count), self.tokens + gained), now
        if amount > self.tokens:
            return False
        self.tokens -= amount
        return True


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.sampled_from([1, 2, 5, 20]),
    takes=st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 25)), min_size=1, max_size=12),
)
async def test_it_allows_what_a_bucket_by_the_book_allows(database, count, takes):
    clock, caller = Clock(), uuid.uuid4().hex
    rate = Rate(count, 10)  # a token takes a whole number of microseconds, so both are exact
    buckets, book = RateLimits(database, {"a": rate}, clock), Reference(rate, clock())
    for milliseconds, amount in takes:
        clock.pass_(milliseconds / 1000)
        if book.take(amount, clock()):
            assert (await buckets.take(caller, "a", amount)).remaining == int(book.tokens)
        else:
            with pytest.raises(TooMany) as refused:
                await buckets.take(caller, "a", amount)
            assert (refused.value.retry_after is None) == (amount > count)


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("", {}),
        ("sign_in=5/10", {"sign_in": Rate(5, 10)}),
        (
            " cost=9/0.5, ",
            {
                "cost": Rate(9, 0.5),
                "cost_trusted": Rate(18, 0.5),
                "cost_address": Rate(180, 0.5),
                "cost_client": Rate(1800, 0.5),
            },
        ),
        ("generate_address=9/60", {"generate_address": Rate(9, 60)}),
    ],
)
def test_rates_are_read_over_the_usual_ones_and_others_follow_them(text, changed):
    assert parse_rates(text) == DEFAULT_RATES | changed


def test_rates_can_be_turned_off():
    assert parse_rates("off") == {}


@pytest.mark.parametrize("text", ["sign_in", "sign_in=5", "dance=5/10", "sign_in=-1/10", "sign_in=0/10", "cost=1/0"])
def test_rates_of_another_form_are_refused(text):
    with pytest.raises(BadInput, match="COUNT/SECONDS"):
        parse_rates(text)
