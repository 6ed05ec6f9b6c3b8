"""The list of personal data is whole: collections, fields and objects; and the export and leaving follow it."""

from __future__ import annotations

import gzip
import importlib
import json
import pkgutil
import re
from dataclasses import fields
from pathlib import Path

import core
from core import layout, own_data
from core.chat_records import Chat, ChatMessage
from core.departures import carry_out, depart
from core.errands import run_once
from core.job_records import Job
from core.people import People
from core.personal_data import DELETED, EXPORTED, HOLDINGS, NOTHING, OBJECTS, Holding, collection_of_part, personal
from core.records import Record

ROOT = Path(core.__file__).parents[1]
USED = re.compile(r'database(?:\["(\w+)"\]|\.(\w+)\.(?:find|insert|update|delete|bulk|aggregate|replace|count|create))')
STORED = {
    "User": "users", "Tree": "trees", "Message": "messages", "Task": "tasks", "Review": "reviews",
    "Ranking": "rankings", "Reaction": "reactions", "Report": "reports", "FreeLabels": "free_labels",
    "Work": "work", "Appeal": "appeals",
    "DataExport": "data_exports", "Lesson": "lessons", "Departure": "departures", "GoldItem": "gold",
    "CollectionRecord": "collections", "TreeCredits": "tree_credits", "ModerationItem": "moderation_items",
    "Client": "oauth_clients", "Session": "sessions", "Code": "oauth_codes", "DeviceGrant": "oauth_devices",
    "ApiKey": "api_keys", "Attempt": "sign_in_attempts", "Purge": "purges", "Chat": "chats",
    "ChatMessage": "chat_messages", "Job": "jobs", "Scoring": "reply_scoring",
    "Freeze": "freezes",
}  # fmt: skip
NAMES_SOMEBODY = re.compile(r"^(by|subject|linked)$|user(?!_code)|author|owner|person|_by$|service_id")
HOLDS_WORDS = re.compile(r"^(text|draft|answer|notes|title|name|words|comment|message)$|reason|display_name|_prompt$")
HARMLESS = {
    "oauth_clients": {"public_keys"},
    "messages": {"cleared", "judgement", "consensus", "reward", "emojis", "labels", "base"},
    "trees": {"num_reviews_prompt", "enough", "heard"}, "free_labels": {"labels"},
    "reviews": {"labels"}, "gold": {"answers", "order"}, "purges": {"trees"},
    "collections": {"changes"}, "data_exports": {"name"}, "jobs": {"spec", "metrics", "stages", "error", "model"},
    "chat_messages": {"error", "draft"}, "moderation_items": {"reason"}, "reply_scoring": {"asked"},
    "freezes": {"tally"},
}  # fmt: skip
"""Fields of free form, or of such a name, that hold counts, labels, settings or names of files; by collection."""


def records() -> dict[str, type]:
    """Every class of records that is kept, by name."""
    for module in pkgutil.iter_modules(core.__path__):
        importlib.import_module(f"core.{module.name}")
    found, waiting = {"Chat": Chat, "ChatMessage": ChatMessage, "Job": Job}, [Record]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            if kind.__module__.startswith("core."):
                found[kind.__name__] = kind
                waiting.append(kind)
    return found


def collections_in_code() -> set[str]:
    found: set[str] = set()
    for room in ("core", "api", "graphql_schema", "jobs", "oa", "serving"):
        for file in (ROOT / room).rglob("*.py"):
            found |= {name or dotted for name, dotted in USED.findall(file.read_text("utf-8"))}
    return found


async def test_every_collection_is_in_the_list_and_nothing_else(database) -> None:
    there = set(await database.list_collection_names()) | collections_in_code()
    assert there == set(HOLDINGS) | NOTHING, "say in core.personal_data what it holds of people"
    assert not set(HOLDINGS) & NOTHING


def test_every_field_that_names_somebody_or_holds_words_is_in_the_list() -> None:
    kinds = records()
    assert set(kinds) == set(STORED), "say here where it is kept"
    missing = []
    for kind, collection in STORED.items():
        holding, harmless = HOLDINGS.get(collection) or Holding(), HARMLESS.get(collection, set())
        listed = {*holding.people, *holding.words, *harmless}
        for each in fields(kinds[kind]):
            free = re.search(r"\b(dict|Mapping|Any)\b", str(each.type)) is not None
            if (free or NAMES_SOMEBODY.search(each.name) or HOLDS_WORDS.search(each.name)) and each.name not in listed:
                missing.append(f"{collection}.{each.name}")
    assert missing == [], "who sees it, and what becomes of it? see core.personal_data"


def test_every_holding_says_what_the_export_has_and_what_leaving_does() -> None:
    for name, holding in HOLDINGS.items():
        assert bool(holding.part) != bool(holding.unexported), name
        assert holding.leaving, name
        assert holding.people or holding.words, name
        assert holding.by or not holding.part, name
    assert {"sessions", "scores", "raters", "identities"} <= {name for name, _ in personal()}


def test_every_family_of_objects_is_in_the_list() -> None:
    keys = re.findall(r'"(\w+)/', Path(layout.__file__).read_text("utf-8"))
    assert set(keys) == set(OBJECTS)


def planted(user_id: str) -> dict[str, dict[str, str]]:
    """A document of a person for each part of the export."""
    return {
        part: {"_id": f"{part}-{user_id}"} | {holding.by: f"{user_id}|1" if holding.ordered else user_id}
        for part, holding in EXPORTED.items()
        if part != "account"
    }


async def test_the_export_has_every_part_of_its_person_and_of_nobody_else(database, config, person, store) -> None:
    ann, bob = await person("ann"), await person("bob")
    for user in (ann, bob):
        for part, document in planted(user.id).items():
            await database[collection_of_part(part)].insert_one(dict(document))
    people = People(database, config, store)
    await people.request_export(ann)
    await run_once(database, config, store)
    made, _ = await people.export_of(ann)
    data = json.loads(gzip.decompress(store.get(layout.personal_export(ann.id, made.name))))
    for part, document in planted(ann.id).items():
        assert document["_id"] in {each["id"] for each in data[part]}, part
    assert bob.id not in json.dumps(data)
    assert set(own_data.mine(ann.id)) == set(EXPORTED)


async def test_leaving_deletes_what_the_list_says_is_deleted(database, config, person, store) -> None:
    ann, bob = await person("ann"), await person("bob")
    for user in (ann, bob):
        for name, key in personal():
            await database[name].insert_one({"_id": f"{name}-{user.id}"} | {key: user.id})
    departure = await depart(database, ann, False)
    await carry_out(database, config, store, departure)
    for name, _ in personal():
        assert HOLDINGS[name].leaving == DELETED
        left = [str(each) async for each in database[name].find()]
        assert not any(ann.id in each for each in left), name
        assert any(bob.id in each for each in left), name
