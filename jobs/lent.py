"""What a job that scores replies borrows: the reward model of another job, and its own list of replies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import layout
from core.errors import BadInput, NotFound
from core.job_objects import read_spec
from core.jobspec import JobSpec
from core.manifest import write_whole
from core.objects import ObjectStore
from jobs.outcomes import read_success

LENT = ("sft", "reward")
"""Stages that a reward model is made of."""


def lent_stages(store: ObjectStore, spec: JobSpec) -> dict[str, dict[str, Any]]:
    """Success markers, by kind, of the stages of other jobs that `spec` builds on; mostly none.

    Raises:
        NotFound: that job does not exist, or has trained no reward model.
        BadInput: it began from another base.
    """
    found: dict[str, dict[str, Any]] = {}
    for stage in spec.stages:
        if stage.kind != "score":
            continue
        job_id = stage.reward_job
        other = read_spec(store, job_id)
        if other.base != spec.base:
            raise BadInput(f"base is {spec.base!r}; job {job_id!r} began from {other.base!r}", path=("base",))
        for name, each in zip(other.stage_names(), other.stages, strict=True):
            if each.kind in LENT and (success := read_success(store, job_id, name)) is not None:
                found[each.kind] = success
        if "reward" not in found:
            raise NotFound(f"job {job_id!r} has no finished stage 'reward'", path=("stages", "0", "reward_job"))
    return found


def fetch_replies(store: ObjectStore, job_id: str, kind: str, folder: Path) -> Path | None:
    """A local copy of the replies that a `score` stage was given; None for other stages, and where there are none."""
    if kind != "score":
        return None
    path = folder / "replies.jsonl"
    try:
        write_whole(path, store.get(layout.replies(job_id)))
    except NotFound:
        return None
    return path
