"""The model versions that a node holds now: which one answers a name, and who still uses an old one.

Knows names, versions and leases. Does not know where versions come from (`serving.sync`). Lives on the event loop:
nothing here is called from another thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from core.errors import NotFound, Unavailable
from serving.engine import Engine
from serving.model_files import ModelFiles

log = logging.getLogger(__name__)


@dataclass(eq=False)
class ServedModel:
    """One loaded version."""

    name: str
    version: str
    files: ModelFiles
    engine: Engine
    loaded_at: int = field(default_factory=lambda: int(time.time()))
    leases: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def label(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    def lease(self) -> None:
        """Keep it loaded until `release`."""
        self.leases += 1
        self._idle.clear()

    def release(self) -> None:
        """Give a lease back."""
        self.leases -= 1
        if self.leases == 0:
            self._idle.set()

    async def unload(self) -> None:
        """Wait until nobody uses it, then end its engine."""
        while self.leases:
            await self._idle.wait()
        await asyncio.to_thread(self.engine.close)
        log.info("model %s unloaded", self.label)


class Models:
    """The versions that answer.

    Args:
        names: that this node is to serve.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._current: dict[str, ServedModel] = {}
        self._unloading: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(list(self._current.values()))

    def get(self, name: str) -> ServedModel | None:
        """The version of `name` that answers now."""
        return self._current.get(name)

    def lease(self, wanted: str) -> ServedModel:
        """The model that `wanted` (`name` or `name@version`) means, leased: the caller must `release` it.

        Raises:
            Unavailable: with code `NO_MODEL`: a name of this node of which no version is loaded yet.
            NotFound: with code `NO_MODEL`: any other name or version.
        """
        name, _, version = wanted.partition("@")
        model = self._current.get(name)
        if model is None and name in self.names:
            raise Unavailable(f"no version of model {name!r} is promoted or loaded yet", code="NO_MODEL", retry_after=5)
        if model is None or version not in ("", model.version):
            serving = ", ".join(item.label for item in self) or "no model"
            raise NotFound(f"model {wanted!r} is not served here; this node serves {serving}", code="NO_MODEL")
        model.lease()
        return model

    def switch(self, model: ServedModel) -> None:
        """Let `model` answer its name from now on; the version before it goes when its last reply has ended."""
        old = self._current.get(model.name)
        self._current[model.name] = model
        log.info("model %s answers now%s", model.label, f", {old.label} drains" if old else "")
        if old is not None:
            task = asyncio.create_task(old.unload())
            self._unloading.add(task)
            task.add_done_callback(self._unloading.discard)

    async def close(self) -> None:
        """End every engine; replies under way fail."""
        for task in self._unloading:
            task.cancel()
        for model in self:
            await asyncio.to_thread(model.engine.close)
        self._current.clear()
