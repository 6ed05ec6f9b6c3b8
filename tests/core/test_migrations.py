"""Migrations: each applied once by its name, whatever the order of the list, also in stores that counted them."""

from __future__ import annotations

from typing import Any

import pytest

from core import database as stores
from core.database import migrate
from core.migrations import MIGRATIONS
from core.records import now


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Puts nothing but notes of what ran in the place of the migrations; `ran` fills it."""
    ran: list[str] = []
    monkeypatch.setattr(stores, "MIGRATIONS", tuple(noting(name, ran) for name, _ in MIGRATIONS))
    return ran


def noting(name: str, ran: list[str]) -> tuple[str, Any]:
    async def apply(_: Any) -> None:
        ran.append(name)

    return name, apply


def test_every_migration_has_a_name_of_its_own() -> None:
    names = [name for name, _ in MIGRATIONS]
    assert len(names) == len(set(names))


async def test_a_store_that_was_migrated_by_count_keeps_what_it_had(database: Any, applied: list[str]) -> None:
    await database["migrations"].delete_many({})
    old = [name for name, _ in MIGRATIONS[:-2]]
    for number, name in enumerate(old, start=1):
        await database["migrations"].insert_one({"_id": number, "name": name, "at": now()})
    missing = [name for name, _ in MIGRATIONS[-2:]]
    assert await migrate(database) == applied == missing
    assert await migrate(database) == []
    assert {each["_id"] async for each in database["migrations"].find()} == {*range(1, len(old) + 1), *missing}


async def test_migrations_of_two_branches_are_both_applied(
    database: Any, applied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    common = stores.MIGRATIONS
    ours, theirs = noting("ours", applied), noting("theirs", applied)
    monkeypatch.setattr(stores, "MIGRATIONS", (*common, ours))
    assert await migrate(database) == ["ours"]
    monkeypatch.setattr(stores, "MIGRATIONS", (*common, theirs, ours))
    assert await migrate(database) == ["theirs"]
    assert applied == ["ours", "theirs"]
