"""`/healthz`: the process answers. `/readyz`: so do the stores that it needs; 503 names those that do not, or says that
the process is about to stop."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from .view import services_of

DEADLINE = 3.0
"""Seconds that a store has to answer."""


async def healthz(request: Request) -> JSONResponse:
    """200 while the process answers."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """200 when both stores answer, else 503; says which."""
    if request.app.state.draining.began:
        return JSONResponse({"status": "stopping"}, 503)
    services = services_of(request)
    parts = await asyncio.gather(_answers(_ping(services.database)), _answers(_bucket(services.store)))
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
