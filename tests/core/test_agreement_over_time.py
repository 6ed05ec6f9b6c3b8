"""Agreement by day, week and month: equal to alpha from scratch over the same trees, each of which counts once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from core_people import until_ranking
from faults import Crashed, crash_after
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import agreement_over_time
from core.agreement import pooled_alpha
from core.ballots import Ballot
from core.errors import NothingToDo
from core.opinions import Ranking
from core.records import Message, Tree
from core.scoring import bucket
from core.sweeper import sweep_once

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
NAMES = (f"c{number}" for number in count())
REPLIES = ("a", "b", "c", "d")
RANKED = st.permutations(REPLIES).flatmap(lambda order: st.integers(0, 4).map(lambda size: tuple(order[:size])))
TREES = st.lists(st.tuples(st.integers(0, 40), st.lists(RANKED, min_size=1, max_size=4)), min_size=1, max_size=6)


def tree_of(identity: str, collection: str, orders) -> tuple[Tree, list[Message], list[Ranking]]:
    about = {"tree_id": identity, "lang": "en", "text": "x", "state": "accepted"}
    messages = [Message(id=identity, parent_id=None, role="prompter", **about)]
    messages += [Message(id=f"{identity}{each}", parent_id=identity, role="assistant", **about) for each in REPLIES]
    rankings = [
        Ranking(id=f"{identity}-{number}", tree_id=identity, parent_id=identity, not_rankable=not order,
                ranking=tuple(f"{identity}{each}" for each in order))
        for number, order in enumerate(orders)
    ]  # fmt: skip
    return Tree(id=identity, state="ready_for_export", lang="en", collection=collection), messages, rankings


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TREES)
async def test_periods_are_what_alpha_from_scratch_is(database, trees) -> None:
    collection, wanted = next(NAMES), {frame: {} for frame in agreement_over_time.FRAMES}
    for number, (days, orders) in enumerate(trees):
        moment = NOON - timedelta(days=days)
        tree, messages, rankings = tree_of(f"{collection}t{number}", collection, orders)
        for _ in range(2):  # told twice, worked in at any time
            await agreement_over_time.note(database, tree, messages, rankings, moment)
        if number % 2:
            await asyncio.gather(agreement_over_time.sweep(database), agreement_over_time.sweep(database))
        ballots = [Ballot.strict(order) for order in orders if len(order) > 1]
        if agreement_over_time.sums_of(messages, rankings) is not None:
            for frame, found in wanted.items():
                found.setdefault(bucket(frame, moment), []).append(ballots)
    await agreement_over_time.sweep(database)
    assert await agreement_over_time.sweep(database) == 0
    for frame, by_period in wanted.items():
        found, more = await agreement_over_time.periods(database, collection, frame, None, 100)
        assert not more
        assert [period for period, _ in found] == sorted(by_period, reverse=True)
        for period, sums in found:
            groups = by_period[period]
            assert sums.alpha == pytest.approx(pooled_alpha(groups), abs=1e-9)
            assert (sums.trees, sums.rankings) == (len(groups), sum(len(each) for each in groups))


async def test_a_crash_between_any_two_writes_adds_a_tree_once(database) -> None:
    orders = [("a", "b", "c"), ("b", "a", "c"), ("a", "b", "c")]
    await agreement_over_time.note(database, *tree_of("t", "default", orders), NOON)
    for limit in range(3):
        try:
            with crash_after(limit):
                await agreement_over_time.sweep(database)
        except Crashed:
            continue
    ((period, sums),), _ = await agreement_over_time.periods(database, "default", "day", None, 10)
    assert (period, sums.trees, sums.rankings) == ("2026-11-27", 1, 3)


def test_what_is_out_and_what_nobody_can_disagree_about_does_not_count() -> None:
    _, messages, rankings = tree_of("t", "default", [("a", "b"), ("b", "a")])
    assert agreement_over_time.sums_of(messages, rankings).rankings == 2
    gone = [replace(each, deleted=each.id == "ta") for each in messages]
    assert agreement_over_time.sums_of(gone, rankings) is None
    assert agreement_over_time.sums_of(messages, rankings[:1]) is None, "one ranker agrees with nobody"


async def test_a_tree_that_ends_counts_in_its_collection_once(collection, person) -> None:
    users = [await person(name) for name in ("ann", "bob", "cid", "dan", "eve", "fay")]
    tree_id = await until_ranking(collection, users[:4])
    orders = []
    for user in users:
        while True:
            try:
                task = await collection.request_task(user, "rank_assistant_replies", ["en"])
            except NothingToDo:
                break
            order = sorted(task.served, reverse=user.id == users[-1].id)
            await collection.submit_ranking(user, task.id, order)
            orders.append((task.target_id, Ballot.strict(order)))
    assert (await collection.tree(tree_id)).state == "ready_for_export"
    await sweep_once(collection.database, collection.config)
    await collection.react(users[0], tree_id, "clap")  # settles it again
    await sweep_once(collection.database, collection.config)
    groups = [[ballot for target, ballot in orders if target == one] for one in {target for target, _ in orders}]
    for frame in agreement_over_time.FRAMES:
        ((_, sums),), _ = await collection.agreement("default", frame, None, 10)
        assert (sums.trees, sums.sets, sums.rankings) == (1, len(groups), len(orders))
        assert sums.alpha == pytest.approx(pooled_alpha(groups))
