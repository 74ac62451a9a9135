"""A long run says how long it takes and how much memory; it stops when asked; memory that runs out is one sentence."""

from __future__ import annotations

import signal
import sys
import threading
from types import SimpleNamespace

import pytest

from hsds_lib.runs import progress as module
from hsds_lib.runs.progress import Progress, memory_advice, stop_requests
from hsds_lib.runtime import RunError


class Clock:
    """Time that passes only when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def steps(progress: Progress, clock: Clock, *seconds: float) -> None:
    for each in seconds:
        clock.now += each
        progress.step()


def test_a_long_run_is_announced_once_without_its_warm_up(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(305, label="search", estimate=True)
    steps(progress, clock, 30, 30, 2, 2, 2, 2, 2, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("search: about 10 min for 300 steps, ") and line.endswith(" GB of memory")
    assert 0.05 < float(line.split()[-4]) < 24


def test_a_short_run_is_not_announced(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    steps(Progress(20, label="search", estimate=True), clock, *[1.0] * 20)
    assert capsys.readouterr().err == ""


def test_lines_say_the_time_that_is_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(100, label="train", done=40)  # forty in an earlier attempt, which do not count for the pace
    steps(progress, clock, *[0.5] * 6)
    progress.line("epoch 5")
    steps(progress, clock, *[0.5] * 54)
    progress.line("epoch 10")
    assert capsys.readouterr().err.splitlines() == ["train: epoch 5 (3 s, about 27 s left)", "train: epoch 10 (30 s)"]


def test_seconds_minutes_and_hours_are_told_apart() -> None:
    spoken = [module._spoken(seconds) for seconds in (0.4, 119, 121, 7100, 8000)]
    assert spoken == ["0 s", "119 s", "2 min", "118 min", "2.2 h"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_waits_and_a_second_ctrl_c_does_not(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), stop_requests() as stop:
        assert not stop.made
        signal.raise_signal(number)
        assert stop.made
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(number) is before


def test_other_threads_leave_signals_alone() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with stop_requests() as stop:
            seen.append((stop.made, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_other_errors_pass_through_memory_advice() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), memory_advice("crop (64)"):
        raise RuntimeError("shapes differ")
    with pytest.raises(RunError, match=r"^out of memory; lower crop \(64\)$") as caught, memory_advice("crop (64)"):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:115] err == 0. DefaultCPUAllocator: can't allocate memory")
    assert caught.value.__suppress_context__  # one sentence, not two tracebacks


def test_where_there_is_no_terminal_a_line_now_and_then_says_how_far_it_is(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(10, label="scoring", unit="pictures", every=30) as progress:
        steps(progress, clock, *[10.0] * 7)
    with Progress(None, label="coco", unit="MB", every=1) as unknown:
        clock.now += 2
        unknown.step(1_500_000)
    said = ["scoring: 3 of 10 pictures (30 %)", "scoring: 6 of 10 pictures (60 %)", "coco: 1.5 MB"]
    assert capsys.readouterr().err.splitlines() == said


def test_lines_go_where_they_are_told_and_nowhere_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    Progress(2).say("[1/2] hall", file=sys.stdout)
    Progress(2, show=False, every=0).step()
    Progress(2, show=False).say("nothing")
    assert capsys.readouterr() == ("[1/2] hall\n", "")
