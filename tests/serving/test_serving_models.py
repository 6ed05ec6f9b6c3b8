"""Leases and switching: an old version lives exactly as long as somebody uses it, and leaves no memory behind."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from serving_kit import SMALL

from core.errors import NotFound, Unavailable
from serving.engine import Engine
from serving.models import Models, ServedModel
from serving.replies import Replies
from serving.requests import Request


def served(files, version):
    return ServedModel("assistant", version, files, Engine(files, SMALL))


async def test_an_old_version_goes_when_its_last_lease_is_given_back(files):
    models = Models(["assistant"])
    models.switch(served(files, "v1"))
    first, second = models.lease("assistant"), models.lease("assistant@v1")
    assert first is second
    models.switch(served(files, "v2"))
    assert models.lease("assistant").version == "v2"
    with pytest.raises(NotFound, match="assistant@v2"):
        models.lease("assistant@v1")
    first.release()
    replies = Replies(first, [Request((5, 6), 3, ignore_eos=True)])
    text = [event.finish async for _, event in replies][-1]
    assert text == "length", "still alive: one lease is out"
    replies.close()
    replies.close()
    await asyncio.to_thread(first.engine._thread.join, 20)
    assert not first.engine.alive
    assert second.leases == 0
    engine = weakref.ref(first.engine)
    del first, second, replies
    # The thread's last words to the loop hold the engine until the loop has heard them.
    async with asyncio.timeout(20):
        while engine() is not None:
            await asyncio.sleep(0.01)
            gc.collect()
    await models.close()


async def test_names_that_are_not_there():
    models = Models(["assistant"])
    with pytest.raises(Unavailable) as soon:
        models.lease("assistant")
    assert (soon.value.code, soon.value.retry_after) == ("NO_MODEL", 5)
    with pytest.raises(NotFound) as never:
        models.lease("other")
    assert never.value.code == "NO_MODEL"


async def test_closing_ends_every_engine_and_fails_its_replies(files):
    models = Models(["assistant"])
    models.switch(served(files, "v1"))
    model = models.lease("assistant")
    replies = Replies(model, [Request((5, 6), 8000, ignore_eos=True)])
    await models.close()
    with pytest.raises(Unavailable):
        async for _ in replies:
            pass
    assert not model.engine.alive
    with pytest.raises(Unavailable):
        Replies(model, [Request((5,), 1)])
