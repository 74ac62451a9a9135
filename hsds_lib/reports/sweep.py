"""Grids of notebook runs on Dask workers: each run once, resumed by the hash of its parameters, with a summary page."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from hsds_lib.reports.notebook import find_notebooks
from hsds_lib.reports.record import duration
from hsds_lib.reports.sweep_cluster import default_workers, local_workers, remote_workers
from hsds_lib.reports.sweep_grid import Grid, Run, combinations, plan
from hsds_lib.reports.sweep_run import Outcome, carry_out, clear_away, find_outcome, forget, make_order, record_failure
from hsds_lib.reports.sweep_share import SweepError, library_hash, share_folder
from hsds_lib.reports.sweep_summary import described, varying, write_summary
from hsds_lib.runs.progress import Progress, Stopped, StopRequest, stop_requests

if TYPE_CHECKING:
    from distributed import Client, Future

DEATHS = 3
"""A run whose worker died so many times is recorded as failed."""
PATIENCE = 60.0
"""Seconds without any worker after which a sweep stops."""
_AGAIN = "the finished runs are kept; give the same command again, without --restart, to go on"


def run_sweep(
    grid: Grid,
    out: str | Path,
    *,
    notebooks: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    restart: bool = False,
) -> list[Outcome]:
    """Execute all runs of a grid and write a summary: ``index.html``, ``summary.csv`` and ``summary.json``.

    Each run leaves ``runs/HASH`` with its page, its record, the executed notebook and the files that it wrote. A run
    that is finished there already is not done again unless its notebook, its parameters or ``restart`` say so; one that
    failed is. A failing run or a dying worker does not stop the others.

    Args:
        grid: what to run.
        out: the folder to write to; workers elsewhere must see it under the same path.
        notebooks: the folder with the built notebooks; the checkout's when None.
        workers: processes on this machine; when None as many as suit it.
        scheduler: address of a Dask scheduler that runs elsewhere, instead of local processes.
        restart: do finished runs again.

    Returns:
        What became of each run, in the order of the grid.

    Raises:
        ValueError: before anything is executed, when the grid does not fit the notebooks.
        SweepError: the scheduler or all its workers are gone, or do not fit.
        Stopped: Ctrl-C; what is finished is kept, and is in the summary.

    Example:
        >>> run_sweep(Grid(notebook="03_wsras", parameters={"sede": [0, 1]}), "sweeps/first")
        Traceback (most recent call last):
        ValueError: unknown parameter sede; the notebooks of the grid know data, device, preset, seed, steps, top_p
    """
    if workers is not None and (scheduler is not None or workers < 1):
        raise ValueError(f"workers is {workers}: give a number from 1, or the address of a scheduler, but not both")
    out, notebooks = Path(out).resolve(), notebooks or find_notebooks()
    runs = plan(grid, notebooks)
    token = share_folder(out)
    ledger = Ledger(grid, runs, out, restart=restart)
    ledger.announce(len(combinations(grid)) * len(set(grid.notebook)))
    try:
        if ledger.waiting:
            with stop_requests() as stop, ExitStack() as stack:
                client = stack.enter_context(_workers(workers, scheduler, len(ledger.waiting), out, token))
                _drive(client, ledger, token, stop)
    except Stopped:
        raise
    except KeyboardInterrupt:  # a second Ctrl-C, which did not wait
        raise Stopped(f"stopped; {_AGAIN}") from None
    finally:
        ledger.close()
    return ledger.outcomes


class Ledger:
    """The runs of a sweep and what is known of each; writes the summary, and says a line for each that ends.

    Attributes:
        outcomes: one for each run, in order.
        waiting: the runs that are still to be done.

    Example:
        >>> import tempfile
        >>> runs = [Run("toy", Path("toy.ipynb"), "5e", key, {"seed": 0}, {"seed": 0}) for key in ("a0", "a1")]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ledger = Ledger(Grid(notebook="toy"), runs, Path(folder))
        ...     ledger.fail(runs[0], "its worker died")
        ...     ledger.close()
        [1/2] toy, seed 0: FAILED
            its worker died
        >>> [outcome.status for outcome in ledger.outcomes]
        ['failed', 'not run']
    """

    def __init__(self, grid: Grid, runs: Sequence[Run], out: Path, *, restart: bool = False) -> None:
        """Look at what is there.

        Args:
            grid: where the runs come from.
            runs: all of them.
            out: the folder of the sweep.
            restart: remove what is there of these runs.
        """
        self.out, self.grid, self._runs = out, grid, list(runs)
        for run in runs if restart else ():
            forget(run, out)
        found = [find_outcome(run, out) for run in runs]
        self._found = {one.run.key: one if one.status == "ok" else Outcome(one.run) for one in found}
        self.waiting = deque(run for run in runs if self._found[run.key].status != "ok")
        self._varying = varying(runs)
        self._progress = Progress(len(runs), unit="runs", done=len(runs) - len(self.waiting))

    @property
    def outcomes(self) -> list[Outcome]:
        """What is known of each run, in order."""
        return [self._found[run.key] for run in self._runs]

    def announce(self, combinations: int) -> None:
        """Say how many runs there are, how many are finished, and where the files come from.

        Args:
            combinations: how many the grid named before equal ones were merged.
        """
        merged = combinations - len(self._runs)
        equal = f" ({merged} of {combinations} combinations are equal to others and were merged)" if merged else ""
        ready = [outcome for outcome in self.outcomes if outcome.status == "ok"]
        self.say(f"{len(self._runs)} runs{equal}, {len(ready)} of them finished before; results in {self.out}")
        if old := sum(outcome.library != library_hash() for outcome in ready):
            self.say(
                f"note: {old} of the finished runs were made with other sources of hsds_lib; --restart repeats them"
            )

    def finish(self, run: Run) -> None:
        """Take note of a run that a worker has put in place."""
        outcome = find_outcome(run, self.out)
        if outcome.status == "not run":
            return self.fail(run, f"the worker says it is done, but there is nothing in {self.out / 'runs' / run.key}")
        return self._note(outcome)

    def fail(self, run: Run, error: str) -> None:
        """Take note of a run that left nothing itself."""
        record_failure(run, self.out, error)
        self._note(find_outcome(run, self.out))

    def say(self, text: str) -> None:
        """Say a line, above the bar where there is one."""
        self._progress.say(text, file=sys.stdout)

    def close(self) -> None:
        """Write the summary a last time, with what workers still finished while the sweep was being stopped."""
        self._progress.close()
        late = {key: find_outcome(one.run, self.out) for key, one in self._found.items() if one.status == "not run"}
        self._found |= {key: one for key, one in late.items() if one.status == "ok"}
        write_summary(self.out, self.grid, self.outcomes)

    def _note(self, outcome: Outcome) -> None:
        clear_away(outcome.run, self.out)
        self._found[outcome.run.key] = outcome
        done = sum(one.status != "not run" for one in self._found.values())
        took = "" if outcome.seconds is None else f", {duration(outcome.seconds)}"
        state = "ok" if outcome.status == "ok" else "FAILED"
        self._progress.step()
        self.say(f"[{done}/{len(self._runs)}] {described(outcome.run, self._varying)}: {state}{took}")
        if outcome.error:
            self.say(f"    {outcome.error}")
        write_summary(self.out, self.grid, self.outcomes)


def _workers(
    workers: int | None, scheduler: str | None, runs: int, out: Path, token: str
) -> AbstractContextManager[Client]:
    if scheduler is not None:
        return remote_workers(scheduler, str(out), token)
    return local_workers(min(workers or default_workers(runs), runs))


def _drive(client: Client, ledger: Ledger, token: str, stop: StopRequest) -> None:
    """Keep every worker busy with one run until all are done."""
    flying: dict[Future, Run] = {}
    deaths: Counter[str] = Counter()
    last_seen = time.monotonic()
    while ledger.waiting or flying:
        free = _free_workers(client, len(flying))
        if free is not None:
            last_seen = time.monotonic()
        elif time.monotonic() - last_seen > PATIENCE:
            raise SweepError(f"there has been no worker for {PATIENCE:.0f} s; {_AGAIN}")
        for _ in range(min(free or 0, len(ledger.waiting))):
            run = ledger.waiting.popleft()
            name = f"hsds-{run.key}-{time.time_ns()}"
            order = make_order(run, ledger.out, token)
            flying[client.submit(carry_out, order, key=name, pure=False)] = run
        for future in _landed(flying, client):
            run = flying.pop(future)
            _settle(future, run, ledger, deaths)
        if stop.made:
            client.cancel(list(flying))
            done = sum(outcome.status != "not run" for outcome in ledger.outcomes)
            raise Stopped(f"stopped after {done} of {len(ledger.outcomes)} runs; {_AGAIN}")


def _free_workers(client: Client, flying: int) -> int | None:
    """How many more runs fit; None when there is no worker at all."""
    try:
        threads = sum(client.nthreads().values())
    except (OSError, TimeoutError):  # distributed's CommClosedError is an OSError
        raise SweepError(f"the scheduler does not answer any more; {_AGAIN}") from None
    return max(0, threads - flying) if threads else None


def _landed(flying: dict[Future, Run], client: Client) -> Iterator[Future]:
    """The runs that have ended, waiting a second at most."""
    from distributed import wait

    if not flying:
        time.sleep(0.2)
        return
    try:
        wait(list(flying), timeout=1, return_when="FIRST_COMPLETED")
    except (TimeoutError, OSError):
        return
    except Exception:  # of a run that failed or was cancelled; each is asked below
        pass
    yield from [future for future in flying if future.done()]


def _settle(future: Future, run: Run, ledger: Ledger, deaths: Counter[str]) -> None:
    """Take note of how a run ended; one whose worker died has another try."""
    from distributed import KilledWorker

    if future.status == "finished":
        ledger.finish(run)
        return
    if future.status in ("cancelled", "lost"):
        raise SweepError(f"the scheduler has lost its runs; {_AGAIN}")
    error = future.exception()
    if not isinstance(error, KilledWorker):
        ledger.fail(run, f"{type(error).__name__}: {' '.join(str(error).split())}")
        return
    deaths[run.key] += error.allowed_failures + 1
    if deaths[run.key] < DEATHS:
        ledger.say(f"the worker of {described(run, {})} died; trying again")
        ledger.waiting.append(run)
        return
    ledger.fail(run, f"its worker died {deaths[run.key]} times: it was killed, or its machine had no memory left")
