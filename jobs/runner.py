"""One attempt at a job as a single Ray Train run: every stage in the same processes, so start-up is paid once.

Knows Ray Train V2: it starts `jobs.walk.walk` on each rank and replaces ranks that die. Does not know claims, queues or
results (`jobs.worker`), nor the cluster's making (`jobs.ray_cluster`). Nothing is reported to Ray's own storage:
checkpoints and outputs go to the object store, where the next attempt finds them on any machine. Credentials reach the
ranks by the environment of their node, never by the run's configuration, which the dashboard shows.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from core.errors import BadInput
from core.jobspec import JobSpec, Resources
from jobs.context import World
from jobs.walk import Run, walk


def fit(run: Run, scratch: Path, *, own_cluster: bool = False) -> None:
    """Run the job's stages on the connected Ray cluster; returns when its ranks have ended.

    Args:
        run: the attempt.
        scratch: local folder for Ray Train's own bookkeeping.
        own_cluster: the cluster ends with this process.

    Raises:
        ray.train.TrainingFailedError: ranks were lost more often than the spec allows.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    wanted = run.spec.resources
    gpu = wanted.gpus_per_worker > 0
    resources: dict[str, float] = {"CPU": wanted.cpus_per_worker}
    if gpu:
        resources["GPU"] = wanted.gpus_per_worker
    trainer = (_lean_trainer() if own_cluster else TorchTrainer)(
        train,
        train_loop_config={"run": run},
        scaling_config=ScalingConfig(num_workers=wanted.workers, use_gpu=gpu, resources_per_worker=resources),
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        run_config=RunConfig(
            name=f"{run.job_id}-{run.attempt:06d}",
            storage_path=str(scratch),
            failure_config=FailureConfig(max_failures=wanted.max_failures),
        ),
    )
    trainer.fit()


def _lean_trainer() -> Any:
    """A trainer without the actor that removes a dead driver's placement group: here the cluster dies with the driver.

    That actor is a process that imports Ray Train beside the ranks: 1.6 s of processor time for every job.
    """
    from ray.train.torch import TorchTrainer

    class LeanTrainer(TorchTrainer):
        def _create_default_callbacks(self) -> list[Any]:
            made = super()._create_default_callbacks()  # type: ignore[misc] # Ray's own, unknown to mypy
            return [callback for callback in made if type(callback).__name__ != "PlacementGroupCleanerCallback"]

    return LeanTrainer


def train(config: dict[str, Any]) -> None:
    """What Ray runs on each rank. `config["run"]` is a `Run`."""
    import torch
    from ray.train import get_context
    from ray.train.torch import get_device

    run: Run = config["run"]
    context = get_context()
    # Ray leaves the ranks in a scratch folder and their threads at one each: more threads than cores cost 3x to 30x.
    torch.set_num_threads(run.threads)
    os.environ["OMP_NUM_THREADS"] = str(run.threads)
    world = World(context.get_world_rank(), context.get_world_size(), run.threads, str(get_device().type))
    walk(run, world, RayGang())


class RayGang:
    """The ranks of a Ray Train run; agrees through Ray, so it works whatever a stage does with torch's groups."""

    def barrier(self) -> None:
        """Return when every rank is here."""
        from ray.train.collective import barrier

        barrier()

    def first_says(self, value: bool) -> bool:
        """What the first rank says."""
        from ray.train.collective import broadcast_from_rank_zero

        return bool(broadcast_from_rank_zero(value))


def threads_for(resources: Resources, cores: int, *, own_cluster: bool) -> int:
    """Processor threads of one rank: all cores shared evenly on a cluster of one's own, else what the spec asks for."""
    return max(1, cores // resources.workers) if own_cluster else resources.cpus_per_worker


def check_fits(spec: JobSpec, cores: float, gpus: float) -> None:
    """Refuse a job that this machine could never start; Ray would wait for the missing processors for ever.

    Raises:
        BadInput: (code `BAD_SPEC`) it asks for more than there is.
    """
    wanted = spec.resources
    for what, each, there in (("cpus", wanted.cpus_per_worker, cores), ("gpus", wanted.gpus_per_worker, gpus)):
        if wanted.workers * each > there:
            raise BadInput(
                f"resources: {wanted.workers} workers with {each} {what} each need {wanted.workers * each}; "
                f"the cluster has {there:g}",
                code="BAD_SPEC",
                path=("resources", f"{what}_per_worker"),
            )
