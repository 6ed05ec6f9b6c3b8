"""Widening float16 is exact for every value there is."""

from __future__ import annotations

import numpy as np

from serving.halves import INFINITE, Widener

EVERY = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def test_every_finite_value_is_the_same():
    finite = EVERY[np.isfinite(EVERY)].reshape(16, -1)
    widen = Widener(20, finite.shape[1])
    found = widen(finite)
    assert found.dtype == np.float32
    assert np.array_equal(found.view(np.uint32), finite.astype(np.float32).view(np.uint32))
    assert np.array_equal(widen(finite[1:7]), finite[1:7].astype(np.float32))


def test_infinity_and_nan_stay_so():
    odd = EVERY[~np.isfinite(EVERY)].reshape(2, -1)
    assert odd[0, 0] == np.uint16(INFINITE).view(np.float16) == np.inf
    assert np.array_equal(Widener(2, odd.shape[1])(odd), odd.astype(np.float32), equal_nan=True)
