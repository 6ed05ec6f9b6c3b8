"""The key and value cache in a CUDA device's memory, with the layout and the calls of `serving.kv.KvCache`.

Knows addresses and copies of planes of rows. Its arithmetic is tested on main memory, the CUDA calls behind it
(`cuda_cache`) by the tests marked `gpu`. A device takes all memory at once, so slots times positions must fit the
budget.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import Unavailable
from serving.kv import Shape

TO_DEVICE, TO_HOST, WITHIN = 1, 2, 3
"""cudaMemcpyKind."""


@dataclass(frozen=True)
class Place:
    """Rows of bytes in planes: address of the first, bytes from row to row, rows from plane to plane."""

    address: int
    pitch: int
    plane: int


Copy = Callable[[Place, Place, tuple[int, int, int], int], None]
"""(target, source, (width, rows, planes), kind), width in bytes: as cudaMemcpy3D."""

Settle = Callable[[], None]
"""Returns when every copy so far has ended. Copies within a device return before they end, and the graph runs on a
stream of its own, which does not wait for them."""


class DeviceKvCache:
    """The cache at an address of a device.

    Args:
        shape: of one slot.
        slots: how many.
        dtype: of the values.
        base: address of [layer, key|value, slot, head, position, value].
        copy: how to copy planes of rows.
        settle: how to wait for the copies.
        owner: keeps the memory alive.
    """

    def __init__(
        self,
        shape: Shape,
        slots: int,
        dtype: type[np.floating],
        base: int,
        copy: Copy,
        settle: Settle,
        owner: Any = None,
    ) -> None:
        self.shape = shape
        self.slots = slots
        self._dtype = dtype
        self._base = base
        self._copy = copy
        self._settle = settle
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
        self._copied(self._place(target), self._place(source), positions, WITHIN)
        self._settle()

    def read(self, slot: int, start: int, stop: int) -> NDArray[np.floating]:
        """A copy in main memory of positions [start, stop) of a slot: [layer, 2, head, position, value]."""
        sizes = (self.shape.layers, 2, self.shape.heads, stop - start, self.shape.head_size)
        block: NDArray[np.floating] = np.empty(sizes, self._dtype)
        self._copied(self._block(block), self._place(slot, start), stop - start, TO_HOST)
        return block

    def write(self, slot: int, start: int, block: NDArray[np.floating]) -> None:
        """Put back what `read` gave."""
        self._copied(self._place(slot, start), self._block(block), block.shape[3], TO_DEVICE)
        self._settle()

    def _copied(self, target: Place, source: Place, positions: int, kind: int) -> None:
        """One call for all layers: keys and values of a layer are two planes, each head a row."""
        self._copy(target, source, (positions * self._row, self.shape.heads, 2 * self.shape.layers), kind)

    def _place(self, slot: int, start: int = 0) -> Place:
        return Place(self.address(0, 0, slot) + start * self._row, self._head, self.slots * self.shape.heads)

    def _block(self, block: NDArray[np.floating]) -> Place:
        return Place(block.ctypes.data, block.shape[3] * self._row, self.shape.heads)


def cuda_cache(shape: Shape, slots: int, dtype: type[np.floating]) -> DeviceKvCache:
    """A cache on CUDA device 0.

    Raises:
        Unavailable: the CUDA runtime cannot be loaded.
    """
    import onnxruntime as ort

    sizes = (shape.layers, 2, slots, shape.heads, shape.positions, shape.head_size)
    memory = ort.OrtValue.ortvalue_from_shape_and_type(sizes, dtype, "cuda", 0)
    copy, settle = cuda_calls()
    return DeviceKvCache(shape, slots, dtype, memory.data_ptr(), copy, settle, memory)


def cuda_calls() -> tuple[Copy, Settle]:
    """cudaMemcpy3D and cudaDeviceSynchronize of the CUDA runtime that onnxruntime has loaded."""
    for name in ("libcudart.so.13", "libcudart.so.12", "libcudart.so"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        break
    else:
        raise Unavailable("the CUDA runtime (libcudart) cannot be loaded; install the extra `serving-gpu`")

    def copy(target: Place, source: Place, extent: tuple[int, int, int], kind: int) -> None:
        width = extent[0]
        to, where = (Pitched(at.address, at.pitch, width, at.plane) for at in (target, source))
        call = Copy3D(src_pointer=where, dst_pointer=to, extent=Three(*extent), kind=kind)
        check("cudaMemcpy3D", library.cudaMemcpy3D(ctypes.byref(call)))

    def settle() -> None:
        check("cudaDeviceSynchronize", library.cudaDeviceSynchronize())

    return copy, settle


class Three(ctypes.Structure):
    """cudaPos and cudaExtent."""

    _fields_ = [("x", ctypes.c_size_t), ("y", ctypes.c_size_t), ("z", ctypes.c_size_t)]


class Pitched(ctypes.Structure):
    """cudaPitchedPtr: `ysize` is the rows of a plane."""

    _fields_ = [
        ("pointer", ctypes.c_void_p),
        ("pitch", ctypes.c_size_t),
        ("xsize", ctypes.c_size_t),
        ("ysize", ctypes.c_size_t),
    ]


class Copy3D(ctypes.Structure):
    """cudaMemcpy3DParms; the arrays stay null, the positions 0."""

    _fields_ = [
        ("src_array", ctypes.c_void_p),
        ("src_at", Three),
        ("src_pointer", Pitched),
        ("dst_array", ctypes.c_void_p),
        ("dst_at", Three),
        ("dst_pointer", Pitched),
        ("extent", Three),
        ("kind", ctypes.c_int),
    ]


def check(call: str, status: int) -> None:
    """Raise `Unavailable` where a CUDA call did not return 0."""
    if status:
        raise Unavailable(f"{call} failed with CUDA error {status}")
