"""`/healthz`: the process answers. `/readyz`: so do the stores that it needs; 503 names those that do not, or says that
the process is about to stop.

Anybody may ask, so all who ask within a second get the answer to one look at the stores.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

DEADLINE = 3.0
"""Seconds that a store has to answer."""
KEPT = 1.0
"""Seconds for which a look at the stores is good."""


class Readiness:
    """Whether the stores answer, looked at once for all who ask while a look is under way or still good."""

    def __init__(self, database: Any, store: Any) -> None:
        self._database, self._store = database, store
        self._looking = asyncio.Lock()
        self._seen: tuple[bool, bool] = (False, False)
        self._until = 0.0

    async def look(self) -> tuple[bool, bool]:
        """Whether the document store and the object store answer, seen `KEPT` seconds ago at most."""
        async with self._looking:
            if time.monotonic() >= self._until:
                looks = _answers(_ping(self._database)), _answers(_bucket(self._store))
                documents, objects = await asyncio.gather(*looks)
                self._seen = (documents, objects)
                self._until = time.monotonic() + KEPT
            return self._seen


async def healthz(request: Request) -> JSONResponse:
    """200 while the process answers."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """200 when both stores answer, else 503; says which."""
    if request.app.state.draining.began:
        return JSONResponse({"status": "stopping"}, 503)
    parts = await request.app.state.readiness.look()
    ready = all(parts)
    named = {"document_store": _word(parts[0]), "object_store": _word(parts[1])}
    return JSONResponse({"status": "ready" if ready else "not ready", **named}, 200 if ready else 503)


def _word(answers: bool) -> str:
    return "answers" if answers else "does not answer"


async def _ping(database: Any) -> None:
    await database.command("ping")


async def _bucket(store: Any) -> None:
    await asyncio.to_thread(store.check_bucket)


async def _answers(check: Any) -> bool:
    try:
        await asyncio.wait_for(check, DEADLINE)
    except Exception:  # whatever keeps a store from answering makes us not ready
        return False
    return True
