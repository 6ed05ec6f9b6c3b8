"""How numbers are computed: precision, batch pieces, threads. Knows torch and processors, not stages."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from core.errors import BadInput
from jobs.context import StageContext, World
from jobs.weights import quiet

TOKENS_AT_ONCE = 8192
"""Tokens in one forward pass of training; larger batches are accumulated from pieces of this size."""


def prepare(context: StageContext) -> None:
    """Set this process's threads and random seed, and silence the libraries' progress bars."""
    from datasets.utils.logging import disable_progress_bar
    from huggingface_hub import constants
    from transformers import set_seed

    # More threads than cores costs a factor of 3 to 30: the share is the runner's to give, never left to default.
    torch.set_num_threads(context.world.threads)
    set_seed(context.seed)
    # Training reports to its own job and to nobody else.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    disable_progress_bar()
    quiet()


def has_bf16(device: str) -> bool:
    """Whether bfloat16 arithmetic is native on the device. Emulated, it would be slower than float32."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def use_bf16(wanted: bool | None, device: str) -> bool:
    """The setting, or where it says nothing, what the processor has."""
    return has_bf16(device) if wanted is None else wanted


def autocast(bf16: bool, device: str) -> AbstractContextManager[object]:
    """Matrix products in bfloat16 when `bf16`, else as the weights are."""
    if not bf16:
        return nullcontext()
    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16)


def store_frozen_in_bf16(model: torch.nn.Module, head: torch.nn.Module | None) -> None:
    """Keep the frozen linear weights in bfloat16, but for the output head.

    Under autocast they are rounded so at every use; rounding them once gives the same products and saves the memory
    traffic. The head stays as it is, because log-probabilities are taken in float32.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module is not head and not module.weight.requires_grad:
            module.weight.data = module.weight.data.to(torch.bfloat16)


def share_of_batch(batch_size: int, world: World) -> int:
    """Sequences of one optimiser step that this process computes.

    Raises:
        BadInput: the batch cannot be shared evenly.
    """
    if batch_size % world.size:
        raise BadInput(
            f"batch size {batch_size} cannot be shared by {world.size} workers; use a multiple of {world.size}"
        )
    return batch_size // world.size


def piece(sequences: int, length: int, tokens: int = TOKENS_AT_ONCE) -> int:
    """The largest divisor of `sequences` that keeps a forward pass within `tokens`; at least 1.

    >>> piece(64, 512), piece(6, 4096), piece(5, 100)
    (16, 2, 5)
    """
    room = max(1, tokens // length)
    return max(size for size in range(1, sequences + 1) if sequences % size == 0 and size <= room)
