"""Keeps replies that wait to be ranked scored by the reward model of the version that serves, by itself.

When a version is promoted whose job trained a reward model, that model becomes the judge. Replies that it has not
scored (`core.waiting_replies`) go to the workers, a batch at a time, as a job of the one stage `score`; what the job
says is stored and opens their ranking anew (`core.rewards`, `core.active_ranking`). A new judge scores all again, in
place of the old one; replies that come later are found by the next round. Texts lie in the object store only while
their job is under way.

Any number of processes may run this and be killed at any moment: one at a time goes on, by pushing `due` into the
future; the job's id is stored before anything of the job; a score counts once for a model and a message.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from core import job_objects, layout, rewards
from core.background import repeat
from core.config import CollectionConfig
from core.database import Database, aware
from core.errors import BadInput, NotFound
from core.ids import new_id
from core.journal import record
from core.models import load_version, promoted_versions
from core.records import Record, milliseconds, now
from core.runs import Runs
from core.waiting_replies import Row, waiting

if TYPE_CHECKING:
    from core.jobspec import JobSpec
    from core.objects import ObjectStore

log = logging.getLogger(__name__)
JOB_NAME = "reply-scores"
TAKEN = 120_000
"""Milliseconds for which a step is taken; one that a crash left is taken up then."""
POLL = 1_000
"""Milliseconds between two looks at a job that runs."""
UNCLAIMED = 3_600_000
"""Milliseconds after which a job that no worker has taken is taken back: texts do not lie about."""
AFTER_FAILURE = 3_600_000
"""Milliseconds until the next job after one that failed."""
STATE = "replies"
"""Id of the one document of `reply_scoring`."""


@dataclass(frozen=True, kw_only=True)
class Scoring(Record):
    """How far scoring is.

    Attributes:
        due: when to go on, in milliseconds since 1970.
        asked: the job whose scores are awaited: {"job_id", "model_version", "at"}.
        kept: the job before it, which stays until the next has ended, for whoever wants to see how it went.
        after: where the round is among the trees; None at its beginning.
    """

    due: int = 0
    asked: dict[str, Any] | None = None
    kept: str | None = None
    after: str | None = None


@dataclass(frozen=True)
class Judge:
    """A reward model: the published version `name@version` whose job trained it, and that job."""

    label: str
    job_id: str
    spec: JobSpec


async def run_reply_scores(database: Database, config: CollectionConfig, store: ObjectStore, seconds: float) -> None:
    """Keep replies scored until cancelled; a round begins `seconds` after the last one."""
    await repeat(lambda: go_on(database, config, store, seconds), min(seconds, POLL / 1000), "scoring of replies")


async def go_on(database: Database, config: CollectionConfig, store: ObjectStore, seconds: float) -> bool:
    """One step, if one is due: take a job's scores, or ask for the next job. Whether one was due."""
    database, pause = aware(database), round(1000 * seconds)
    taken = await _taken(database)
    if taken is None:
        return False
    if taken.asked is None:
        following = await _ask(database, store, taken, pause)
    else:
        following = await _collect(database, config, store, taken, taken.asked, pause)
    await _write(database, taken, following)
    return True


async def _taken(database: Database) -> Scoring | None:
    """Where to go on, by this process alone for a while; None while nothing is due."""
    document = await database["reply_scoring"].find_one({"_id": STATE})
    if document is None:
        document = Scoring(id=STATE).to_document()
        fields = {name: value for name, value in document.items() if name != "_id"}
        await database["reply_scoring"].update_one({"_id": STATE}, {"$setOnInsert": fields}, upsert=True)
    before, moment = Scoring.from_document(document), milliseconds(now())
    taken = replace(before, due=moment + TAKEN)
    return taken if before.due <= moment and await _write(database, before, taken) else None


async def _write(database: Database, before: Scoring, after: Scoring) -> bool:
    """Store `after`, if no other process has gone on from `before`."""
    guard = {"_id": STATE, "due": before.due}
    change = after.changes_from(before) or {"due": after.due}
    return (await database["reply_scoring"].update_one(guard, {"$set": change})).matched_count == 1


def find_judge(store: ObjectStore) -> Judge | None:
    """The reward model of the version promoted last, of those whose job trained one; None while there is none."""
    for name, version in promoted_versions(store):
        try:
            model = load_version(store, name, version)
            job_id = str(model.manifest.get("job_id") or "")
            spec = job_objects.read_spec(store, job_id)
        except (NotFound, BadInput):  # it was made elsewhere, or by an older form of job
            continue
        stages = [stage for stage, each in zip(spec.stage_names(), spec.stages, strict=True) if each.kind == "reward"]
        if any(store.exists(layout.stage_success(job_id, stage)) for stage in stages):
            return Judge(model.label, job_id, spec)
    return None


async def _ask(database: Database, store: ObjectStore, taken: Scoring, pause: int) -> Scoring:
    """Ask for the next job; or look again later, where nothing is to be scored, or nobody could."""
    moment = milliseconds(now())
    judge = await asyncio.to_thread(find_judge, store)
    if judge is None:
        return replace(taken, after=None, due=moment + pause)
    rows, after = await waiting(database, judge.label, taken.after)
    if not rows:
        return replace(taken, after=after, due=moment if after else moment + pause)
    job_id = f"{layout.SCORES_PREFIX}{new_id()}"
    noted = replace(taken, after=after, asked={"job_id": job_id, "model_version": judge.label, "at": moment})
    if not await _write(database, taken, noted):
        return taken
    await asyncio.to_thread(_submit, store, judge, job_id, rows)
    await Runs(database, store).get(job_id)  # operators see it at once
    return replace(noted, due=milliseconds(now()) + POLL)


def _submit(store: ObjectStore, judge: Judge, job_id: str, rows: list[Row]) -> None:
    from core.jobspec import JobSpec, ScoreStage

    store.put(layout.replies(job_id), b"".join(orjson.dumps(row) + b"\n" for row in rows))
    resources = judge.spec.resources.model_copy(update={"workers": 1})
    stages = (ScoreStage(reward_job=judge.job_id),)
    spec = JobSpec(name=JOB_NAME, base=judge.spec.base, seed=judge.spec.seed, stages=stages, resources=resources)
    job_objects.submit(store, spec, job_id, by=None)


async def _collect(
    database: Database, config: CollectionConfig, store: ObjectStore, taken: Scoring, asked: dict[str, Any], pause: int
) -> Scoring:
    """Take the scores of the job that was asked for, if it has ended."""
    moment, job_id = milliseconds(now()), str(asked["job_id"])
    result = await asyncio.to_thread(job_objects.read_result, store, job_id)
    if result is None:
        age = moment - int(asked["at"])
        if not await asyncio.to_thread(_left, store, job_id, age):
            return replace(taken, due=moment + POLL)
        await _remove(database, store, job_id)
        return replace(taken, asked=None, after=None, due=moment + (pause if age > UNCLAIMED else 0))
    await asyncio.to_thread(store.delete, layout.replies(job_id))
    if result["state"] == "succeeded":
        await _take(database, config, store, job_id, str(asked["model_version"]))
        following = replace(taken, asked=None, kept=job_id, due=moment)
    else:
        log.warning("job %s, which scores replies, ended as %s: %s", job_id, result["state"], result["error"])
        details = {"model_version": asked["model_version"], "state": result["state"], "error": result["error"]}
        await record(database, "reply_scoring_failed", job_id, details, key="")
        following = replace(taken, asked=None, kept=job_id, after=None, due=moment + max(pause, AFTER_FAILURE))
    if taken.kept is not None:
        await _remove(database, store, taken.kept)
    return following


def _left(store: ObjectStore, job_id: str, age: int) -> bool:
    """Whether the job will never end: a crash kept it from being asked for, or no worker takes it."""
    if not store.exists(layout.spec(job_id)):
        return True
    waits = store.exists(layout.queued(job_id)) and age <= UNCLAIMED
    return not waits and next(store.list(layout.claims(job_id)), None) is None


async def _remove(database: Database, store: ObjectStore, job_id: str) -> None:
    """Take the job out of the object store, then out of the list of jobs: one that is listed is not found anew."""
    for key in (layout.queued(job_id), layout.spec(job_id), layout.replies(job_id)):
        await asyncio.to_thread(store.delete, key)
    await asyncio.to_thread(store.delete_prefix, layout.job(job_id))
    await database["jobs"].delete_one({"_id": job_id})


async def _take(
    database: Database, config: CollectionConfig, store: ObjectStore, job_id: str, model_version: str
) -> None:
    """Store the job's scores; those of a model that is the judge no more are let go, and of messages that are gone."""
    judge = await asyncio.to_thread(find_judge, store)
    if judge is None or judge.label != model_version:
        return
    success = await asyncio.to_thread(store.get_json, layout.stage_success(job_id, "00-score"))
    scores: dict[str, float] = await asyncio.to_thread(store.get_json, success["output"] + layout.SCORES)
    ids = sorted(scores)
    for start in range(0, len(ids), rewards.MOST):
        part = ids[start : start + rewards.MOST]
        there = [each["_id"] async for each in database["messages"].find({"_id": {"$in": part}}, {"_id": 1})]
        if there:
            await rewards.register(database, config, model_version, {each: scores[each] for each in there})
