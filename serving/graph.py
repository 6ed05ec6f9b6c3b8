"""The ONNX graph behind two calls: prefill one slot, decode the first n slots.

Knows onnxruntime, its bindings and the graph's inputs: token ids, a mask whose row sums say how long each row is (rows
are ragged; rotary positions follow from the mask), and each layer's past, bound in place as the present too. Does not
know replies, sampling or threads: one caller at a time.

Facts of the graph (GroupQueryAttention): rows must be padded on the right or not at all; several positions with a past
need a batch of one. So a prompt is prefilled alone, in chunks, straight into its slot.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from core.errors import BadInput, Unavailable
from serving.halves import Widener
from serving.kv import Cache, KvCache, shape_of
from serving.kv_device import cuda_cache
from serving.model_files import Geometry

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]

HOST = ("cpu", 0)
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
VALUES: dict[str, type[np.floating]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def open_session(path: Path, threads: int, *, spin: bool = False, device: str = "cpu") -> Any:
    """An onnxruntime session.

    Args:
        path: the graph.
        threads: that compute; the caller's is one of them.
        spin: let threads wait busily between operations: a little quicker on cores that nobody else wants, and a
            collapse on shared ones.
        device: `cpu` or `cuda`.

    Raises:
        BadInput: onnxruntime cannot load it.
        Unavailable: the installed onnxruntime does not know the device, or cannot use it.
    """
    if PROVIDERS[device] not in ort.get_available_providers():
        raise Unavailable(f"onnxruntime here has no {PROVIDERS[device]}; for `cuda` install the extra `serving-gpu`")
    if device == "cuda":
        ort.preload_dlls()  # the CUDA libraries of the extra lie in packages, where no loader looks
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    try:
        session = ort.InferenceSession(str(path), options, providers=[PROVIDERS[device]])
    except Exception as error:  # onnxruntime raises a dozen classes that share only Exception
        raise BadInput(f"{path} cannot be loaded by onnxruntime {ort.__version__}: {error}") from error
    if PROVIDERS[device] not in session.get_providers():  # it only warns, and would compute on the processor
        raise Unavailable(f"onnxruntime {ort.__version__} cannot use {device}: no device, or its libraries do not load")
    return session


class Graph:
    """A loaded graph with its cache.

    Args:
        session: from `open_session`.
        geometry: of the model.
        slots: rows of the largest batch.
        context: most tokens of a slot.
        chunk: most tokens of one prefill call.
        device: where the cache is, `cpu` or `cuda`; ids, mask and logits are in main memory.
    """

    def __init__(
        self, session: Any, geometry: Geometry, slots: int, context: int, chunk: int, device: str = "cpu"
    ) -> None:
        self._values = check_inputs(session, geometry)
        if device == "cuda" and self._values is not np.float16:
            raise BadInput("attention on `cuda` is in float16 only; export with precision fp16, or serve on `cpu`")
        shape = shape_of(geometry, context, np.dtype(self._values).itemsize)
        make = KvCache if device == "cpu" else cuda_cache
        self.cache: Cache = make(shape, slots, self._values)
        self._place = (device, 0)
        self._session = session
        self._geometry = geometry
        self._bindings: dict[tuple[int, int], Any] = {}
        last_only = session.get_outputs()[0].shape[1] == 1
        numbers = VALUES[session.get_outputs()[0].type]
        self._prefill_logits = np.zeros((1 if last_only else chunk, geometry.vocabulary), numbers)
        self._decode_logits = np.zeros((slots, geometry.vocabulary), numbers)
        self._widen = Widener(slots, geometry.vocabulary) if numbers is np.float16 else None
        self._wants_positions = any(item.name == "position_ids" for item in session.get_inputs())

    def prefill(self, slot: int, ids: Integers, past: int) -> Floats:
        """Run `ids` [tokens] at positions `past`, `past` + 1, ... of a slot.

        Returns:
            Logits [vocabulary] of the last position; valid until the next call.
        """
        count = len(ids)
        rows = min(count, len(self._prefill_logits))
        logits = self._prefill_logits[:rows]
        mask = np.ones((1, past + count), np.int64)
        self._run(slot, ids.reshape(1, count), mask, np.arange(past, past + count)[None], logits[None])
        self.cache.wrote(slot, past + count)
        last: Floats = logits[-1].astype(np.float32, copy=False)
        return last

    def decode(self, ids: Integers, lengths: Integers) -> Floats:
        """Run one token for each of slots 0, 1, ...

        Args:
            ids: [rows], the newest token of each.
            lengths: [rows], positions that each slot holds before it.

        Returns:
            Logits [rows, vocabulary]; valid until the next call.
        """
        rows = len(ids)
        logits = self._decode_logits[:rows]
        width = int(lengths.max()) + 1
        mask = (np.arange(width) <= lengths[:, None]).astype(np.int64)
        self._run(0, ids.reshape(rows, 1), mask, lengths[:, None], logits[:, None])
        for slot, length in enumerate(lengths.tolist()):
            self.cache.wrote(slot, length + 1)
        return logits if self._widen is None else self._widen(logits)

    def _run(self, first: int, ids: Integers, mask: Integers, positions: Integers, logits: NDArray[Any]) -> None:
        """Logits has shape [rows, positions, vocabulary]; everything is contiguous and outlives the call."""
        binding = self._binding(first, len(ids))
        ids = np.ascontiguousarray(ids)
        bind(binding.bind_input, "input_ids", ids)
        bind(binding.bind_input, "attention_mask", mask)
        if self._wants_positions:
            positions = np.ascontiguousarray(positions, dtype=np.int64)
            bind(binding.bind_input, "position_ids", positions)
        bind(binding.bind_output, "logits", logits)
        self._session.run_with_iobinding(binding)

    def _binding(self, first: int, rows: int) -> Any:
        """A binding whose caches are slots [first, first + rows), made once."""
        if (first, rows) not in self._bindings:
            self._bindings[first, rows] = self._bound(first, rows)
        return self._bindings[first, rows]

    def _bound(self, first: int, rows: int) -> Any:
        binding = self._session.io_binding()
        sizes = self.cache.shape
        shape = (rows, sizes.heads, sizes.positions, sizes.head_size)
        for layer in range(sizes.layers):
            for part in range(2):
                address = self.cache.address(layer, part, first)
                past, present = self._geometry.past[part] % layer, self._geometry.present[part] % layer
                binding.bind_input(past, *self._place, self._values, shape, address)
                binding.bind_output(present, *self._place, self._values, shape, address)
        return binding


def bind(method: Any, name: str, array: NDArray[Any]) -> None:
    """Bind a contiguous array by its address."""
    method(name, *HOST, array.dtype.type, array.shape, array.ctypes.data)


def check_inputs(session: Any, geometry: Geometry) -> type[np.floating]:
    """The type of the cache's values; raises `BadInput` when the graph is not one that this module can run."""
    known = {"input_ids", "attention_mask", "position_ids"}
    known |= {pattern % layer for pattern in geometry.past for layer in range(geometry.layers)}
    found = {item.name: item for item in session.get_inputs()}
    if strange := sorted(found.keys() - known) or sorted(known - {"position_ids"} - found.keys()):
        raise BadInput(f"the graph's inputs are not those of a builder's decoder: {', '.join(strange[:3])}")
    kind = found[geometry.past[0] % 0].type
    if kind not in VALUES:
        raise BadInput(f"the graph's cache is {kind}; export with precision fp32 or fp16")
    return VALUES[kind]
