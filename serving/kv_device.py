"""The key and value cache in a CUDA device's memory, with the layout and the calls of `serving.kv.KvCache`.

Knows addresses and pitched copies. Not yet run on a device: its arithmetic is tested on main memory, the CUDA calls
behind it (`cuda_cache`) are not. A device takes all memory at once, so slots times positions must fit the budget.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import Unavailable
from serving.kv import Shape

TO_DEVICE, TO_HOST, WITHIN = 1, 2, 3
"""cudaMemcpyKind."""

Copy = Callable[[int, int, int, int, int, int, int], None]
"""(target, target pitch, source, source pitch, width, rows, kind), bytes and addresses: as cudaMemcpy2D."""


class DeviceKvCache:
    """The cache at an address of a device.

    Args:
        shape: of one slot.
        slots: how many.
        dtype: of the values.
        base: address of [layer, key|value, slot, head, position, value].
        copy: how to copy rows of bytes.
        owner: keeps the memory alive.
    """

    def __init__(
        self, shape: Shape, slots: int, dtype: type[np.floating], base: int, copy: Copy, owner: Any = None
    ) -> None:
        self.shape = shape
        self.slots = slots
        self._dtype = dtype
        self._base = base
        self._copy = copy
        self._owner = owner
        self._row = shape.head_size * shape.bytes_per_value
        self._head = self._row * shape.positions

    def address(self, layer: int, part: int, slot: int) -> int:
        """Address of a slot's keys (part 0) or values (part 1) in `layer`."""
        return self._base + ((layer * 2 + part) * self.slots + slot) * self.shape.heads * self._head

    def wrote(self, slot: int, positions: int) -> None:
        """Nothing: the memory is taken whether it is used or not."""

    def trim(self, slot: int) -> None:
        """Nothing, likewise."""

    def move(self, source: int, target: int, positions: int) -> None:
        """Copy the first `positions` of one slot to another."""
        width = positions * self._row
        for layer, part in np.ndindex(self.shape.layers, 2):
            to, where = self.address(layer, part, target), self.address(layer, part, source)
            self._copy(to, self._head, where, self._head, width, self.shape.heads, WITHIN)

    def read(self, slot: int, start: int, stop: int) -> NDArray[np.floating]:
        """A copy in main memory of positions [start, stop) of a slot: [layer, 2, head, position, value]."""
        sizes = (self.shape.layers, 2, self.shape.heads, stop - start, self.shape.head_size)
        block: NDArray[np.floating] = np.empty(sizes, self._dtype)
        width = (stop - start) * self._row
        for layer, part in np.ndindex(self.shape.layers, 2):
            where = self.address(layer, part, slot) + start * self._row
            self._copy(block[layer, part].ctypes.data, width, where, self._head, width, self.shape.heads, TO_HOST)
        return block

    def write(self, slot: int, start: int, block: NDArray[np.floating]) -> None:
        """Put back what `read` gave."""
        width = block.shape[3] * self._row
        for layer, part in np.ndindex(self.shape.layers, 2):
            to = self.address(layer, part, slot) + start * self._row
            self._copy(to, self._head, block[layer, part].ctypes.data, width, width, self.shape.heads, TO_DEVICE)


def cuda_cache(shape: Shape, slots: int, dtype: type[np.floating]) -> DeviceKvCache:
    """A cache on CUDA device 0.

    Raises:
        Unavailable: the CUDA runtime cannot be loaded.
    """
    import onnxruntime as ort

    sizes = (shape.layers, 2, slots, shape.heads, shape.positions, shape.head_size)
    memory = ort.OrtValue.ortvalue_from_shape_and_type(sizes, dtype, "cuda", 0)
    return DeviceKvCache(shape, slots, dtype, memory.data_ptr(), cuda_copy(), memory)


def cuda_copy() -> Copy:
    """cudaMemcpy2D of the CUDA runtime that onnxruntime has loaded."""
    for name in ("libcudart.so.13", "libcudart.so.12", "libcudart.so"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        break
    else:
        raise Unavailable("the CUDA runtime (libcudart) cannot be loaded; install the extra `serving-gpu`")
    function = library.cudaMemcpy2D
    size = ctypes.c_size_t
    function.argtypes = [ctypes.c_void_p, size, ctypes.c_void_p, size, size, size, ctypes.c_int]

    def copy(target: int, pitch: int, source: int, source_pitch: int, width: int, rows: int, kind: int) -> None:
        if status := function(target, pitch, source, source_pitch, width, rows, kind):
            raise Unavailable(f"cudaMemcpy2D failed with CUDA error {status}")

    return copy
