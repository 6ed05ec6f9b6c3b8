"""Sums over all processes of a stage. With one process, or outside a process group, each is the identity.

Threat: a rank that skips a call stops every other rank, so callers call these the same number of times on every rank,
also with nothing to add.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist


def world_size() -> int:
    """Processes in the group; 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def all_sum(values: Sequence[float], device: str = "cpu") -> list[float]:
    """Each value summed over all processes, in double precision."""
    if world_size() == 1:
        return [float(value) for value in values]
    total = torch.tensor(list(values), dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return [float(value) for value in total.tolist()]


def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace every gradient by its sum over all processes; a missing one counts as zero.

    One flat buffer for each dtype, so that a model of many small adapters costs one message.
    """
    if world_size() == 1:
        return
    by_dtype: dict[torch.dtype, list[torch.nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        by_dtype.setdefault(parameter.grad.dtype, []).append(parameter)
    for group in by_dtype.values():
        flat = torch.cat([parameter.grad.flatten() for parameter in group if parameter.grad is not None])
        dist.all_reduce(flat)
        offset = 0
        for parameter in group:
            assert parameter.grad is not None  # noqa: S101 - filled in above; tells the type checker so
            parameter.grad.copy_(flat[offset : offset + parameter.numel()].view_as(parameter))
            offset += parameter.numel()


def gather_objects(values: list[object]) -> list[object]:
    """The concatenation, in rank order, of every process's list of picklable values."""
    if world_size() == 1:
        return values
    parts: list[list[object]] = [[] for _ in range(world_size())]
    dist.all_gather_object(parts, values)
    return [value for part in parts for value in part]
