"""How a long run talks while it works, how long it will take, and how it ends when it is asked to."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self, TextIO

from hsds_lib.runtime import RunError

_WARM_UP = 2  # steps that are not measured: the first ones allocate memory and compile kernels
_MEASURED = 3
_LONG = 60.0  # seconds; what is announced


class Stopped(KeyboardInterrupt):
    """A run ended at a step because it was asked to; the message says how to go on."""


class Progress:
    """Progress that suits its reader: a bar on a terminal, lines in logs and notebooks, or nothing.

    Example:
        >>> import contextlib, io
        >>> with contextlib.redirect_stderr(io.StringIO()) as log:  # no terminal
        ...     with Progress(2, label="train") as progress:
        ...         progress.step()
        ...         progress.line("epoch 1/2, loss 0.25")
        ...     with Progress(2_000_000, label="val2017.zip", unit="MB", every=0.0) as progress:
        ...         progress.step(500_000)
        >>> print(log.getvalue())
        train: epoch 1/2, loss 0.25 (0 s, about 0 s left)
        val2017.zip: 0.5 of 2.0 MB (25 %)
    """

    def __init__(
        self,
        total: int | None,
        *,
        label: str = "",
        unit: str = "steps",
        done: int = 0,
        show: bool = True,
        every: float = math.inf,
        estimate: bool = False,
    ) -> None:
        """Start the clock.

        ``unit`` "MB" counts bytes, any other word is the unit itself; ``total`` is None where it is not known, and
        ``done`` is what was there before. Without a terminal a line says every so many seconds how far it is. With
        ``estimate``, a run that will take more than a minute says so after its first steps. ``show=False`` keeps quiet.
        """
        from tqdm import tqdm

        terminal = show and sys.stderr.isatty()
        self.show = show
        self._label, self._unit, self._total, self._done, self._before = label, unit, total, done, done
        self._every, self._estimate = math.inf if terminal or not show else every, estimate
        self._start = self._warm = self._said = time.perf_counter()
        counted = {"unit": "B", "unit_scale": True} if unit == "MB" else {"unit": f" {unit}"}
        self._bar = tqdm(total=total, initial=done, desc=label or None, disable=not terminal, leave=False, **counted)

    def __enter__(self) -> Self:
        """Give the progress itself; its bar is taken away at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Take the bar away."""
        self.close()

    def step(self, count: int = 1) -> None:
        """So much more is done."""
        self._bar.update(count)
        self._done += count
        now = time.perf_counter()
        if now - self._said >= self._every:
            self._said = now
            self.say(self._so_far())
        if self._estimate:
            self._announce(now, self._done - self._before)

    def line(self, text: str) -> None:
        """Say one line, with the time since the start and the time that is left at the mean pace so far."""
        elapsed, left = time.perf_counter() - self._start, (self._total or 0) - self._done
        left_time = elapsed / max(1, self._done - self._before) * left
        self.say(f"{text} ({elapsed:.0f} s{f', about {_spoken(left_time)} left' if left > 0 else ''})")

    def say(self, text: str, *, file: TextIO | None = None) -> None:
        """Say one line as it is, above the bar where there is one; on standard error or in ``file``."""
        if self.show:
            file = file or sys.stderr
            self._bar.write(f"{self._label}: {text}" if self._label else text, file=file)
            file.flush()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def _so_far(self) -> str:
        scale, digits = (1e6, 1) if self._unit == "MB" else (1, 0)
        done = f"{self._done / scale:.{digits}f}"
        if not self._total:
            return f"{done} {self._unit}"
        return f"{done} of {self._total / scale:.{digits}f} {self._unit} ({100 * self._done / self._total:.0f} %)"

    def _announce(self, now: float, mine: int) -> None:
        if mine == _WARM_UP:
            self._warm = now
        if mine == _WARM_UP + _MEASURED:
            left = (self._total or 0) - self._done
            seconds = (now - self._warm) / _MEASURED * left
            if seconds > _LONG:
                self.say(f"about {_spoken(seconds)} for {left} steps, {_gigabytes():.1f} GB of memory")


def _spoken(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _gigabytes() -> float:
    """Peak of the memory so far: of the GPU where there is one, else of the process; in 10^9 bytes."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 1e9
    try:
        import resource
    except ModuleNotFoundError:  # not a Unix
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


class StopRequest:
    """Whether somebody asked the run to stop."""

    made = False


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn Ctrl-C, and SIGTERM as batch systems send it, into a request that is met after the step.

    A second Ctrl-C ends at once. Outside of the main thread, where Python allows no handlers, nothing is changed.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        if request.made and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.made = True

    try:
        for number in before:
            signal.signal(number, ask)
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def memory_advice(lower: str) -> Iterator[None]:
    """Turn running out of memory inside the block into a RunError of one sentence: which settings to lower."""
    import torch

    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch's CPU allocator has no exception of its own
        known = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error)
        if not known:
            raise
        raise RunError(f"out of memory; lower {lower}") from None
