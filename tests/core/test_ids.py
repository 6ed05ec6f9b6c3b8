"""Ids sort by the order of their making, and are UUIDs of version 7."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.ids import new_id


def test_ids_are_uuids_of_version_7_with_the_time() -> None:
    before = time.time_ns() // 1_000_000
    identity = uuid.UUID(new_id())
    assert (identity.version, identity.variant) == (7, uuid.RFC_4122)
    assert before <= identity.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_sort_by_their_making_even_within_a_millisecond() -> None:
    made = [new_id() for _ in range(5_000)]
    assert made == sorted(set(made))


def test_ids_sort_where_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first, moment = new_id(), time.time_ns()
    monkeypatch.setattr("core.ids.time.time_ns", lambda: moment - 3_600 * 10**9)
    second = new_id()
    assert first < second
    assert uuid.UUID(second).version == 7


def test_threads_make_no_id_twice() -> None:
    with ThreadPoolExecutor(4) as pool:
        made = [each for many in pool.map(lambda _: [new_id() for _ in range(1_000)], range(4)) for each in many]
    assert len(set(made)) == 4_000
