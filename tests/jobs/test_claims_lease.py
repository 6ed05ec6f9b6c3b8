"""Claims on the real object store: one holder at a time, by the claimant's own clock, and a fence for the rest."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runner_kit import wait_for

from core import layout
from core.ids import new_id
from core.objects import ObjectStore
from jobs.claims import Cancelled, Claimant, Fence, Heartbeat, Lease, LeaseLost, highest_claim, lost_claims

LEASE = Lease(beat_every=5.0, stale_after=30.0)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def beat(store: ObjectStore, job_id: str, attempt: int, counter: int, **about: bool) -> None:
    store.put_json(layout.heartbeat(job_id, attempt), {"counter": counter, "released": False, **about})


def test_of_many_claimants_at_once_one_gets_the_job(store: ObjectStore) -> None:
    job_id, gate = new_id(), threading.Barrier(16)
    won: list[int | None] = []

    def claim() -> None:
        gate.wait()
        won.append(Claimant(store).try_claim(job_id))

    threads = [threading.Thread(target=claim) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won, key=str) == [1] + [None] * 15


def test_a_claim_is_stale_when_its_counter_stands_still_for_the_claimants_own_clock(store: ObjectStore) -> None:
    job_id, clock = new_id(), Clock(1e9)  # a clock that agrees with nobody's
    claimant = Claimant(store, LEASE, clock)
    assert Claimant(store, LEASE).try_claim(job_id) == 1
    beat(store, job_id, 1, counter=1)
    assert claimant.try_claim(job_id) is None
    clock.now += 29
    beat(store, job_id, 1, counter=2)
    assert claimant.try_claim(job_id) is None
    clock.now += 29
    assert claimant.try_claim(job_id) is None
    clock.now += 1
    assert claimant.try_claim(job_id) == 2


def test_a_released_claim_is_free_at_once(store: ObjectStore) -> None:
    job_id = new_id()
    assert Claimant(store, LEASE).try_claim(job_id) == 1
    beat(store, job_id, 1, counter=7, released=True)
    assert Claimant(store, LEASE).try_claim(job_id) == 2


def test_losses_are_the_claims_that_died(store: ObjectStore) -> None:
    job_id = new_id()
    beat(store, job_id, 1, counter=3, released=True)
    beat(store, job_id, 2, counter=3)
    beat(store, job_id, 3, counter=3, released=True, lost=True)
    assert lost_claims(store, job_id, 5) == 3  # 2 and 3, and 4 that never beat
    assert lost_claims(store, job_id, 2) == 0


def test_the_fence_stops_for_cancel_higher_claim_release_and_silence(store: ObjectStore) -> None:
    clock = Clock()

    def fence(job_id: str) -> Fence:
        store.put_json(layout.claim(job_id, 1), {})
        beat(store, job_id, 1, counter=1)
        made = Fence(store, job_id, 1, LEASE, clock=clock)
        made.check()
        return made

    cancelled, overtaken, released, silent = ids = [new_id() for _ in range(4)]
    fences = {job_id: fence(job_id) for job_id in ids}
    store.put_json(layout.cancel(cancelled), {})
    store.put_json(layout.claim(overtaken, 2), {})
    beat(store, released, 1, counter=2, released=True)
    for job_id in ids:
        fences[job_id].check()  # within the second it does not look again
    clock.now += 1
    with pytest.raises(Cancelled, match="cancelled"):
        fences[cancelled].check()
    with pytest.raises(LeaseLost, match="claim 2"):
        fences[overtaken].check()
    with pytest.raises(LeaseLost, match="released"):
        fences[released].check()
    fences[silent].check()
    clock.now += 30
    with pytest.raises(LeaseLost, match="worker is gone"):
        fences[silent].check()


def test_the_fence_bears_a_store_that_is_away_for_a_while_only() -> None:
    clock = Clock()
    fence = Fence(ObjectStore("nowhere", "http://127.0.0.1:9"), "job", 1, LEASE, clock=clock)
    fence.check(now=True)
    clock.now += 30
    with pytest.raises(LeaseLost, match="out of reach"):
        fence.check(now=True)


def test_a_heartbeat_beats_notices_and_releases(store: ObjectStore) -> None:
    job_id, lease = new_id(), Lease(beat_every=0.02, stale_after=5)
    assert Claimant(store, lease).try_claim(job_id) == 1
    held = Heartbeat(store, job_id, 1, lease).start()
    wait_for(lambda: store.get_json(layout.heartbeat(job_id, 1))["counter"] > 2, "beats")
    store.put_json(layout.cancel(job_id), {})
    assert held.cancelled.wait(20)
    held.stop()
    assert store.get_json(layout.heartbeat(job_id, 1))["released"] is True

    assert Claimant(store, lease).try_claim(job_id) == 2
    held = Heartbeat(store, job_id, 2, lease).start()
    store.put_json(layout.claim(job_id, 3), {})
    assert held.lost.wait(20)
    held.stop()
    assert store.get_json(layout.heartbeat(job_id, 2))["released"] is False


@dataclass
class Model:
    """What is true of one job, beside what the store says."""

    held: int = 0
    counter: int = 0
    released: bool = False
    silent_since: dict[int, float] = field(default_factory=dict)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("try"), st.integers(0, 2)),
        st.tuples(st.just("beat"), st.just(0)),
        st.tuples(st.just("release"), st.just(0)),
        st.tuples(st.just("tick"), st.integers(1, 20)),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_happens_a_live_holder_keeps_its_job_and_a_dead_one_loses_it(
    store: ObjectStore, steps: list[tuple[str, int]]
) -> None:
    job_id, clock, model = new_id(), Clock(), Model()
    claimants = [Claimant(store, LEASE, clock) for _ in range(3)]
    for action, value in steps:
        if action == "tick":
            clock.now += value
        elif action == "try":
            expected = _may_claim(model, value, clock.now)
            assert claimants[value].try_claim(job_id) == (model.held + 1 if expected else None)
            if expected:
                model = Model(held=model.held + 1)
        elif model.held and not model.released:
            model.counter += 1
            model.released = action == "release"
            model.silent_since.clear()
            beat(store, job_id, model.held, model.counter, released=model.released)
    assert highest_claim(store, job_id) == model.held
    for attempt in range(1, model.held):
        with pytest.raises(LeaseLost):
            Fence(store, job_id, attempt, LEASE).check(now=True)


def _may_claim(model: Model, claimant: int, now: float) -> bool:
    """A free job, or one whose holder this claimant has seen silent for 30 s; notes when it first saw that."""
    if not model.held or model.released:
        return True
    return now - model.silent_since.setdefault(claimant, now) >= LEASE.stale_after
