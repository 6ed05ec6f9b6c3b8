"""Training jobs as the API sees them: launching, cancelling, listing, following.

The truth about a job lies in the object store (`core.job_objects`); the collection `jobs` mirrors it, so that lists
and pages cost a read by key. Whatever the mirror misses is found again by `mirror_once`. Does not know workers or Ray.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from core import job_objects, journal
from core.background import repeat
from core.chat_records import derived_id
from core.errors import BadInput, OaError
from core.ids import new_id
from core.job_records import Job, JobEvent, new_job, with_events, with_standing
from core.jobspec import parse_spec

if TYPE_CHECKING:
    from core.database import Database
    from core.objects import ObjectStore

log = logging.getLogger("oa.jobs")

MAX_KEY = 200
"""Characters of an idempotency key."""


class Runs:
    """All jobs.

    Args:
        database: the document store.
        store: the object store.
    """

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self.database = database
        self.store = store

    async def launch(self, spec: Any, *, by: str | None, idempotency_key: str | None = None) -> Job:
        """Ask for a job; with a key that asked for one already, that one.

        Args:
            spec: the specification, as parsed JSON; a snapshot's version `latest` becomes the newest there is.
            by: id of the user.
            idempotency_key: at most `MAX_KEY` characters.

        Raises:
            BadInput: the specification is wrong (`BAD_SPEC`).
            NotFound: it names a snapshot that does not exist.
            Conflict: the key asked for another specification.
        """
        parsed = parse_spec(spec)
        if idempotency_key is not None and not 1 <= len(idempotency_key) <= MAX_KEY:
            raise BadInput(
                f"idempotency_key has {len(idempotency_key)} characters; 1 to {MAX_KEY}", path=("idempotency_key",)
            )
        job_id = derived_id("job", by or "", idempotency_key) if idempotency_key else new_id()
        written = await asyncio.to_thread(job_objects.submit, self.store, parsed, job_id, by=by)
        await self._insert(new_job(job_id, written, by))
        await journal.record(self.database, "launch_job", job_id, {"name": parsed.name}, by=by, key="launch")
        return await self.get(job_id)

    async def cancel(self, job_id: str, *, by: str | None) -> Job:
        """Ask a job to stop; a finished one stays as it is."""
        await asyncio.to_thread(job_objects.request_cancel, self.store, job_id, by=by)
        await journal.record(self.database, "cancel_job", job_id, {}, by=by, key="cancel")
        return await self.get(job_id)

    async def get(self, job_id: str) -> Job:
        """A job as it stands now.

        Raises:
            NotFound: there is none of that id.
        """
        document = await self.database.jobs.find_one({"_id": job_id})
        if document is None:
            await self._adopt(job_id)
            document = await self.database.jobs.find_one({"_id": job_id}) or {}
        job = Job.from_document(document)
        return job if job.ended else await self._mirror(job)

    async def page(self, *, first: int = 20, after: str | None = None) -> list[Job]:
        """Up to `first` jobs as mirrored, newest first, those behind the one whose `by_time` is `after`."""
        older = {"by_time": {"$lt": after}} if after else {}
        found = self.database.jobs.find(older).sort("by_time", -1).limit(first)
        return [Job.from_document(document) async for document in found]

    async def events(self, job_id: str, after: str | None = None) -> AsyncIterator[JobEvent | Job]:
        """What a job says behind the cursor `after`, as it comes; then the job with its result, then nothing more.

        Raises:
            NotFound: there is no such job.
            BadInput: the cursor is malformed.
        """
        job, cursor, pause = await self.get(job_id), after, 0.2
        stages = job.stage_names()
        while True:
            # Whether it has ended is asked first: then what is read next is all that it said.
            ended = await asyncio.to_thread(job_objects.read_result, self.store, job_id)
            fresh, cursor = await asyncio.to_thread(job_objects.read_events, self.store, job_id, stages, cursor)
            for event in fresh:
                yield event
            if ended:
                yield await self.get(job_id)
                return
            pause = 0.2 if fresh else min(pause * 1.5, 2.0)
            await asyncio.sleep(pause)

    async def mirror_once(self, *, everything: bool = False) -> int:
        """Bring the mirror of unfinished jobs up to date; returns how many there are.

        Args:
            everything: look for jobs that the mirror has never seen too, one listing call a job.
        """
        if everything:
            for job_id in await asyncio.to_thread(lambda: list(job_objects.job_ids(self.store))):
                if await self.database.jobs.find_one({"_id": job_id}) is None:
                    await self._adopt_if_sound(job_id)
        jobs = [Job.from_document(document) async for document in self.database.jobs.find({"open": True})]
        for job in jobs:
            await self._mirror(job)
        return len(jobs)

    async def run_mirror(self, seconds: float = 2.0) -> None:
        """Mirror for ever; a round that fails is logged, and the next one tried. Every thirtieth looks at all jobs."""
        turns = count()
        await repeat(lambda: self.mirror_once(everything=next(turns) % 30 == 0), seconds, "the mirror of jobs")

    async def _adopt_if_sound(self, job_id: str) -> None:
        try:
            await self._adopt(job_id)
        except OaError as error:
            log.warning("job %s is not mirrored: %s", job_id, error)

    async def _adopt(self, job_id: str) -> None:
        """Mirror a job that was launched elsewhere."""
        spec = await asyncio.to_thread(job_objects.read_spec, self.store, job_id)
        by = await asyncio.to_thread(job_objects.queued_by, self.store, job_id)
        await self._insert(new_job(job_id, spec, by))

    async def _insert(self, job: Job) -> None:
        document = job.to_document()
        await self.database.jobs.update_one({"_id": document.pop("_id")}, {"$setOnInsert": document}, upsert=True)

    async def _mirror(self, job: Job) -> Job:
        """The job as it stands now, written down."""
        stands = await asyncio.to_thread(job_objects.standing, self.store, job.id)
        told, cursor = await asyncio.to_thread(
            job_objects.read_events, self.store, job.id, job.stage_names(), job.cursor or None
        )
        fresh = replace(with_standing(with_events(job, told), stands), cursor=cursor)
        if fresh != job:
            document = fresh.to_document()
            change: dict[str, Any] = {"$set": document}
            if fresh.ended:
                change["$unset"] = {"open": ""}
            await self.database.jobs.update_one({"_id": document.pop("_id"), "open": True}, change)
        return fresh
