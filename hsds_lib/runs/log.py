"""What a long run leaves behind while it works: a line of history a step, checkpoints, progress, and a clean end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from hsds_lib.runs.checkpoints import Checkpoint, Checkpoints
from hsds_lib.runs.parallel import Group
from hsds_lib.runs.progress import Progress, Stopped, StopRequest, stop_requests
from hsds_lib.runtime import RunError, atomic_path


class RunLog:
    """History, checkpoints and progress of a run of many steps; in a group of processes, the first one's alone.

    Nothing is written without a folder, and only by the first process (``writes``).

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log, history = RunLog(folder, "count", show=False, every=0), []
        ...     with log.running(3, history):
        ...         for number in range(3):
        ...             history.append({"step": number})
        ...             log.step(history[-1], lambda: Checkpoint(len(history), {}, {"history": history}))
        ...     sorted(path.name for path in Path(folder).iterdir())
        ['count.checkpoint-previous.safetensors', 'count.checkpoint.safetensors', 'history.jsonl']
    """

    def __init__(
        self,
        folder: str | Path | None,
        name: str,
        *,
        show: bool,
        every: float,
        group: Group | None = None,
        history: str = "history.jsonl",
    ) -> None:
        """Say what is running, in a word, and how many seconds go from one checkpoint to the next."""
        self._group = group or Group()
        first = self._group.rank == 0
        self.folder = Path(folder or ".")
        self.writes = folder is not None and first
        self.progress = Progress(0, label=name, show=False)
        self._name, self._show, self._history = name, show and first, self.folder / history
        self._kept = None if folder is None else Checkpoints(self.folder, name, every=every)
        self._stop = StopRequest()

    def find(self, identity: Mapping[str, Any], *, accept_code_change: bool = False) -> Checkpoint | None:
        """Find where to go on: the newest whole checkpoint of the same run, or None; see ``Checkpoints.find``."""
        if self._kept is None:
            return None
        say = Progress(0, label=self._name, show=self._show).say
        return self._kept.find(identity, say, accept_code_change=accept_code_change)

    @contextmanager
    def running(self, total: int, history: Sequence[Mapping[str, Any]], *, done: int | None = None) -> Iterator[None]:
        """Keep a log inside the block, of a run of ``total`` steps of which ``done`` are done, by default one a record.

        The file will hold the records of ``history``, and no others of an attempt that was cut off. A RunError of the
        block is passed on with the last good checkpoint named.
        """
        done = len(history) if done is None else done
        self.progress = Progress(total, label=self._name, show=self._show, done=done, estimate=True)
        if self.writes:
            if self._kept is not None and not done:
                self._kept.remove()
            with atomic_path(self._history) as temporary:
                temporary.write_text("".join(_line(record) for record in history), encoding="utf-8")
        try:
            with closing(self.progress), stop_requests() as self._stop:
                yield
        except RunError as error:
            if self._kept is None or "checkpoint" in str(error):
                raise
            raise RunError(f"{error}; {self._kept.last_good()}") from error

    def record(self, record: Mapping[str, Any]) -> None:
        """Add a line to the history, at once, so that a run can be watched; RunError if that fails."""
        if not self.writes:
            return
        try:
            with self._history.open("a", encoding="utf-8") as stream:
                stream.write(_line(record))
        except OSError as error:
            raise RunError(f"{self._history} could not be written ({error}); make room and run it again") from error

    def step(self, record: Mapping[str, Any] | None, state: Callable[[], Checkpoint]) -> None:
        """Note that a step is done, with its record if it has one, and write a checkpoint of the state if one is due.

        Stopped if somebody asked the run to stop, after a checkpoint; RunError if a file cannot be written.
        """
        if record is not None:
            self.record(record)
        self.progress.step()
        stop = self._group.any(self._stop.made)  # together, or one would wait for the others
        if self.writes and self._kept is not None and (stop or self._kept.due()):
            self._kept.save(state())
        if stop:
            how = "" if self._kept is None else f"; {self._kept.last_good()}: the same command goes on from there"
            raise Stopped(f"{self._name} stopped as asked{how}")

    def finish(self) -> None:
        """Remove the checkpoints: the results are written."""
        if self._kept is not None and self.writes:
            self._kept.remove()


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
