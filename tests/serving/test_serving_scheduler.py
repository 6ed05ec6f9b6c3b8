"""The books of the batcher, driven through random histories."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.requests import Request
from serving.scheduler import Scheduler
from serving.sequence import Sequence


class Silent:
    def decode(self, ids, skip_special_tokens=True):
        return ""


def sequence(need: int) -> Sequence:
    return Sequence(Request((1,), 1), lambda event: None, Silent(), frozenset(), need)


@given(st.integers(1, 4), st.data())
def test_slots_stay_dense_budgets_hold_and_nobody_is_lost_or_overtaken(slots, data):
    books, memory, arrived, admitted, left = Scheduler(slots, 20), {}, [], [], 0
    for _ in range(data.draw(st.integers(1, 40))):
        action = data.draw(st.sampled_from(["arrive", "admit", "fill", "remove"]))
        if action == "arrive":
            arrived.append(sequence(data.draw(st.integers(1, 20))))
            books.waiting.append(arrived[-1])
        elif action == "admit":
            found = books.admit()
            if found is not None and found not in admitted:
                admitted.append(found)
                memory[books.slot(found)] = found
        elif action == "fill" and books.filling is not None:
            books.filled()
        elif action == "remove" and any(books):
            gone = data.draw(st.sampled_from(list(books)))
            for move in books.remove(gone):
                memory[move.target] = memory[move.source]
            left += 1
        holders = list(books)
        assert [books.slot(item) for item in holders] == list(range(len(holders)))
        assert all(memory[books.slot(item)] is item for item in holders), "each slot's memory is its holder's"
        assert books.reserved == sum(item.need for item in holders) <= books.budget
        assert len(holders) <= slots
        assert len(holders) + left + len(books.waiting) == len(arrived)
    assert admitted == arrived[: len(admitted)], "first come, first served"


def test_moves_copy_only_what_is_held():
    books = Scheduler(3, 100)
    for cached in (5, 6, 7):
        books.waiting.append(sequence(10))
        books.admit()
        books.filling.cached = cached
        if cached < 7:
            books.filled()
    moves = books.remove(books.active[0])
    assert [(move.source, move.target, move.positions) for move in moves] == [(1, 0, 6), (2, 1, 7)]


def test_a_big_reply_waits_until_it_fits():
    books = Scheduler(2, 10)
    small, big = sequence(4), sequence(7)
    books.waiting.extend([small, big])
    assert books.admit() is small
    books.filled()
    assert books.admit() is None
    books.remove(small)
    assert books.admit() is big


def test_filling_nothing_is_a_defect():
    with pytest.raises(ValueError, match="no prompt"):
        Scheduler(1, 1).filled()
