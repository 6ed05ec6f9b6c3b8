"""The supervisor with real processes: what dies comes back, what must stop leaves nothing."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from watched import Stack, until

from oa import processes
from oa.supervisor import Policy

PROGRAMS = str(Path(__file__).with_name("programs.py"))


@pytest.fixture
def running(stack: Stack) -> Stack:
    """`listen` and `family` up, the family's stubborn orphan too."""
    stack.start(PROGRAMS, "stack", str(stack.var))
    stack.settle()
    until((stack.var / "stubborn.ready").exists, what="the orphan")
    return stack


def orphan_of(stack: Stack) -> int:
    return int((stack.var / "orphan.pid").read_text())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_leaves_no_process(running: Stack, number: signal.Signals) -> None:
    assert psutil.pid_exists(orphan_of(running))
    running.process.send_signal(number)
    assert running.process.wait(30) == 0
    assert running.alive() == []
    assert "stopped" in running.log.read_text()


def test_a_killed_supervisor_leaves_no_process(running: Stack) -> None:
    running.process.kill()
    running.process.wait(10)
    running.none_left()


def test_a_second_signal_stops_without_grace(running: Stack) -> None:
    family = psutil.Process(running.part("family")["pid"])
    family.suspend()  # it will not end within its grace
    running.process.send_signal(signal.SIGINT)
    until(lambda: "once more" in running.log.read_text(), what="the first stop")
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(30) == 0
    assert running.alive() == []
    assert "stopping at once" in running.log.read_text()


def test_a_killed_part_comes_back_at_the_same_address(running: Stack) -> None:
    before = running.part("listen")
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: running.part("listen")["restarts"] == 1 and running.part("listen")["state"] == "running")
    after = running.part("listen")
    assert after["pid"] != before["pid"]
    assert after["address"] == before["address"]
    assert after["exit_code"] == 128 + signal.SIGKILL
    assert running.part("family")["restarts"] == 0
    assert "ended with signal 9; restart 1 in 0.05 s" in running.log.read_text()


def test_what_a_killed_part_left_behind_ends_before_it_comes_back(running: Stack) -> None:
    orphan = psutil.Process(orphan_of(running))
    os.kill(running.part("family")["pid"], signal.SIGKILL)
    until(lambda: running.part("family")["restarts"] == 1)
    assert not orphan.is_running()


def test_a_killed_keeper_takes_its_part_with_it(running: Stack) -> None:
    part = psutil.Process(running.part("family")["pid"])
    orphan = psutil.Process(orphan_of(running))
    part.parent().kill()
    until(lambda: running.part("family")["restarts"] == 1 and running.part("family")["state"] == "running")
    until(lambda: not part.is_running() and not orphan.is_running(), what="the end of the killed keeper's tree")
    running.process.terminate()
    assert running.process.wait(30) == 0
    assert running.alive() == []


def test_a_part_that_hangs_is_ended_and_started_again(running: Stack) -> None:
    psutil.Process(running.part("listen")["pid"]).suspend()
    until(lambda: running.part("listen")["restarts"] == 1 and running.part("listen")["state"] == "running")
    assert "has not answered for 1.5 s" in running.log.read_text()


def test_a_part_that_cannot_run_is_named_and_the_rest_runs(running: Stack) -> None:
    assert running.part("absent")["state"] == "missing"
    assert "nothing is not installed" in running.log.read_text()
    assert running.part("listen")["state"] == "running"


def test_a_part_that_always_ends_is_counted_and_the_pauses_grow(stack: Stack) -> None:
    stack.start(PROGRAMS, "stack", str(stack.var), PARTS="listen,crash")
    until(lambda: stack.part("crash").get("restarts", 0) >= 5, what="five restarts")
    text = stack.log.read_text()
    pauses = ["1 in 0.05 s", "2 in 0.1 s", "3 in 0.2 s", "4 in 0.4 s", "5 in 0.4 s"]
    assert all(f"ended with exit code 3; restart {pause}" in text for pause in pauses)
    assert not stack.run()["settled"]


def test_a_part_whose_need_cannot_run_does_not_start(stack: Stack) -> None:
    stack.start(PROGRAMS, "stack", str(stack.var), PARTS="family")
    stack.settle()
    assert stack.part("family")["state"] == "missing"
    assert "needs listen, which cannot run here" in stack.log.read_text()


def test_a_part_waits_for_what_it_needs(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:  # accepts and never answers
        stack.start(PROGRAMS, "stack", str(stack.var), LISTEN_PORT=str(taken.getsockname()[1]))
        until(lambda: stack.part("listen").get("restarts", 0) >= 2, what="an end for want of the port")
        assert stack.part("family")["state"] == "waiting"
        assert stack.part("family")["pid"] is None
    until(lambda: stack.part("family")["state"] == "running", what="the start after the port was free")
    until((stack.var / "stubborn.ready").exists, what="the orphan")  # which would outlive the stack


@given(failures=st.integers(1, 10_000), first=st.floats(0.01, 5), last=st.floats(5, 100))
def test_delays_grow_and_are_bounded(failures: int, first: float, last: float) -> None:
    policy = Policy(first_delay=first, last_delay=last)
    assert first <= policy.delay(failures) <= policy.delay(failures + 1) <= last


def test_descendants_cross_sessions() -> None:
    assert os.getpid() in processes.descendants(os.getppid())
    assert os.getpid() not in processes.descendants(os.getpid())


def test_the_process_table_reads_the_same_from_ps() -> None:
    from_proc, from_ps = processes._from_proc(), processes._from_ps()
    assert from_ps[os.getpid()] == from_proc[os.getpid()] == processes.Entry(os.getppid(), os.getpgrp(), zombie=False)
