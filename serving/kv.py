"""The key and value cache: one slot for each reply under way, all in one stretch of memory that the graph reads and
writes in place.

Layout [layer, key|value, slot, head, position, value]: the slots of one layer's keys lie side by side, so rows
[first, first + count) of a batch are slots of the same numbers, without copying. Memory is reserved for `slots` full
contexts and taken from the machine only where it is written; `trim` gives a slot's unused tail back.

Knows sizes and addresses; does not know what a reply is.
"""

from __future__ import annotations

import math
import mmap
import sys
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serving.model_files import Geometry

NO_RESERVE = 0x4000 if sys.platform == "linux" else 0
"""MAP_NORESERVE (Python names it from 3.13): reserve addresses, not memory."""

KEEP = 512
"""Positions of a free slot that stay in memory, since the next reply will want them."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a cache: `positions` is the longest context, rounded up so that each head starts on a memory page."""

    layers: int
    heads: int
    positions: int
    head_size: int
    bytes_per_value: int

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one position over all layers, keys and values."""
        return self.layers * 2 * self.heads * self.head_size * self.bytes_per_value


def shape_of(geometry: Geometry, context: int, bytes_per_value: int = 4) -> Shape:
    """The cache's shape for replies of up to `context` tokens."""
    row = geometry.head_size * bytes_per_value
    step = mmap.PAGESIZE // math.gcd(mmap.PAGESIZE, row)
    # One page more than needed: heads a power of two apart would share the same lines of the processor's caches.
    positions = (-(-context // step) + 1) * step
    return Shape(geometry.layers, geometry.kv_heads, positions, geometry.head_size, bytes_per_value)


class Cache(Protocol):
    """What the graph and the prefix cache need, wherever the memory is."""

    shape: Shape

    def address(self, layer: int, part: int, slot: int) -> int:
        """Address of a slot's keys (part 0) or values (part 1) in `layer`."""

    def wrote(self, slot: int, positions: int) -> None:
        """Note that the graph has written the first `positions` of a slot."""

    def move(self, source: int, target: int, positions: int) -> None:
        """Copy the first `positions` of one slot to another."""

    def read(self, slot: int, start: int, stop: int) -> NDArray[np.floating]:
        """A copy of positions [start, stop) of a slot: [layer, 2, head, position, value]."""

    def write(self, slot: int, start: int, block: NDArray[np.floating]) -> None:
        """Put back what `read` gave."""

    def trim(self, slot: int) -> None:
        """Give up what a free slot does not need."""


class KvCache:
    """The cache in main memory.

    Args:
        shape: of one slot.
        slots: how many.
        dtype: of the values.
    """

    def __init__(self, shape: Shape, slots: int, dtype: type[np.floating] = np.float32) -> None:
        self.shape = shape
        self.slots = slots
        self._memory = reserve(shape.bytes_per_token * shape.positions * slots)
        sizes = (shape.layers, 2, slots, shape.heads, shape.positions, shape.head_size)
        self.array: NDArray[np.floating] = np.frombuffer(self._memory, dtype=dtype).reshape(sizes)
        self._touched = [0] * slots

    def address(self, layer: int, part: int, slot: int) -> int:
        """Address of a slot's keys (part 0) or values (part 1) in `layer`."""
        return int(self.array[layer, part, slot].ctypes.data)

    def wrote(self, slot: int, positions: int) -> None:
        """Note that the graph has written the first `positions` of a slot."""
        self._touched[slot] = max(self._touched[slot], positions)

    def move(self, source: int, target: int, positions: int) -> None:
        """Copy the first `positions` of one slot to another."""
        self.array[:, :, target, :, :positions] = self.array[:, :, source, :, :positions]
        self.wrote(target, positions)

    def read(self, slot: int, start: int, stop: int) -> NDArray[np.floating]:
        """A copy of positions [start, stop) of a slot: [layer, 2, head, position, value]."""
        return self.array[:, :, slot, :, start:stop].copy()

    def write(self, slot: int, start: int, block: NDArray[np.floating]) -> None:
        """Put back what `read` gave."""
        stop = start + block.shape[3]
        self.array[:, :, slot, :, start:stop] = block
        self.wrote(slot, stop)

    def trim(self, slot: int) -> None:
        """Give the memory of a free slot beyond its first positions back to the machine."""
        if self._touched[slot] <= KEEP:
            return
        page = mmap.PAGESIZE
        row = self.shape.head_size * self.shape.bytes_per_value
        start, stop = KEEP * row // page * page, -(-self._touched[slot] * row // page) * page
        base = int(self.array.ctypes.data)
        for layer in range(self.shape.layers):
            for part in range(2):
                for head in range(self.shape.heads):
                    offset = int(self.array[layer, part, slot, head].ctypes.data) - base
                    self._memory.madvise(mmap.MADV_DONTNEED, offset + start, stop - start)
        self._touched[slot] = KEEP


def reserve(size: int) -> mmap.mmap:
    """Anonymous memory of `size` bytes that costs nothing until it is written."""
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE)
