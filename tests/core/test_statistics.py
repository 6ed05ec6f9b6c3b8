"""Counts of everything, walked through in pieces by several at once, against counting all."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import timedelta

from core import statistics
from core.pools import DEFAULT
from core.records import MESSAGE_STATES, Message, Tree, User, now


async def fill(database) -> tuple[list[Message], list[Tree], list[User]]:
    """Some of everything."""
    chance = random.Random(4)
    messages = [
        Message(
            id=f"m{n}", tree_id="t", parent_id=None, role=chance.choice(("prompter", "assistant")), text="x",
            lang=chance.choice(("en", "pt-BR")), state=chance.choice(MESSAGE_STATES), deleted=chance.random() < 0.3,
            synthetic=chance.random() < 0.3, content_hash="gold:1" if n < 5 else "",
        )
        for n in range(60)
    ]  # fmt: skip
    trees = [
        Tree(
            id=f"t{n}", lang=chance.choice(("en", "de")), state=chance.choice(("growing", "ranking")),
            collection=chance.choice((DEFAULT, "poems")),
        )
        for n in range(20)
    ]  # fmt: skip
    users = [
        User(
            id=f"u{n}", auth_method="t", subject=str(n), display_name="x", enabled=chance.random() < 0.8,
            deleted=chance.random() < 0.1, terms_version=chance.choice((None, "1")),
            last_activity_at=chance.choice((None, now(), now() - timedelta(days=3), now() - timedelta(days=99))),
            roles=("service",) if n == 0 else ("contributor",),
        )
        for n in range(30)
    ]  # fmt: skip
    for name, records in (("messages", messages), ("trees", trees), ("users", users)):
        await database[name].insert_many([each.to_document() for each in records])
    return messages, trees, users


def rows(found: statistics.Statistics) -> tuple[dict, dict]:
    """Messages and trees by what they are."""
    of_messages = {
        (each.lang, each.role, each.state): (each.human, each.synthetic, each.removed) for each in found.messages
    }
    return of_messages, {(each.collection, each.lang, each.state): each.count for each in found.trees}


async def test_each_is_counted_once_whoever_walks(database, monkeypatch) -> None:
    messages, trees, users = await fill(database)
    assert await statistics.statistics(database) is None
    monkeypatch.setattr(statistics, "STEP", 7)
    while (found := await statistics.statistics(database)) is None:
        await asyncio.gather(*(statistics.sweep(database) for _ in range(4)))
    seen = [each for each in messages if not each.content_hash]
    expected: dict[tuple, list[int]] = {}
    for each in seen:
        place = 2 if each.deleted else int(each.synthetic)
        expected.setdefault((each.lang, each.role, each.state), [0, 0, 0])[place] += 1
    of_messages, of_trees = rows(found)
    assert of_messages == {key: tuple(value) for key, value in expected.items()}
    assert of_trees == Counter((each.collection, each.lang, each.state) for each in trees)
    here = [each for each in users[1:] if not each.deleted]
    active = [now() - each.last_activity_at for each in here if each.last_activity_at is not None]
    assert found.people == {
        "all": len(here), "left": sum(each.deleted for each in users[1:]),
        "banned": sum(not each.enabled for each in here),
        "accepted_terms": sum(each.terms_version is not None for each in here),
        "active_day": sum(ago < timedelta(days=1) for ago in active),
        "active_week": sum(ago < timedelta(days=7) for ago in active),
        "active_month": sum(ago < timedelta(days=30) for ago in active),
    }  # fmt: skip


async def test_a_step_reads_no_more_than_it_may_and_walks_pause(database, monkeypatch) -> None:
    await fill(database)
    monkeypatch.setattr(statistics, "STEP", 10)
    assert 10 <= await statistics.sweep(database) < 20
    while await statistics.statistics(database) is None:
        await statistics.sweep(database)
    assert await statistics.sweep(database) == 0
    await database["trees"].delete_many({})
    await database["statistics"].update_one({"_id": "walk"}, {"$set": {"due": 0}})
    while (found := await statistics.statistics(database)) is not None and found.trees:
        await statistics.sweep(database)
    assert found is not None
    assert sum(each.human for each in found.messages) > 0
