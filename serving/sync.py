"""Follows what is promoted in the object store, and keeps a verified copy on this machine.

Looks at `models/<name>/promoted.json` every few seconds. A new version's `onnx/` folder is fetched by its manifest,
every file checked by hash, loaded and run once beside the one that serves; only then do new requests go to it. What
cannot be verified or loaded is refused and said so, and the one before goes on serving. When the object store does not
answer at start, the copy from last time serves, after its hashes were checked again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from core import layout, manifest
from core.errors import BadInput, Corrupt, NotFound, OaError, Unavailable
from core.objects import ObjectStore, file_sha256
from serving.engine import Engine
from serving.metrics import NodeMetrics
from serving.model_files import ModelFiles, read_json
from serving.models import Models, ServedModel
from serving.settings import ServingSettings

log = logging.getLogger(__name__)

VERSION = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
LONGEST_RETRY = 300.0
PROMOTED = "promoted.json"
MANIFEST = "manifest.json"
ONNX = "onnx/"


@dataclass
class Refusal:
    """A version that did not load: how often it was tried, and when to try again."""

    version: str
    tries: int
    again_at: float


class ModelSync:
    """Keeps `models` at what the object store promotes.

    Args:
        store: where models are published.
        models: the node's; this changes them, on the event loop.
        settings: names, cache folder, engine options, time between looks.
        metrics: counts refusals, and observes each engine.
    """

    def __init__(self, store: ObjectStore, models: Models, settings: ServingSettings, metrics: NodeMetrics) -> None:
        self._store = store
        self._models = models
        self._settings = settings
        self._metrics = metrics
        self._refused: dict[str, Refusal] = {}
        self._silent = False

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            for name in self._models.names:
                await self._look(name)
            await asyncio.sleep(self._settings.poll_seconds * random.uniform(0.8, 1.2))  # noqa: S311 - only jitter

    async def _look(self, name: str) -> None:
        try:
            await self.follow(name)
            self._silent = False
        except Unavailable as error:
            if not self._silent:
                log.warning("the object store cannot be read; what is loaded goes on serving: %s", error)
            self._silent = True
            if self._models.get(name) is None:
                await self._from_cache(name)
        except OaError as error:
            log.error("model %s: %s: %s", name, error.code, error)
        except Exception:
            log.exception("model %s could not be followed", name)

    async def follow(self, name: str) -> None:
        """Look once; load and switch when another version is promoted.

        Raises:
            Unavailable: the object store does not answer.
            Corrupt: the pointer is not one.
        """
        version = await asyncio.to_thread(self._promoted, name)
        current = self._models.get(name)
        if version is None or (current is not None and current.version == version) or self._put_off(name, version):
            return
        try:
            folder = await asyncio.to_thread(self._fetch, name, version)
            model = await asyncio.to_thread(self._load, name, version, folder)
        except Unavailable:
            raise
        except Exception as error:
            self._refuse(name, version, error)
            return
        self._refused.pop(name, None)
        self._models.switch(model)
        await asyncio.to_thread(self._settle, name, version, current.version if current else None)

    async def _from_cache(self, name: str) -> None:
        """Serve the copy from last time."""
        folder = self._settings.cache / name
        if not (folder / PROMOTED).is_file():
            return
        try:
            version = pointed(orjson.loads((folder / PROMOTED).read_bytes()), name)
            await asyncio.to_thread(verify, folder / version)
            model = await asyncio.to_thread(self._load, name, version, folder / version)
        except Exception as error:
            log.error("the local copy of model %s cannot serve: %s", name, error)
            return
        log.warning("model %s serves from the local copy", model.label)
        self._models.switch(model)

    def _promoted(self, name: str) -> str | None:
        try:
            return pointed(self._store.get_json(layout.promoted(name)), name)
        except NotFound as error:
            if error.code == "BUCKET_MISSING":
                raise Unavailable(error.message) from error
            return None

    def _fetch(self, name: str, version: str) -> Path:
        folder = self._settings.cache / name / version
        log.info("fetching model %s@%s", name, version)
        found = manifest.fetch(self._store, layout.model(name, version), folder, only=ONNX)
        (folder / MANIFEST).write_bytes(orjson.dumps(found))
        return folder

    def _load(self, name: str, version: str, folder: Path) -> ServedModel:
        started = time.monotonic()
        files = ModelFiles(folder / "onnx")
        engine = Engine(files, self._settings.engine, self._metrics.of(f"{name}@{version}"))
        log.info("model %s@%s loaded in %.1f s", name, version, time.monotonic() - started)
        return ServedModel(name, version, files, engine)

    def _put_off(self, name: str, version: str) -> bool:
        refusal = self._refused.get(name)
        return refusal is not None and refusal.version == version and time.monotonic() < refusal.again_at

    def _refuse(self, name: str, version: str, error: Exception) -> None:
        """Remember, so that a broken version is not fetched again at every look."""
        before = self._refused.get(name)
        tries = before.tries + 1 if before and before.version == version else 1
        wait = min(LONGEST_RETRY, self._settings.poll_seconds * 2**tries)
        self._refused[name] = Refusal(version, tries, time.monotonic() + wait)
        self._metrics.refused.add(model=name)
        current = self._models.get(name)
        keeps = f"{current.label} goes on serving" if current else "nothing serves that name"
        code = error.code if isinstance(error, OaError) else type(error).__name__
        log.error("model %s@%s refused, %s; next try in %.0f s: %s: %s", name, version, keeps, wait, code, error)

    def _settle(self, name: str, version: str, previous: str | None) -> None:
        """Note locally what serves, and remove versions other than it and the one before."""
        folder = self._settings.cache / name
        partial = folder / f".{PROMOTED}.part"
        partial.write_bytes(orjson.dumps({"version": version}))
        partial.replace(folder / PROMOTED)
        for old in folder.iterdir():
            if old.is_dir() and old.name not in (version, previous):
                shutil.rmtree(old, ignore_errors=True)


def pointed(value: object, name: str) -> str:
    """The version that a parsed `promoted.json` names. Threat: a version that is a path out of the cache folder."""
    version = value.get("version") if isinstance(value, dict) else None
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        raise Corrupt(f"{layout.promoted(name)} names no version: {value!r}")
    return version


def verify(folder: Path) -> None:
    """Check the local copy of a version against its manifest.

    Raises:
        Corrupt: a file is not what the manifest says.
        BadInput: there is no manifest.
    """
    listed = [entry for entry in manifest.entries(read_json(folder / MANIFEST)) if entry.path.startswith(ONNX)]
    if not listed:
        raise BadInput(f"{folder / MANIFEST} lists no file under {ONNX}")
    for entry in listed:
        path = folder / entry.path
        if not path.is_file() or file_sha256(path) != entry.sha256:
            raise Corrupt(f"{path} does not match its hash")
