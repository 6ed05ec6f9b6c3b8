"""Migrations: each applied once by its name, whatever the order of the list, also in stores that counted them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from core import database as stores
from core.database import migrate
from core.migrations import MIGRATIONS
from core.records import Message, now
from core.sketches import bands, packed, sketch

OPERATORS = Path(__file__).parents[2] / "docs" / "operator.md"


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


async def test_what_two_versions_at_once_left_is_mended_as_operators_are_told(database: Any) -> None:
    """As the version before stored a message and its author's points."""
    told = r"db\.(\w+)\.drop\(\)\ndb\.migrations\.deleteMany\(\{_id: \{\$in: (\[[^]]*\])"
    said = re.search(told, OPERATORS.read_text())
    assert said is not None
    again = re.findall(r'"([^"]+)"', said[2])
    text = "Why does bread rise, and why does salt slow it down?"
    message = Message(id="m", tree_id="m", parent_id=None, role="prompter", lang="en", text=text, author_id="ann")
    await database["messages"].insert_one(message.to_document())
    row = {"message_id": "m", "sketch": packed(sketch(text)), "tree_id": "m", "user_id": "ann", "lang": "en", "at": 1}
    rows = [row | {"_id": f"m|{number}", "band": f"{number}:{key}"} for number, key in enumerate(bands(sketch(text)))]
    await database["text_bands"].insert_many(rows)
    points = {"user_id": "ann", "changes": 1, "applied": ["labels|r"], "counts": {"labels": 1}, "trust_due": 1}
    await database["scores"].insert_one({"_id": "total|all|ann", "key": "total|all", **points})
    await database["credits"].insert_one({"_id": "labels|r", "tree_id": "m", "user_id": "ann"})
    await database[said[1]].drop()
    await database["migrations"].delete_many({"_id": {"$in": again}})
    assert await migrate(database) == again
    for name, key in (("message_words", "m"), ("text_bands", "m"), ("scores", "ann")):
        assert [each["_id"] async for each in database[name].find()] == [key], name
    assert "credits" not in await database.list_collection_names()
