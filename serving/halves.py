"""float16 to float32 for batches of logits, two to three times as quick as numpy, which converts value by value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAGNITUDE, INFINITE = 0x7FFF, 0x7C00
"""Bits of a float16 without its sign; those of infinity, above which all are NaN."""
SIGN_32, REST_32 = 0x80000000, 0x0FFFE000
BIASES = np.float32(2.0**112)
"""What a float16's exponent, read as a float32's, lacks: their biases are 15 and 127."""


ROWS_AT_ONCE = 4
"""Rows converted together: few enough for what is in between to stay in the processor's cache."""


class Widener:
    """Converts arrays of at most `rows` rows of `width` values.

    Args:
        rows: most rows.
        width: values of a row.
    """

    def __init__(self, rows: int, width: int) -> None:
        self._bits = np.empty((ROWS_AT_ONCE, width), np.uint32)
        self._signs = np.empty((ROWS_AT_ONCE, width), np.uint32)
        self._floats = np.empty((rows, width), np.float32)

    def __call__(self, half: NDArray[np.float16]) -> NDArray[np.float32]:
        """The same values, exactly, [rows, width]; valid until the next call."""
        given, floats = half.view(np.uint16), self._floats[: len(half)]
        for start in range(0, len(half), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            if (given[part] & MAGNITUDE).max() >= INFINITE:
                floats[part] = half[part]
            else:
                self._some(given[part], floats[part])
        return floats

    def _some(self, given: NDArray[np.uint16], floats: NDArray[np.float32]) -> None:
        bits, signs = self._bits[: len(given)], self._signs[: len(given)]
        np.left_shift(given, 13, out=bits, dtype=np.uint32, casting="unsafe")
        np.left_shift(bits, 3, out=signs)
        signs &= SIGN_32
        bits &= REST_32
        bits |= signs
        np.multiply(bits.view(np.float32), BIASES, out=floats)
