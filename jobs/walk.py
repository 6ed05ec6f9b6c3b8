"""One rank's way through the stages of a job: skip what is done, resume what was begun, keep what is made.

Knows stage keys, success markers, checkpoints, outputs, gates and who may write; does not know Ray (`jobs.runner`
starts a walk on every rank) nor what a stage does. Every rank walks the same way; the first one alone writes.
"""

from __future__ import annotations

import fcntl
import importlib
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from core import layout, manifest
from core.errors import BadInput, Conflict, NotFound, OaError
from core.jobspec import JobSpec
from core.objects import ObjectStore
from jobs.checkpoints import StoreCheckpoints
from jobs.claims import Cancelled, Fence, Lease, LeaseLost, now
from jobs.context import Reporter, StageContext, StageOutput, StageResult, World
from jobs.events import NullReporter, StoreReporter
from jobs.lent import fetch_replies, lent_stages
from jobs.outcomes import failure, is_final, read_outcome, read_success, record
from jobs.stage_keys import base_identity, published_base, snapshot_hashes, stage_keys

DEFAULT_STAGES = "jobs.stages:STAGES"
T = TypeVar("T")
StageFunction = Callable[[StageContext, Any], StageResult]


@dataclass(frozen=True)
class Run:
    """One attempt at a job, as it travels to the ranks.

    Attributes:
        store: the object store; pickled by address, never with credentials.
        job_id: the job.
        attempt: the claim under which this runs, from 1.
        spec: what to do.
        stages: `module:attribute` of the table that gives each stage kind its function (the seam for other stages).
        cache: local folder for bases, snapshots and scratch; each node uses its own of that name.
        threads: processor threads of each rank.
        lease: the timing of claims.
    """

    store: ObjectStore
    job_id: str
    attempt: int
    spec: JobSpec
    cache: Path
    stages: str = DEFAULT_STAGES
    threads: int = 1
    lease: Lease = field(default_factory=Lease)


class Gang(Protocol):
    """The ranks of one run, agreeing."""

    def barrier(self) -> None:
        """Return when every rank is here."""

    def first_says(self, value: bool) -> bool:
        """What the first rank says; every rank must ask."""


class Alone:
    """A gang of one."""

    def barrier(self) -> None:
        """Nobody to wait for."""

    def first_says(self, value: bool) -> bool:
        """One's own word."""
        return value


def walk(run: Run, world: World, gang: Gang) -> None:
    """Run the stages of `run.spec` that are not done; the first rank then writes the attempt's outcome.

    What cannot be cured by trying again (a gate, a wrong spec, a change of settings, a cancellation) is written as
    the outcome. What can (a lost peer, an object store that does not answer) is raised, for the caller to retry.
    With several ranks a final error is raised too, after it is written, because the others may be waiting for this
    rank in a collective; the replacement finds the outcome and returns at once.
    """
    fence = Fence(run.store, run.job_id, run.attempt, run.lease)
    if gang.first_says(world.rank == 0 and _is_over(run, fence)):
        return
    journey = Walk(run, world, gang, fence)
    try:
        journey.go()
    except LeaseLost:
        if world.size > 1:
            raise
    except Exception as error:
        if not is_final(error, world.size):
            raise
        record(run.store, run.job_id, run.attempt, failure(error, journey.stage))
        if world.size > 1:
            raise
    else:
        if world.rank == 0:
            record(run.store, run.job_id, run.attempt, {"state": "succeeded", "error": None, "stage": None})


@dataclass
class Walk:
    """The state of one rank's walk."""

    run: Run
    world: World
    gang: Gang
    fence: Fence
    stage: str = ""
    _kept: dict[str, Path] = field(default_factory=dict)

    def go(self) -> None:
        """Walk all stages.

        Raises:
            OaError: `STAGE_CHANGED`, `GATE_FAILED` and whatever a stage raises.
            StageStopped: the job was cancelled, or is another worker's now.
        """
        run = self.run
        functions = load_stages(run.stages)
        snapshots = snapshot_hashes(run.store, run.spec)
        keys = stage_keys(run.job_id, run.spec, base_identity(run.store, run.spec.base), snapshots)
        done = lent_stages(run.store, run.spec)
        for name, config, key in zip(run.spec.stage_names(), run.spec.stages, keys, strict=True):
            self.stage = name
            # Nobody may read a marker while the first rank writes it, or the ranks part ways.
            self.gang.barrier()
            success = read_success(run.store, run.job_id, name)
            if success is None:
                self._execute(name, config, key, _function(functions, config.kind), done, keys)
                self.gang.barrier()
                success = read_success(run.store, run.job_id, name)
            elif self.world.rank == 0:
                self._say_skipped(name, success, key)
            if success is None or success["key"] != key:
                raise OaError(
                    f"stage {name!r} was finished with other settings or inputs; launch a new job for the new ones",
                    code="STAGE_CHANGED",
                )
            done[config.kind] = success
        shutil.rmtree(self._job_folder(), ignore_errors=True)

    def _say_skipped(self, name: str, success: dict[str, Any], key: str) -> None:
        if success["key"] == key:
            with StoreReporter(self.run.store, self.run.job_id, name, self.run.attempt) as report:
                report.state("skipped", f"finished under attempt {success['attempt']}")

    def _execute(
        self,
        name: str,
        config: Any,
        key: str,
        function: StageFunction,
        done: Mapping[str, dict[str, Any]],
        keys: list[str],
    ) -> None:
        run, first = self.run, self.world.rank == 0
        workdir = self._job_folder() / name / f"rank-{self.world.rank:04d}"
        workdir.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with self._reporter(name) as report:
            checkpoints = self._checkpoints(name, key, report)
            context = StageContext(
                job_id=run.job_id,
                stage=name,
                attempt=run.attempt,
                seed=run.spec.seed,
                base=self._base(),
                workdir=workdir,
                world=self.world,
                outputs=Lazy(done, lambda kind: self._output(done[kind])),
                datasets=Lazy(self._dataset_names(), self._dataset),
                report=report,
                checkpoints=checkpoints,
                check_stop=self.fence.check if first else _go_on,
                publish_as=(run.spec.name, key[:12]) if config.kind == "export" else None,
                replies=fetch_replies(run.store, run.job_id, config.kind, workdir),
                lineage=self._lineage(keys),
            )
            _state(report, "running")
            result = function(context, config)
            if first:
                self._keep(context, config.kind, key, result, time.monotonic() - started)
                _state(report, "succeeded", **{"metrics": result.metrics})
                checkpoints.clear()

    @contextmanager
    def _reporter(self, name: str) -> Iterator[Reporter]:
        if self.world.rank != 0:
            yield NullReporter()
            return
        with StoreReporter(self.run.store, self.run.job_id, name, self.run.attempt) as report:
            try:
                yield report
            except Exception as error:
                report.state("failed", f"{type(error).__name__}: {error}")
                if not isinstance(error, OaError | Cancelled | LeaseLost):
                    report.log(traceback.format_exc())
                raise

    def _checkpoints(self, name: str, key: str, report: Reporter) -> StoreCheckpoints:
        return StoreCheckpoints(
            self.run.store,
            self.run.job_id,
            name,
            self.run.attempt,
            key,
            self._job_folder() / name / f"checkpoints-{self.world.rank:04d}",
            check=lambda: self.fence.check(now=True),
            on_save=lambda step: report.checkpoint(step) if isinstance(report, StoreReporter) else None,
            on_broken=report.log,
            writes=self.world.rank == 0,
        )

    def _keep(self, context: StageContext, kind: str, key: str, result: StageResult, seconds: float) -> None:
        """Upload what the stage made, then its success marker: the stage is done when that is there."""
        run = self.run
        self.fence.check(now=True)
        if context.publish_as is None:
            prefix = layout.stage_output(run.job_id, context.stage, run.attempt)
            made = manifest.publish(run.store, result.folder, prefix, {"key": key, "stage": context.stage})
        else:
            prefix = layout.model(*context.publish_as)
            made = self._publish_model(prefix, result)
        success = {
            "format": 1,
            "stage": context.stage,
            "kind": kind,
            "key": key,
            "attempt": run.attempt,
            "output": prefix,
            "content_hash": made["content_hash"],
            "metrics": result.metrics,
            "info": result.info if context.publish_as is None else {},
            "model": _model(context.publish_as),
            "seconds": round(seconds, 3),
            "at": now(),
        }
        self.fence.check(now=True)
        try:
            run.store.put_json(layout.stage_success(run.job_id, context.stage), success, if_absent=True)
        except Conflict:
            return  # the put was repeated, or another holder was first: the marker that is there holds
        self._kept[prefix] = result.folder

    def _publish_model(self, prefix: str, result: StageResult) -> dict[str, Any]:
        """A published version is never changed: the same key, hence the same version, may be there from before."""
        try:
            there: dict[str, Any] = self.run.store.get_json(prefix + "manifest.json")
        except NotFound:
            return manifest.publish(self.run.store, result.folder, prefix, result.info)
        return there

    def _output(self, success: dict[str, Any]) -> StageOutput:
        prefix = success["output"]
        folder = self._kept.get(prefix)
        if folder is None or not folder.is_dir():
            folder = self._job_folder() / "outputs" / success["stage"]
            with locked(folder):
                manifest.fetch(self.run.store, prefix, folder)
            self._kept[prefix] = folder
        return StageOutput(success["kind"], folder, success["metrics"], success["info"])

    def _dataset_names(self) -> dict[str, tuple[str, str]]:
        refs = (getattr(stage, "dataset", None) for stage in self.run.spec.stages)
        return {f"{ref.name}/{ref.version}": (ref.name, ref.version) for ref in refs if ref}

    def _dataset(self, name: str) -> Path:
        folder = self.run.cache / "datasets" / name
        with locked(folder):
            manifest.fetch(self.run.store, layout.dataset(*self._dataset_names()[name]), folder)
        return folder

    def _base(self) -> Path:
        base = self.run.spec.base
        model = published_base(base)
        if model:
            folder = self.run.cache / base
            with locked(folder):
                manifest.fetch(self.run.store, layout.model(*model), folder, only="hf/")
            return folder / "hf"
        from jobs.base import materialise

        folder = self.run.cache / "base"
        with locked(folder):
            return materialise(base, folder)

    def _lineage(self, keys: list[str]) -> dict[str, Any]:
        run = self.run
        manifests = (
            run.store.get_json(layout.dataset_manifest(name, version))
            for name, version in self._dataset_names().values()
        )
        return {
            "job_id": run.job_id,
            "spec_sha256": run.spec.sha256(),
            "base": run.spec.base,
            "datasets": [{field: item.get(field) for field in _SNAPSHOT_FIELDS} for item in manifests],
            "stage_keys": dict(zip(run.spec.stage_names(), keys, strict=True)),
        }

    def _job_folder(self) -> Path:
        return self.run.cache / "jobs" / self.run.job_id


_SNAPSHOT_FIELDS = ("name", "version", "kind", "content_hash", "licence")


class Lazy(Mapping[str, T]):
    """Values that are brought only when a stage asks for them.

    Args:
        names: the keys.
        bring: makes the value of a key; its answer is kept.
    """

    def __init__(self, names: Mapping[str, Any], bring: Callable[[str], T]) -> None:
        self._names, self._bring = dict(names), bring
        self._here: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._here:
            self._here[name] = self._bring(name)
        return self._here[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def load_stages(path: str) -> Mapping[str, StageFunction]:
    """The table of stage functions at `module:attribute`.

    Raises:
        BadInput: there is none.
    """
    module, _, attribute = path.partition(":")
    try:
        table: Mapping[str, StageFunction] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadInput(f"no table of stages at {path!r} ({error}); give it as 'module:ATTRIBUTE'") from error
    return table


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process of this machine at a time, for the body; the lock is a file beside `folder`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _go_on() -> None:
    """The first rank looks at the store for all: when it stops, so do the others."""


def _function(functions: Mapping[str, StageFunction], kind: str) -> StageFunction:
    if kind not in functions:
        raise BadInput(f"there is no code for stage {kind!r} here; there is for {', '.join(sorted(functions))}")
    return functions[kind]


def _state(report: Reporter, state: str, **about: Any) -> None:
    if isinstance(report, StoreReporter):
        report.state(state, **about)


def _model(publish_as: tuple[str, str] | None) -> dict[str, str] | None:
    return {"name": publish_as[0], "version": publish_as[1]} if publish_as else None


def _is_over(run: Run, fence: Fence) -> bool:
    if read_outcome(run.store, run.job_id, run.attempt) is not None:
        return True
    try:
        fence.check(now=True)
    except Cancelled as error:
        record(run.store, run.job_id, run.attempt, failure(error, ""))
        return True
    except LeaseLost:
        return True
    return False
