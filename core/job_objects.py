"""A training job as the object store holds it: asking for one, asking it to stop, how far it is, what it says.

Everything that an API, a command line and a worker need to agree on lies in objects (docs/architecture.md, Seams), so
this module knows only those. Blocking; async callers use `asyncio.to_thread`. Does not know the document store, Ray or
what a stage does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from core import layout
from core.errors import BadInput, Conflict, NotFound
from core.job_records import JOB, STEPPED, JobEvent
from core.jobspec import JobSpec, SnapshotRef, parse_spec
from core.records import now

if TYPE_CHECKING:
    from core.objects import ObjectStore

log = logging.getLogger("oa.jobs")


@dataclass(frozen=True)
class Standing:
    """How a job stands: its state (`core.job_records.STATES`), claims so far, and its result if it has one."""

    state: str
    attempts: int
    cancel_requested: bool
    result: Mapping[str, Any] | None


def submit(store: ObjectStore, spec: JobSpec, job_id: str, *, by: str | None) -> JobSpec:
    """Ask for a job: its specification, then its place in the queue. Safe to repeat.

    Returns:
        the specification as written: where `spec` says `latest`, it names the snapshot's newest version. Asked for
        again, the version is the one of the first time.

    Raises:
        NotFound: a snapshot that it names is not there.
        Conflict: there is a job of this id with another specification.
    """
    written = _written(store, job_id)
    if written is None:
        chosen = spec.with_versions(_Newest(store))
        check_snapshots(store, chosen)
        try:
            store.put_json(layout.spec(job_id), chosen.model_dump(mode="json"), if_absent=True)
        except Conflict:  # somebody was quicker under the same id
            written = read_spec(store, job_id)
        else:
            written = chosen
    if not _asks_for(spec, written):
        raise Conflict(f"job {job_id!r} was asked for with another specification; take a new key")
    if not store.exists(layout.result(job_id)):
        store.put_json(layout.queued(job_id), {"job_id": job_id, "by": by, "at": now().isoformat()})
    return written


def _written(store: ObjectStore, job_id: str) -> JobSpec | None:
    return read_spec(store, job_id) if store.exists(layout.spec(job_id)) else None


def _asks_for(spec: JobSpec, written: JobSpec) -> bool:
    """Whether `spec` asks for the job `written`, whatever was the latest version then."""
    there = dict(enumerate(written.stages))

    def choose(index: int, wanted: SnapshotRef) -> str:
        dataset: SnapshotRef = getattr(there.get(index), "dataset", wanted)
        return dataset.version

    return spec.with_versions(choose) == written


class _Newest:
    """The newest version of each snapshot; one answer a name, so that all stages of a job read the same."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.known: dict[str, str] = {}

    def __call__(self, index: int, wanted: SnapshotRef) -> str:
        if wanted.name not in self.known:
            self.known[wanted.name] = self._find(index, wanted.name)
        return self.known[wanted.name]

    def _find(self, index: int, name: str) -> str:
        from core.snapshots import list_snapshots  # here: it brings Arrow, and most callers name a version

        found = list_snapshots(self.store, name)
        if not found:
            raise NotFound(
                f"stage {index} names the latest snapshot {name!r}, and there is none of that name; freeze it first "
                f"(oa snapshot freeze KIND {name}), or name one that is there",
                path=("stages", str(index), "dataset"),
            )
        version: str = found[0]["version"]
        return version


def check_snapshots(store: ObjectStore, spec: JobSpec) -> None:
    """Raise `NotFound` when a stage of `spec` names a snapshot that does not exist; says which stage and snapshot."""
    for index, stage in enumerate(spec.stages):
        wanted = getattr(stage, "dataset", None)
        if wanted is not None and not store.exists(layout.dataset_manifest(wanted.name, wanted.version)):
            store.check_bucket()  # S3 says of one object only that it is not there, be it for want of the bucket
            raise NotFound(
                f"stage {stage.kind!r} names snapshot {wanted.name!r} of version {wanted.version!r}, which does not "
                "exist; freeze it first, or name one that is there",
                path=("stages", str(index), "dataset"),
            )


def read_spec(store: ObjectStore, job_id: str) -> JobSpec:
    """A job's specification, or `NotFound`."""
    try:
        return parse_spec(store.get_json(layout.spec(job_id)))
    except NotFound as error:
        if error.code == "BUCKET_MISSING":
            raise
        raise NotFound(f"there is no job {job_id!r}") from error


def request_cancel(store: ObjectStore, job_id: str, *, by: str | None) -> None:
    """Ask a job to stop; one that has its result stays as it is."""
    read_spec(store, job_id)
    if not store.exists(layout.result(job_id)):
        store.put_json(layout.cancel(job_id), {"by": by, "at": now().isoformat()})


def read_result(store: ObjectStore, job_id: str) -> dict[str, Any] | None:
    """A job's result; None while it has none."""
    try:
        result: dict[str, Any] = store.get_json(layout.result(job_id))
    except NotFound:
        return None
    return result


def standing(store: ObjectStore, job_id: str) -> Standing:
    """How a job stands."""
    if result := read_result(store, job_id):
        return Standing(result["state"], result.get("attempts", 0), False, result)
    claims = layout.claims(job_id)
    attempts = max((int(item.key.removeprefix(claims)[:6]) for item in store.list(claims)), default=0)
    return Standing("running" if attempts else "queued", attempts, store.exists(layout.cancel(job_id)), None)


def queued_by(store: ObjectStore, job_id: str) -> str | None:
    """Who asked for a job that waits or runs; None where that is not known."""
    try:
        by: str | None = store.get_json(layout.queued(job_id)).get("by")
    except NotFound:
        return None
    return by


def job_ids(store: ObjectStore) -> Iterator[str]:
    """Ids of all jobs, one listing call each, however many objects a job has."""
    after = ""
    while item := next(store.list("jobs/", after=after), None):
        job_id = item.key.split("/")[1]
        yield job_id
        after = f"{layout.job(job_id)}~"


def read_events(
    store: ObjectStore, job_id: str, stages: Sequence[str], cursor: str | None = None
) -> tuple[list[JobEvent], str]:
    """What a job said behind `cursor`, in order of time, and the cursor behind all of it.

    A batch that a stale holder writes under a lower attempt sorts before the newer one's and is never read; of a step
    that is told twice in what is read now, the later telling is kept.

    Args:
        store: the object store.
        job_id: the job.
        stages: folder names of its stages.
        cursor: of an earlier event; None for the beginning.

    Raises:
        BadInput: the cursor is malformed.
    """
    marks = _parse_cursor(cursor)
    told: list[tuple[str, str, dict[str, Any]]] = []
    for stage in (JOB, *stages):
        told += _read_stage(store, job_id, stage, marks.get(stage))
    events: list[JobEvent] = []
    for stage, mark, body in sorted(_latest(told), key=lambda each: str(each[2].get("ts"))):
        marks[stage] = max(marks.get(stage, ""), mark)
        about = (stage, int(body.get("attempt", 0)), str(body.get("type", "log")), str(body.get("ts", "")))
        events.append(JobEvent(_format_cursor(marks), *about, body))
    for stage, mark, _ in told:
        marks[stage] = max(marks.get(stage, ""), mark)
    return events, _format_cursor(marks)


def _read_stage(
    store: ObjectStore, job_id: str, stage: str, mark: str | None
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Stage, mark and body of each event behind `mark` (`<attempt>-<seq>.<line>`), in the order told."""
    prefix = layout.events(job_id, stage)
    batch, _, line = (mark or "").partition(".")
    # The batch of the mark is read again, for the lines behind it: listing starts just before its key.
    for item in store.list(prefix, after=f"{prefix}{batch}" if batch else ""):
        name = item.key.removeprefix(prefix).removesuffix(".jsonl")
        for number, text in enumerate(store.get(item.key).splitlines()):
            if name == batch and number <= int(line):
                continue
            if (body := _parsed(text, item.key)) is not None:
                yield stage, f"{name}.{number:06d}", body


def _parsed(line: bytes, key: str) -> dict[str, Any] | None:
    try:
        body = orjson.loads(line)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        log.warning("object %s has a line that is no JSON object: %r", key, line[:80])
        return None
    return body


def _latest(told: Iterable[tuple[str, str, dict[str, Any]]]) -> list[tuple[str, str, dict[str, Any]]]:
    """`told` with one telling of each step: within a stage keys grow with the attempt, so the last one."""
    kept: dict[tuple[Any, ...], tuple[str, str, dict[str, Any]]] = {}
    for stage, mark, body in told:
        stepped = body.get("type") in STEPPED
        kept[(stage, body.get("type"), body.get("step")) if stepped else (stage, mark)] = (stage, mark, body)
    return list(kept.values())


def _format_cursor(marks: Mapping[str, str]) -> str:
    return ";".join(f"{stage}={mark}" for stage, mark in sorted(marks.items()))


def _parse_cursor(cursor: str | None) -> dict[str, str]:
    marks: dict[str, str] = {}
    for part in (cursor or "").split(";") if cursor else ():
        stage, equals, mark = part.partition("=")
        batch, dot, line = mark.partition(".")
        attempt, dash, seq = batch.partition("-")
        if not (stage and equals and dot and dash and all(each.isdecimal() for each in (attempt, seq, line))):
            raise BadInput(f"after is {str(cursor)[:80]!r}; it must be the cursor of an event", path=("after",))
        marks[stage] = mark
    return marks
