"""Sorted ids are those that went in, in order, however many are held at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.sorted_ids import SortedIds

IDS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(IDS), st.integers(1, 5))
def test_ids_come_sorted_every_time_they_are_read(ids: list[str], held: int) -> None:
    with SortedIds(held) as kept:
        for each in ids:
            kept.add(each)
        assert len(kept) == len(ids)
        assert list(kept) == list(kept) == sorted(ids)
