"""The cache's memory and the prefix cache."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.kv import KEEP, KvCache, Shape, shape_of
from serving.kv_device import DeviceKvCache
from serving.model_files import Geometry
from serving.prefix import BLOCK, PrefixCache, keys


def cache(slots: int = 3, positions: int = 256) -> KvCache:
    return KvCache(Shape(2, 2, positions, 16, 4), slots)


def copy_rows(target, source, extent, kind):
    """cudaMemcpy3D on main memory."""
    assert kind in (1, 2, 3)
    width, rows, planes = extent
    for plane, row in np.ndindex(planes, rows):
        to, where = (at.address + (plane * at.plane + row) * at.pitch for at in (target, source))
        ctypes.memmove(to, where, width)


def on_main_memory(shape: Shape, slots: int, dtype: type = np.float32) -> DeviceKvCache:
    memory = np.zeros((shape.layers, 2, slots, shape.heads, shape.positions, shape.head_size), dtype)
    return DeviceKvCache(shape, slots, dtype, memory.ctypes.data, copy_rows, lambda: None, memory)


def test_the_device_cache_does_what_the_one_in_main_memory_does():
    one = cache()
    other = on_main_memory(one.shape, 3)
    assert other.address(1, 1, 2) - other.address(0, 0, 0) == one.address(1, 1, 2) - one.address(0, 0, 0)
    block = np.random.default_rng(0).normal(size=(2, 2, 2, 40, 16)).astype(np.float32)
    for store in (one, other):
        store.write(2, 8, block)
        store.move(2, 0, 30)
    assert np.array_equal(other.read(0, 8, 30), block[:, :, :, :22])
    for slot in range(3):
        assert np.array_equal(one.read(slot, 0, 256), other.read(slot, 0, 256))


def fill(store: KvCache, slot: int, positions: int, seed: int) -> np.ndarray:
    block = np.random.default_rng(seed).normal(size=(2, 2, 2, positions, 16)).astype(np.float32)
    store.write(slot, 0, block)
    return block


@given(st.integers(1, 5000), st.sampled_from([8, 16, 64, 80, 96, 128]))
def test_each_head_starts_on_a_page_and_holds_the_context(context, head_size):
    geometry = Geometry("m", 3, 2, head_size, 10, context, frozenset(), ("", ""), ("", ""))
    shape = shape_of(geometry, context)
    assert shape.positions >= context
    assert shape.positions * head_size * 4 % mmap.PAGESIZE == 0
    assert shape.bytes_per_token == 3 * 2 * 2 * head_size * 4


def test_move_copies_a_slot_and_nothing_else():
    store = cache()
    first, last = fill(store, 0, 40, 1), fill(store, 2, 50, 2)
    store.move(2, 1, 50)
    assert np.array_equal(store.read(1, 0, 50), last)
    assert np.array_equal(store.read(0, 0, 40), first)
    assert np.array_equal(store.read(2, 0, 50), last)


def test_rows_of_a_batch_are_neighbouring_slots():
    store = cache()
    step = store.address(0, 0, 1) - store.address(0, 0, 0)
    assert store.address(1, 1, 2) - store.address(1, 1, 1) == step == 2 * 256 * 16 * 4


def test_trim_gives_memory_back_and_keeps_the_neighbours():
    store = KvCache(Shape(4, 2, 16384, 64, 4), 2)
    process = psutil.Process()
    before = process.memory_info().rss
    for slot in range(2):
        store.array[:, :, slot] = slot + 1
        store.wrote(slot, 16384)
    full = process.memory_info().rss - before
    store.trim(0)
    trimmed = process.memory_info().rss - before
    assert full > 120 << 20
    assert trimmed < full * 0.6
    assert (store.array[:, :, 1] == 2).all()
    assert (store.array[:, :, 0, :, :KEEP] == 1).all()
    assert (store.array[:, :, 0, :, KEEP + 64 :] == 0).all()


def test_a_shared_beginning_is_found_and_the_rest_is_not():
    store = cache()
    prefixes = PrefixCache(1 << 20, store.shape.bytes_per_token)
    tokens = list(range(100))
    block = fill(store, 0, 100, 3)
    prefixes.store(tokens, store, 0)
    assert len(prefixes) == 100 // BLOCK
    other = [*tokens[:70], 999, *tokens[71:]]
    assert prefixes.load(other, store, 1) == 70 // BLOCK * BLOCK
    assert np.array_equal(store.read(1, 0, 64), block[:, :, :, :64])
    assert prefixes.load([5, *tokens], store, 2) == 0


def test_at_least_one_token_is_left_to_compute():
    store = cache()
    prefixes = PrefixCache(1 << 20, store.shape.bytes_per_token)
    tokens = list(range(2 * BLOCK))
    prefixes.store(tokens, store, 0)
    assert prefixes.load(tokens, store, 1) == BLOCK


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(1, 4)), max_size=20))
def test_the_budget_holds_and_what_is_found_is_right(steps):
    store = cache(slots=2)
    prefixes = PrefixCache(3 * BLOCK * store.shape.bytes_per_token, store.shape.bytes_per_token)
    for keep, who, blocks in steps:
        tokens = [who] * (blocks * BLOCK) + [7]
        if keep:
            store.array[:, :, 0] = who + 1
            prefixes.store(tokens, store, 0)
        else:
            found = prefixes.load(tokens, store, 1)
            assert found <= blocks * BLOCK
            assert (store.read(1, 0, found) == who + 1).all()
        assert len(prefixes) <= 3


def test_without_a_budget_nothing_is_kept():
    store = cache()
    prefixes = PrefixCache(0, store.shape.bytes_per_token)
    prefixes.store(list(range(100)), store, 0)
    assert len(prefixes) == prefixes.load(list(range(100)), store, 0) == 0


def test_a_key_depends_on_everything_before_it():
    one, two = list(keys([1] * 96)), list(keys([2] + [1] * 95))
    assert len(one) == 3
    assert not set(one) & set(two)
    assert one[1] != one[0]


def test_memory_that_cannot_be_reserved_is_an_error():
    with pytest.raises((OSError, OverflowError, ValueError)):
        KvCache(Shape(1, 1, 1 << 60, 64, 4), 1)
