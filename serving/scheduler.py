"""Who waits, who is read in, who is in the batch, in which slot. Pure bookkeeping; the engine does what it says.

Replies in the batch hold slots 0 .. n-1 without a gap, so that one call of the graph covers exactly them; the one whose
prompt is being read holds slot n. Admission is first come, first served: a reply enters when a slot is free and the
positions that it may come to use fit the budget, so no reply ever has to give its cache up half way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from serving.sequence import Sequence


@dataclass(frozen=True)
class Move:
    """Copy the first `positions` of slot `source` to slot `target`."""

    source: int
    target: int
    positions: int


class Scheduler:
    """The books of one engine.

    Args:
        slots: most replies at once.
        budget: most positions of the cache over all replies.

    Attributes:
        waiting: not yet admitted, oldest first.
        active: in the batch; the index is the slot.
        filling: its prompt is being read; its slot is `len(active)`.
    """

    def __init__(self, slots: int, budget: int) -> None:
        self.slots = slots
        self.budget = budget
        self.waiting: deque[Sequence] = deque()
        self.active: list[Sequence] = []
        self.filling: Sequence | None = None
        self.reserved = 0

    def __iter__(self) -> Iterator[Sequence]:
        """Every reply that holds a slot."""
        yield from self.active
        if self.filling is not None:
            yield self.filling

    def admit(self) -> Sequence | None:
        """The reply whose prompt is to be read now; takes the next one that waits when there is room."""
        if self.filling is None and self.waiting and self._fits(self.waiting[0]):
            self.filling = self.waiting.popleft()
            self.reserved += self.filling.need
        return self.filling

    def filled(self) -> None:
        """The prompt has been read: its reply joins the batch in the slot that it has."""
        if self.filling is None:
            raise ValueError("no prompt is being read")
        self.active.append(self.filling)
        self.filling = None

    def slot(self, sequence: Sequence) -> int:
        """The slot that a reply holds."""
        return len(self.active) if sequence is self.filling else self.active.index(sequence)

    def remove(self, sequence: Sequence) -> list[Move]:
        """Take a reply out of its slot; returns the copies, in order, that close the gap."""
        self.reserved -= sequence.need
        if sequence is self.filling:
            self.filling = None
            return []
        gap, last = self.active.index(sequence), len(self.active) - 1
        moved = self.active.pop()
        moves = []
        if gap != last:
            self.active[gap] = moved
            moves.append(Move(last, gap, moved.cached))
        if self.filling is not None:
            moves.append(Move(last + 1, last, self.filling.cached))
        return moves

    def clear(self) -> list[Sequence]:
        """Forget everybody; returns them."""
        everybody = [*self, *self.waiting]
        self.active.clear()
        self.waiting.clear()
        self.filling = None
        self.reserved = 0
        return everybody

    def _fits(self, sequence: Sequence) -> bool:
        return len(self.active) < self.slots and self.reserved + sequence.need <= self.budget
