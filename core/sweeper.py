"""The background step: finishes what a crash left half done, returns overdue places, draws the lottery, deletes what
was kept for long enough.

Everything here may run in any number of processes at once and be stopped at any moment.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pymongo.errors import PyMongoError

from core import agreement_over_time, answers, appeals, promotion, retention, rules, statistics, tasks, text_changes
from core.background import repeat
from core.config import CollectionConfig
from core.database import Database, aware, is_silent
from core.errors import OaError
from core.growth import activate_backlog, run_lottery
from core.pools import collection_of
from core.records import Task, deadline_key, milliseconds, now
from core.retention import Retention
from core.rules import collections, rules_of
from core.settle import settle, settle_prompts
from core.work import available
from core.work_records import Work

log = logging.getLogger(__name__)
BATCH = 200
"""Documents of one sort that a sweep looks at."""
KEPT = Retention()
"""What is kept for how long where nothing else is said."""


@dataclass
class Swept:
    """What one sweep did."""

    applied: int = 0
    expired: int = 0
    settled: int = 0
    won: int = 0
    activated: int = 0
    texts: int = 0
    appeals: int = 0
    changed: int = 0
    trusted: int = 0
    agreed: int = 0
    deleted: int = 0
    counted: int = 0
    failures: list[str] = field(default_factory=list)


async def sweep_once(
    database: Database, config: CollectionConfig, chance: random.Random | None = None, kept: Retention = KEPT
) -> Swept:
    """One round over all that may be left undone; what cannot be done now is in `failures` and tried next time.

    A part that fails stops no other. A store that does not answer stops all: there is nothing to be done without it.
    """
    database, chance = aware(database), chance or random.Random()  # noqa: S311 - a lottery, not a secret
    swept = Swept()
    with _going_on(swept, "answers"):
        await _apply_answers(database, config, swept)
    with _going_on(swept, "leases"):
        await _expire(database, config, swept)
        await _expire_orphans(database, swept)
    with _going_on(swept, "trees"):
        await _settle_dirty(database, config, swept)
    with _going_on(swept, "agreement"):
        swept.agreed += await agreement_over_time.sweep(database)
    with _going_on(swept, "statistics"):
        swept.counted += await statistics.sweep(database)
    with _going_on(swept, "trust"):
        swept.trusted += await promotion.sweep(database, config)
    with _going_on(swept, "texts"):
        for note in await text_changes.overdue(database):
            with _going_on(swept, f"text {note['_id']}"):
                await text_changes.heal(database, config, note)
                swept.texts += 1
    with _going_on(swept, "appeals"):
        swept.appeals += await appeals.sweep(database, config)
    with _going_on(swept, "rules"):
        swept.changed += await rules.sweep(database)
    with _going_on(swept, "retention"):
        swept.deleted += await retention.sweep(database, kept, now())
    pools: list[str] = []
    with _going_on(swept, "pools"):
        pools = await _pools(database)
    for pool in pools:
        with _going_on(swept, f"pool {pool}"):
            swept.won += len(await run_lottery(database, config, pool, chance))
            swept.activated += await _activate(database, config, pool)
            await settle_prompts(database, config, pool)
    return swept


@contextmanager
def _going_on(swept: Swept, part: str) -> Iterator[None]:
    """Note what fails and go on: what nobody foresaw, too, or one record that is not as it should be would keep all
    that comes after it from being healed, in every process."""
    try:
        yield
    except OaError as error:
        swept.failures.append(f"{part}: {error.message}")
    except Exception as error:
        if isinstance(error, PyMongoError) and is_silent(error):
            raise
        log.exception("sweep: %s", part)
        swept.failures.append(f"{part}: {type(error).__name__}")


async def _apply_answers(database: Database, config: CollectionConfig, swept: Swept) -> None:
    query = {"deadline": {"$gte": "answered|", "$lt": "answered}"}}
    async for document in database["tasks"].find(query).limit(BATCH):
        with _going_on(swept, f"task {document['_id']}"):
            await answers.apply(database, config, Task.from_document(document))
            swept.applied += 1


async def _expire(database: Database, config: CollectionConfig, swept: Swept) -> None:
    overdue = {"check_at": {"$lte": milliseconds(now())}}
    async for document in database["work"].find(overdue).sort("check_at").limit(BATCH):
        with _going_on(swept, f"work {document['_id']}"):
            await tasks.expire(database, config, Work.from_document(document))
            swept.expired += 1


async def _expire_orphans(database: Database, swept: Swept) -> None:
    """End overdue tasks whose work is gone: it was closed while they were in people's hands."""
    overdue = {"deadline": {"$gte": "open|", "$lt": deadline_key("open", now())}}
    async for document in database["tasks"].find(overdue).sort("deadline").limit(BATCH):
        swept.expired += await tasks.move(database, Task.from_document(document), "expired")


async def _settle_dirty(database: Database, config: CollectionConfig, swept: Swept) -> None:
    dirty = [tree["_id"] async for tree in database["trees"].find({"dirty": True}, {"_id": 1}).limit(BATCH)]
    for tree_id in dirty:
        with _going_on(swept, f"tree {tree_id}"):
            if await settle(database, config, tree_id) is None:
                swept.failures.append(f"tree {tree_id} changes too fast to settle")
            swept.settled += 1


async def _pools(database: Database) -> list[str]:
    """Pools with trees that wait for the lottery or in the backlog, or in which prompts are asked for.

    One read a pool: from each found, on to the first key beyond it.
    """
    pools: set[str] = set()
    for state in ("prompt_lottery_waiting", "backlog_ranking"):
        after = f"{state}|"
        while found := await _first(database, "trees", "by_state_lang", after, f"{state}}}"):
            pool = found.split("|")[1]
            pools.add(pool)
            after = f"{state}|{pool}}}"
    asked = database["work"].find({"tree_id": None})
    pools |= {Work.from_document(work).pool async for work in asked}
    known = await collections(database)
    return sorted(pool for pool in pools if collection_of(pool) in known)


async def _first(database: Database, name: str, key: str, start: str, end: str) -> str | None:
    query = {key: {"$gte": start, "$lt": end}}
    async for document in database[name].find(query, {key: 1}).sort(key).limit(1):
        return str(document[key])
    return None


async def _activate(database: Database, config: CollectionConfig, pool: str) -> int:
    """Bring backlog trees into ranking until enough sets of siblings are open in this pool."""
    config = await rules_of(database, config, collection_of(pool))
    activated = 0
    while activated < config.active_rankings:
        kinds = ("rank_assistant_replies", "rank_prompter_replies")
        open_sets = sum([await available(database, kind, [pool], "") for kind in kinds])
        if open_sets >= config.active_rankings:
            break
        if await activate_backlog(database, config, pool) is None:
            break
        activated += 1
    return activated


async def run_sweeper(
    database: Database, config: CollectionConfig, seconds: float = 5.0, done: Callable[[], None] = lambda: None,
    kept: Retention = KEPT,
) -> None:  # fmt: skip
    """Sweep every `seconds` until cancelled; a store that does not answer is tried again next time.

    `done` is called at the end of each round that went through.
    """

    async def once() -> None:
        swept = await sweep_once(database, config, kept=kept)
        for failure in swept.failures:
            log.warning("sweep: %s", failure)
        done()

    await repeat(once, seconds, "a sweep")
