"""The journal: what concerns which language, and what was written before entries said so."""

from __future__ import annotations

from typing import Any

from core.database import migrate
from core.journal import EVERY_LANG, events_page, record


async def kinds(database: Any, *langs: str) -> list[str]:
    """Kinds of the acts that are shown for these languages, newest first."""
    found, _ = await events_page(database, langs=langs)
    return [event.kind for event in found]


async def test_acts_are_shown_by_what_language_they_concern(database: Any) -> None:
    for kind, lang in (("one", "en"), ("two", "de"), ("three", EVERY_LANG), ("four", "")):
        await record(database, kind, "subject", {}, lang=lang)
    assert await kinds(database) == ["four", "three", "two", "one"]
    assert await kinds(database, "en") == ["three", "one"]
    assert await kinds(database, "de", "en") == ["three", "two", "one"]
    assert await kinds(database, "fr") == ["three"]
    found, more = await events_page(database, subject="subject", langs=["en"], first=1)
    assert ([event.kind for event in found], more) == (["three"], True)


async def test_older_entries_get_the_language_of_what_they_concern(database: Any) -> None:
    await database["messages"].insert_one({"_id": "m", "lang": "en"})
    await database["trees"].insert_one({"_id": "t", "lang": "de"})
    for kind, subject in (("delete_message", "m"), ("halt_tree", "t"), ("set_notes", "u"), ("create_client", "c")):
        await record(database, kind, subject, {})
    await database["events"].update_many({}, {"$unset": {"lang": ""}})
    await database["migrations"].delete_one({"_id": "languages of the journal's entries"})
    assert await migrate(database) == ["languages of the journal's entries"]
    assert await kinds(database, "en") == ["set_notes", "delete_message"]
    assert await kinds(database, "de") == ["set_notes", "halt_tree"]
    assert len(await kinds(database)) == 4
