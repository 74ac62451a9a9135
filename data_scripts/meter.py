"""How far a transfer is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time

_EVERY = 15.0  # seconds between lines where there is no terminal


class Meter:
    """Count bytes or files, and show it in the way that suits the reader.

    Example:
        >>> import contextlib, io
        >>> with contextlib.redirect_stderr(io.StringIO()) as log:  # no terminal
        ...     meter = Meter("val2017.zip", total=2_000_000, every=0.0)
        ...     meter.add(500_000)
        ...     meter.add(1_500_000)
        ...     meter.close()
        >>> print(log.getvalue())
        val2017.zip: 0.5 of 2.0 MB (25 %)
        val2017.zip: 2.0 of 2.0 MB (100 %)
    """

    def __init__(
        self,
        label: str,
        *,
        total: int | None,
        done: int = 0,
        unit: str = "MB",
        show: bool = True,
        every: float = _EVERY,
    ) -> None:
        """Begin to count.

        Args:
            label: what is transferred.
            total: bytes or files; None where it is not known.
            done: of them, those that were there before.
            unit: "MB" counts bytes; any other word is the unit itself, such as "files".
            show: False keeps quiet.
            every: seconds between two lines where there is no terminal.
        """
        from tqdm import tqdm

        self._label, self._total, self._done, self._unit = label, total, done, unit
        self._every, self._last = every, time.monotonic()
        terminal = show and sys.stderr.isatty()
        self._lines = show and not terminal
        size = {"unit": "B", "unit_scale": True} if unit == "MB" else {"unit": f" {unit}"}
        self._bar = tqdm(total=total, initial=done, desc=label, disable=not terminal, leave=False, **size)

    def add(self, count: int) -> None:
        """Count more.

        Args:
            count: bytes or files.
        """
        self._done += count
        self._bar.update(count)
        now = time.monotonic()
        if self._lines and now - self._last >= self._every:
            self._last = now
            sys.stderr.write(self._line() + "\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def _line(self) -> str:
        scale, digits = (1e6, 1) if self._unit == "MB" else (1, 0)
        text = f"{self._label}: {self._done / scale:.{digits}f}"
        if self._total:
            text += f" of {self._total / scale:.{digits}f} {self._unit} ({100 * self._done / self._total:.0f} %)"
        else:
            text += f" {self._unit}"
        return text
