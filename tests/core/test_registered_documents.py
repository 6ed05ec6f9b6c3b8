"""Documents registered by clients: found by the hash of their text, the oldest given up first."""

from __future__ import annotations

import asyncio
import hashlib

from core.documents import LIFETIME, RegisteredDocuments
from core.times import moment, now


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_a_document_is_found_by_the_hash_of_its_text(database):
    documents = RegisteredDocuments(database)
    text = "{ viewer { user { displayName } } } # ünï"
    assert await documents.find(hash_of(text)) is None
    await documents.keep(text)
    await documents.keep(text)
    assert await documents.find(hash_of(text)) == text


async def test_the_oldest_go_first_when_there_are_too_many(database):
    documents = RegisteredDocuments(database, capacity=3)
    for number in range(5):
        await documents.keep(f"{{ a{number} }}")
        await asyncio.sleep(0.002)  # times are kept in whole milliseconds
    found = [await documents.find(hash_of(f"{{ a{number} }}")) is not None for number in range(5)]
    assert found == [False, False, True, True, True]


async def test_racing_registrations_keep_to_the_capacity(database):
    documents = RegisteredDocuments(database, capacity=4)
    await asyncio.gather(*(documents.keep(f"{{ a{number} }}") for number in range(12)))
    await documents.keep("{ last }")
    assert await database["documents"].count_documents({}) <= 4
    assert await documents.find(hash_of("{ last }")) == "{ last }"


async def test_the_store_is_told_when_to_forget(database):
    await RegisteredDocuments(database).keep("{ a }")
    document = await database["documents"].find_one({})
    assert abs(moment(document["expires_at"]) - now() - LIFETIME).total_seconds() < 60
    indexes = (await database["documents"].index_information()).values()
    assert [each["expireAfterSeconds"] for each in indexes if "expireAfterSeconds" in each] == [0]
