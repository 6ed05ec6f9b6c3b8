"""How stages and attempts end: success markers, outcomes, and which errors are final.

Knows the form of both objects and that each is written once; knows neither Ray nor what a stage does.
"""

from __future__ import annotations

import os
from typing import Any

from core import layout
from core.errors import Conflict, NotFound, OaError
from core.objects import ObjectStore
from jobs.claims import Cancelled, now


def read_success(store: ObjectStore, job_id: str, stage: str) -> dict[str, Any] | None:
    """A stage's success marker; None while it is not finished."""
    try:
        success: dict[str, Any] = store.get_json(layout.stage_success(job_id, stage))
    except NotFound:
        return None
    return success


def read_outcome(store: ObjectStore, job_id: str, attempt: int) -> dict[str, Any] | None:
    """How the training under a claim ended: `{"state", "error", "stage", "at"}`; None when it did not end itself."""
    try:
        outcome: dict[str, Any] = store.get_json(layout.outcome(job_id, attempt))
    except NotFound:
        return None
    return outcome


def is_final(error: Exception, size: int) -> bool:
    """Whether trying again cannot help.

    With several ranks any other error may be the echo of a lost peer (torch raises a RuntimeError then); alone, a
    stage that raises would raise again, unless the network did it.
    """
    if isinstance(error, Cancelled):
        return True
    if isinstance(error, OaError):
        return error.code != "UNAVAILABLE"
    return size == 1 and not isinstance(error, ConnectionError | TimeoutError)


def failure(error: Exception, stage: str) -> dict[str, Any]:
    """What `error`, met in `stage` (or in none, when that is empty), makes of the attempt."""
    if isinstance(error, Cancelled):
        return {"state": "cancelled", "error": None, "stage": stage or None}
    if isinstance(error, OaError):
        return {"state": "failed", "error": {"code": error.code, "message": error.message}, "stage": stage or None}
    message = f"stage {stage!r} ended in {type(error).__name__}: {error}"
    return {"state": "failed", "error": {"code": "STAGE_FAILED", "message": message}, "stage": stage or None}


def record(store: ObjectStore, job_id: str, attempt: int, outcome: dict[str, Any]) -> None:
    """Write the outcome once; of several ranks' errors the first one counts."""
    about = {**outcome, "attempt": attempt, "at": now(), "pid": os.getpid()}
    try:
        store.put_json(layout.outcome(job_id, attempt), about, if_absent=True)
    except Conflict:
        return
