"""How much of the machine an engine may use; apart from the engine, so that settings are read without its libraries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineOptions:
    """How much of the machine an engine may use.

    Attributes:
        threads: that compute.
        slots: most replies at once.
        queue: most replies that wait for a slot.
        kv_bytes: memory for the caches of replies under way.
        prefix_bytes: memory for the caches of prompts seen before; 0 for none.
        context: most tokens of prompt and reply; None for what the model was made for.
        chunk: most prompt tokens read between two decoding steps.
        spin: threads wait busily; only for cores that nobody else uses.
        device: `cpu`, or `cuda`, which takes an fp16 export.
    """

    threads: int = 1
    slots: int = 16
    queue: int = 64
    kv_bytes: int = 1 << 30
    prefix_bytes: int = 1 << 28
    context: int | None = None
    chunk: int = 256
    spin: bool = False
    device: str = "cpu"
