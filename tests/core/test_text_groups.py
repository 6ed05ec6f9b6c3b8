"""Groups of alike texts, page by page back in time: none is missed, wherever pages end."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest

from core import text_groups
from core.alike import Group
from core.errors import BadInput
from core.records import milliseconds, now
from core.sketches import BAND_NAMES
from core.text_groups import groups_page

HOUR = timedelta(hours=1)


def texts(keys: list[str], times: list[int], lang: str = "en") -> list[dict]:
    """What is kept of texts, each by somebody else, in order; alike are those of one key."""
    return [
        {"_id": f"m{number:03d}", "user_id": f"u{number}", "tree_id": "t", "lang": lang, "at": at, BAND_NAMES[3]: key}
        for number, (key, at) in enumerate(zip(keys, times, strict=True))
    ]


async def all_pages(database, first: int, until: datetime, **asked) -> list[list[Group]]:
    pages, after, more = [], None, True
    while more:
        page = await groups_page(database, HOUR, 3, until=until, after=after, first=first, **asked)
        assert len(page.items) <= first
        pages.append([group for _, group in page.items])
        after, more = page.end or (page.items[-1][0] if page.items else None), page.has_next
        assert len(pages) < 100
    return pages


async def test_no_flood_is_missed_wherever_pages_end(database, monkeypatch) -> None:
    monkeypatch.setattr(text_groups, "GROUPED", 10)
    monkeypatch.setattr(text_groups, "MARGIN", 5)
    until = now()
    for seed in range(12):
        chance = random.Random(seed)
        keys: list[str] = []
        while len(keys) < 60:
            if chance.random() < 0.3:
                keys += [f"flood {len(keys)}"] * chance.randint(3, 6)
            else:
                keys.append(f"text {len(keys)}")
        gaps = [chance.choice((0, 0, 1, 1000)) for _ in keys] if seed % 2 else [1] * len(keys)
        times = [milliseconds(until) - sum(gaps[number:]) for number in range(len(keys))]
        rows = texts(keys, times)
        await database["text_bands"].delete_many({})
        await database["text_bands"].insert_many(rows)
        expected = {
            key: {row["_id"] for row in rows if row[BAND_NAMES[3]] == key} for key in keys if key.startswith("flood")
        }
        for first in (1, 2, 50):
            found = [set(group.message_ids) for page in await all_pages(database, first, until) for group in page]
            whole = {key for key, wanted in expected.items() if wanted in found}
            assert whole == set(expected), (seed, first)
            assert all(any(each <= wanted for wanted in expected.values()) for each in found), "no others"


async def test_pages_go_back_as_far_as_was_asked_and_new_texts_shift_nothing(database, monkeypatch) -> None:
    monkeypatch.setattr(text_groups, "GROUPED", 4)
    until = now()
    minute = 60_000
    ages = [90, 80, 70, 50, 40, 30, 20, 10, 5]
    times = [milliseconds(until) - age * minute for age in ages]
    await database["text_bands"].insert_many(texts(["old"] * 3 + ["a"] * 3 + ["b"] * 3, times))
    newest = await groups_page(database, HOUR, 3, until=until, first=1)
    assert [group.message_ids for _, group in newest.items] == [("m006", "m007", "m008")]
    later = [row | {"_id": f"later {row['_id']}"} for row in texts(["b"] * 9, [milliseconds(now()) + minute] * 9)]
    await database["text_bands"].insert_many(later)
    older = await groups_page(database, HOUR, 3, after=newest.end, first=1)
    assert [group.message_ids for _, group in older.items] == [("m003", "m004", "m005")]
    assert (newest.has_next, older.has_next) == (True, False)
    everywhere = await all_pages(database, 5, until - HOUR)
    assert [group.message_ids for page in everywhere for group in page] == [("m000", "m001", "m002")]
    assert await all_pages(database, 5, until, langs=("de",)) == [[]]


@pytest.mark.parametrize("after", ["", "1|2", "a|b|c", "1|2|3|4"])
async def test_what_is_no_cursor_is_refused(database, after) -> None:
    with pytest.raises(BadInput, match="no cursor of this list"):
        await groups_page(database, HOUR, 3, after=after)
