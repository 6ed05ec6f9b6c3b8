"""What takes its time and is done in the background: accounts being deleted, exports of one's own data, purges,
marks that follow a consent; and what is left of freezes that nobody goes on with is removed.

Any number of processes may run this at once and stop at any moment: each errand may be repeated, and is taken for a
while by pushing its key into the future, so that two seldom do the same.
"""

from __future__ import annotations

from core import consent, departures, freezes, own_data, purge, score_marks
from core.background import repeat
from core.config import CollectionConfig
from core.database import Database, aware
from core.departures import Departure
from core.objects import ObjectStore
from core.people_records import DataExport
from core.purge import Purge
from core.records import milliseconds, now

TAKEN = 120_000
"""Milliseconds for which an errand is taken; one that a crash left is taken up then."""


async def run_once(database: Database, config: CollectionConfig, store: ObjectStore | None) -> int:
    """Do what is due; returns how much that was."""
    database, done = aware(database), 0
    found = database["departures"].find({"open": {"$lte": milliseconds(now())}}).limit(10)
    for document in [each async for each in found]:
        if await _take(database, "departures", "open", document):
            await departures.carry_out(database, config, store, Departure.from_document(document))
            done += 1
    found = database["purges"].find({"open": {"$lte": milliseconds(now())}}).limit(10)
    for document in [each async for each in found]:
        if await _take(database, "purges", "open", document):
            await purge.carry_out(database, config, store, Purge.from_document(document))
            done += 1
    await score_marks.renew_if_due(database)
    if store is None:
        return done
    for name in ("users", "chats"):
        found = database[name].find({"consent_due": {"$lte": milliseconds(now())}}).limit(10)
        for document in [each async for each in found]:
            if await _take(database, name, "consent_due", document):
                await consent.follow(database, store, name, document["_id"])
                done += 1
    found = database["data_exports"].find({"due": {"$lte": milliseconds(now())}}).limit(10)
    for document in [each async for each in found]:
        if await _take(database, "data_exports", "due", document):
            await own_data.work_on(database, store, DataExport.from_document(document))
            done += 1
    return done + await freezes.tidy(database, store)


async def _take(database: Database, name: str, key: str, document: dict[str, object]) -> bool:
    guard = {"_id": document["_id"], key: document[key]}
    result = await database[name].update_one(guard, {"$set": {key: milliseconds(now()) + TAKEN}})
    return result.matched_count == 1


async def run_errands(database: Database, config: CollectionConfig, store: ObjectStore, seconds: float = 5.0) -> None:
    """Run errands every `seconds` until cancelled; what fails is taken up again later."""
    await repeat(lambda: run_once(database, config, store), seconds, "a round of errands")
