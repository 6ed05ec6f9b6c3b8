"""Where everything lies in the object store. Pure: names only.

    datasets/<name>/<version>/manifest.json, *.parquet          frozen snapshots; manifest last; never changed
    freezing/<id>/ids.zst, part-<n>.zst                          parts of a snapshot that is being made; gone at its end
    queue/<job-id>.json                                          jobs that nobody has finished; removed with the result
    jobs/<job-id>/spec.json                                      what to run; written once
    jobs/<job-id>/cancel.json                                    a request to stop
    jobs/<job-id>/replies.jsonl                                  what a job of the stage `score` scores; gone at its end
    jobs/<job-id>/claims/<n>.json                                claim n: conditional put (If-None-Match), who and when
    jobs/<job-id>/claims/<n>.heartbeat.json                      overwritten by the holder of claim n alone
    jobs/<job-id>/events/<stage>/<attempt>-<seq>.jsonl           progress, metrics, log lines; append by new object
    jobs/<job-id>/checkpoints/<stage>/<step>-<n>/...             of claim n; complete only with its MANIFEST.json
    jobs/<job-id>/stages/<stage>/output/<n>/...                  what a stage made under claim n
    jobs/<job-id>/stages/<stage>/success.json                    the stage is complete: names its output; written once
    jobs/<job-id>/outcomes/<n>.json                              how the training under claim n ended
    jobs/<job-id>/result.json                                    outcome, per stage; written once
    models/<name>/<version>/manifest.json, card.md, hf/, onnx/   hashed; manifest last; loaded only if hashes match
    models/<name>/promoted.json                                  which version serves
    people/<user-id>/<name>.json.gz                              one's own data, for its person alone; kept a week

A stage's folder is `<index:02d>-<kind>`, for instance `00-sft`.
"""

from __future__ import annotations

import re

from core.errors import NotFound

SCORES_PREFIX = "scores-"
"""How the ids of jobs of the stage `score` begin: behind all others in the queue, and the API may remove them."""
SCORES = "scores.json"
"""File that the stage `score` leaves: message id -> score."""
_PART = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f\x7f]{1,200}")


def is_part(name: str) -> bool:
    """Whether `name` can be one step of a key. Others would lead out of where what they name lies, and callers write
    them: a name, a version, an id of a job or person."""
    return _PART.fullmatch(name) is not None


def _part(name: str) -> str:
    """`name`; raises `NotFound` where nothing can be called so."""
    if not is_part(name):
        raise NotFound(f"nothing is called {name[:80]!r}")
    return name


def dataset(name: str, version: str) -> str:
    """Prefix of a frozen snapshot."""
    return f"datasets/{_part(name)}/{_part(version)}/"


def dataset_manifest(name: str, version: str) -> str:
    """Key of a snapshot's manifest."""
    return f"{dataset(name, version)}manifest.json"


def freezing(identity: str) -> str:
    """Prefix of the parts of a snapshot that is being made."""
    return f"freezing/{_part(identity)}/"


def queue() -> str:
    """Prefix of the markers of jobs that nobody has finished."""
    return "queue/"


def queued(job_id: str) -> str:
    """Key of the marker that a job waits or runs."""
    return f"{queue()}{_part(job_id)}.json"


def job(job_id: str) -> str:
    """Prefix of everything of a job."""
    return f"jobs/{_part(job_id)}/"


def spec(job_id: str) -> str:
    """Key of a job's specification."""
    return f"{job(job_id)}spec.json"


def cancel(job_id: str) -> str:
    """Key whose presence asks the holder of a job to stop."""
    return f"{job(job_id)}cancel.json"


def replies(job_id: str) -> str:
    """Key of the replies that a job of the stage `score` scores."""
    return f"{job(job_id)}replies.jsonl"


def claims(job_id: str) -> str:
    """Prefix of a job's claims and heartbeats."""
    return f"{job(job_id)}claims/"


def claim(job_id: str, attempt: int) -> str:
    """Key of claim number `attempt` (from 1)."""
    return f"{job(job_id)}claims/{attempt:06d}.json"


def heartbeat(job_id: str, attempt: int) -> str:
    """Key of the heartbeat of claim number `attempt`."""
    return f"{job(job_id)}claims/{attempt:06d}.heartbeat.json"


def events(job_id: str, stage: str | None = None) -> str:
    """Prefix of a job's event objects, of one stage or of all."""
    return f"{job(job_id)}events/" + (f"{stage}/" if stage else "")


def event_batch(job_id: str, stage: str, attempt: int, seq: int) -> str:
    """Key of one batch of events; within a stage keys sort by attempt, then by time."""
    return f"{events(job_id, stage)}{attempt:06d}-{seq:08d}.jsonl"


def checkpoints(job_id: str, stage: str) -> str:
    """Prefix of a stage's checkpoints."""
    return f"{job(job_id)}checkpoints/{stage}/"


def checkpoint(job_id: str, stage: str, step: int, attempt: int) -> str:
    """Prefix of one checkpoint; two holders never write under the same one."""
    return f"{checkpoints(job_id, stage)}{step:08d}-{attempt:06d}/"


def stage_output(job_id: str, stage: str, attempt: int) -> str:
    """Prefix of the files that a stage made under claim `attempt`; two holders never write under the same one."""
    return f"{job(job_id)}stages/{stage}/output/{attempt:06d}/"


def outcome(job_id: str, attempt: int) -> str:
    """Key of how the training under claim `attempt` ended."""
    return f"{job(job_id)}outcomes/{attempt:06d}.json"


def stage_success(job_id: str, stage: str) -> str:
    """Key of a stage's success marker: its key, metrics and output."""
    return f"{job(job_id)}stages/{stage}/success.json"


def result(job_id: str) -> str:
    """Key of a job's outcome."""
    return f"{job(job_id)}result.json"


def model(name: str, version: str) -> str:
    """Prefix of a published model version."""
    return f"models/{_part(name)}/{_part(version)}/"


def model_manifest(name: str, version: str) -> str:
    """Key of a model version's manifest."""
    return f"{model(name, version)}manifest.json"


def promoted(name: str) -> str:
    """Key of the pointer to the version of `name` that serves."""
    return f"models/{_part(name)}/promoted.json"


def personal_exports(user_id: str) -> str:
    """Prefix of the exports of one person's data."""
    return f"people/{_part(user_id)}/"


def personal_export(user_id: str, name: str) -> str:
    """Key of one export of a person's data."""
    return f"{personal_exports(user_id)}{name}.json.gz"
