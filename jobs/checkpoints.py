"""A stage's checkpoints in the object store: files first, a hashed MANIFEST.json last, the newest two kept.

Knows how to save, verify, fall back and retire; not what is in a checkpoint. A broken or half-written one is passed
over in favour of the one before it. Each lies under step and attempt, so that a process which lost its claim a moment
ago cannot mix its files into those of its successor.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from core import layout, manifest
from core.errors import Corrupt, NotFound, OaError
from core.objects import ObjectStore

MANIFEST = "MANIFEST.json"
_FOLDER = re.compile(r"(\d{8})-(\d{6})/")


class StoreCheckpoints:
    """Checkpoints of one stage; a `jobs.context.Checkpoints`.

    Args:
        store: the object store.
        job_id: the job.
        stage: the stage's folder name.
        attempt: the claim under which this saves.
        key: the stage key; a checkpoint that was made under another is refused.
        cache: local folder for fetched checkpoints.
        check: called before anything is written; raises `StageStopped` when this process may write no more.
        on_save: called with the step of each checkpoint that is complete.
        writes: whether `save` keeps anything (only the first rank's does).
        keep: how many complete ones stay.
    """

    def __init__(
        self,
        store: ObjectStore,
        job_id: str,
        stage: str,
        attempt: int,
        key: str,
        cache: Path,
        *,
        check: Callable[[], None] = lambda: None,
        on_save: Callable[[int], None] = lambda step: None,
        on_broken: Callable[[str], None] = lambda message: None,
        writes: bool = True,
        keep: int = 2,
    ) -> None:
        self._store, self._job_id, self._stage, self._attempt, self._key = store, job_id, stage, attempt, key
        self._cache, self._check, self._on_save, self._on_broken = cache, check, on_save, on_broken
        self._writes, self._keep = writes, keep
        self._prefix = layout.checkpoints(job_id, stage)

    def latest(self) -> tuple[int, Path] | None:
        """The newest complete checkpoint that verifies: its step and a local copy; None when there is none.

        Raises:
            OaError: (code `STAGE_CHANGED`) it was made with other settings or inputs.
        """
        for step, attempt in reversed(self._complete()):
            folder = self._cache / f"{step:08d}-{attempt:06d}"
            prefix = layout.checkpoint(self._job_id, self._stage, step, attempt)
            try:
                found = manifest.fetch(self._store, prefix, folder, name=MANIFEST)
            except (Corrupt, NotFound) as error:
                self._on_broken(f"checkpoint of step {step} is broken, the one before it is tried: {error.message}")
                shutil.rmtree(folder, ignore_errors=True)
                continue
            if found.get("key") != self._key:
                message = f"checkpoint of stage {self._stage!r}, step {step}, was made with other settings or inputs"
                raise OaError(f"{message}; launch a new job for the new ones", code="STAGE_CHANGED")
            return step, folder
        return None

    def save(self, step: int, folder: Path) -> None:
        """Keep a copy of `folder` as the checkpoint of `step`; returns when it is complete in the store."""
        if not self._writes:
            return
        self._check()
        about = {"format": 1, "stage": self._stage, "step": step, "attempt": self._attempt, "key": self._key}
        prefix = layout.checkpoint(self._job_id, self._stage, step, self._attempt)
        manifest.publish(self._store, folder, prefix, about, name=MANIFEST)
        self._on_save(step)
        self._retire()

    def clear(self) -> None:
        """Remove every checkpoint of the stage: it is finished, and its output is complete."""
        if self._writes:
            self._store.delete_prefix(self._prefix)
        shutil.rmtree(self._cache, ignore_errors=True)

    def _complete(self) -> list[tuple[int, int]]:
        """(step, attempt) of each checkpoint with a manifest, oldest first."""
        keys = (item.key for item in self._store.list(self._prefix) if item.key.endswith(f"/{MANIFEST}"))
        found = (_FOLDER.fullmatch(key.removeprefix(self._prefix).removesuffix(MANIFEST)) for key in keys)
        return sorted((int(match[1]), int(match[2])) for match in found if match)

    def _retire(self) -> None:
        complete = self._complete()
        for step, attempt in complete[: -self._keep]:
            prefix = layout.checkpoint(self._job_id, self._stage, step, attempt)
            # The manifest goes first: what is left of a removal that was cut short is no checkpoint.
            self._store.delete(prefix + MANIFEST)
            self._store.delete_prefix(prefix)
            shutil.rmtree(self._cache / f"{step:08d}-{attempt:06d}", ignore_errors=True)
