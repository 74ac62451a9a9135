"""How a long run talks while it works, how long it will take, and how it ends when it is asked to."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hsds_lib.runtime import RunError

_WARM_UP = 2  # steps that are not measured: the first ones allocate memory and compile kernels
_MEASURED = 3
_LONG = 60.0  # seconds; what is announced


class Stopped(KeyboardInterrupt):
    """A run ended at a step because it was asked to; the message says how to go on."""


class Progress:
    """Progress that suits its reader: a bar on a terminal, one line per epoch in logs and notebooks, or nothing.

    Example:
        >>> import contextlib, io
        >>> with contextlib.redirect_stderr(io.StringIO()) as log:  # no terminal
        ...     progress = Progress(2, label="train")
        ...     progress.step()
        ...     progress.line("epoch 1/2, loss 0.25")
        ...     progress.step()
        ...     progress.line("epoch 2/2, loss 0.20")
        ...     progress.close()
        >>> print(log.getvalue())
        train: epoch 1/2, loss 0.25 (0 s, about 0 s left)
        train: epoch 2/2, loss 0.20 (0 s)
    """

    def __init__(self, total: int, *, label: str, show: bool = True, done: int = 0) -> None:
        """Start the clock.

        Args:
            total: how many steps are expected.
            label: what is going on, in a word.
            show: False keeps quiet.
            done: how many of them were done before.
        """
        from tqdm import tqdm

        self.show = show
        self._label, self._total, self._done, self._began_at = label, total, done, done
        self._start = self._warm = time.perf_counter()
        self._bar = tqdm(total=total, initial=done, desc=label, disable=not (show and sys.stderr.isatty()))

    def step(self) -> None:
        """One step is done; after the first few, a run that will be long is announced."""
        self._bar.update()
        self._done += 1
        now, mine = time.perf_counter(), self._done - self._began_at
        if mine == _WARM_UP:
            self._warm = now
        if mine == _WARM_UP + _MEASURED:
            left = (now - self._warm) / _MEASURED * (self._total - self._done)
            if left > _LONG:
                self.say(f"about {_spoken(left)} for {self._total - self._done} steps, {_gigabytes():.1f} GB of memory")

    def line(self, text: str) -> None:
        """Say one line, with the time since the start and the time that is left at the mean pace so far.

        Args:
            text: what to say.
        """
        elapsed = time.perf_counter() - self._start
        left = elapsed / max(1, self._done - self._began_at) * (self._total - self._done)
        rest = f", about {_spoken(left)} left" if self._done < self._total else ""
        self.say(f"{text} ({elapsed:.0f} s{rest})")

    def say(self, text: str) -> None:
        """Say one line as it is."""
        if self.show:
            self._bar.write(f"{self._label}: {text}", file=sys.stderr)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


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
    """Whether somebody asked the run to stop.

    Example:
        >>> StopRequest().made
        False
    """

    made = False


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn Ctrl-C, and SIGTERM as batch systems send it, into a request that is met after the step.

    A second Ctrl-C ends at once. Outside of the main thread, where Python allows no handlers, nothing is changed.

    Yields:
        The request.

    Example:
        >>> with stop_requests() as stop:
        ...     signal.raise_signal(signal.SIGINT)
        ...     stop.made
        True
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
    """Turn running out of memory into one sentence.

    Args:
        lower: which settings to lower, with their present values.

    Yields:
        Nothing.

    Raises:
        RunError: inside the block there was not enough memory.

    Example:
        >>> with memory_advice("crop (256)"):
        ...     raise MemoryError
        Traceback (most recent call last):
        hsds_lib.runtime.RunError: out of memory; lower crop (256)
    """
    import torch

    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch's CPU allocator has no exception of its own
        known = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error)
        if not known:
            raise
        raise RunError(f"out of memory; lower {lower}") from None
