"""Grids of notebook runs on Dask workers: each run once, resumed by the hash of its parameters, with a summary page.

A run leaves ``runs/HASH``, written as a hidden half folder and moved to its place when it is whole.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import secrets
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsds_lib.outputs import own_folder
from hsds_lib.reports.execute import ReportJob, cell_limit, execute_report
from hsds_lib.reports.grid import (
    FORMAT,
    OUT,
    Grid,
    Run,
    RunOutcome,
    combinations,
    described,
    find_outcome,
    holds_sweep,
    plan,
    varying,
    write_summary,
)
from hsds_lib.reports.notebook import find_notebooks
from hsds_lib.reports.record import duration
from hsds_lib.runs.progress import Progress, Stopped, StopRequest, stop_requests
from hsds_lib.runtime import RunError, atomic_path, provenance, read_json, write_json

if TYPE_CHECKING:
    from distributed import Client, Future

DEATHS = 3
"""A run whose worker died so many times is recorded as failed."""
PATIENCE = 180.0
"""Seconds without any worker after which a sweep stops; a loaded machine takes a minute to start one again."""
CONNECT = 5
"""Seconds within which a scheduler must answer."""
FIRST_WORKER = 30
"""Seconds within which its first worker must be there."""
_WORKER_MEMORY = 2 * 2**30  # bytes that a run at preset tiny or lesson may need, with its kernel
_HALF = re.compile(r"\.(\w+)-[0-9a-f]{8}(-old)?")
_AGAIN = "the finished runs are kept; give the same command again, without --restart, to go on"


class SweepError(RunError):
    """A sweep cannot go on; the message says why and what to do."""


def run_sweep(
    grid: Grid,
    out: str | Path,
    *,
    notebooks: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    restart: bool = False,
) -> list[RunOutcome]:
    """Execute all runs of a grid and write a summary: ``index.html``, ``summary.csv`` and ``summary.json``.

    What is finished in ``out`` is not done again unless its notebook or ``restart`` say so; what failed is. A failing
    run or a dying worker does not stop the others. ``workers`` are processes here, as many as suit the machine when
    None; ``scheduler`` is the address of a Dask scheduler instead, whose workers see ``out`` under the same path. A
    grid that does not fit the notebooks, or a folder ``out`` that no sweep made, is a ``ValueError`` before anything
    runs; Ctrl-C is ``Stopped``.
    """
    if workers is not None and (scheduler is not None or workers < 1):
        raise ValueError(f"workers is {workers}: give a number from 1, or the address of a scheduler, but not both")
    notebooks = notebooks or find_notebooks()
    runs = plan(grid, notebooks)
    folder = own_folder(out, "hsds sweep", notebooks, *(run.path for run in runs), adopt=holds_sweep)
    ledger = Ledger(grid, runs, folder, restart=restart)
    ledger.announce(len(combinations(grid)) * len(set(grid.notebook)))
    try:
        if ledger.waiting:
            count = min(workers or default_workers(), len(ledger.waiting))
            found = remote_workers(scheduler, ledger.out) if scheduler else local_workers(count)
            with stop_requests() as stop, found as client:
                _drive(client, ledger, stop)
    except Stopped:
        raise
    except KeyboardInterrupt:  # a second Ctrl-C, which did not wait
        raise Stopped(f"stopped; {_AGAIN}") from None
    finally:
        ledger.close()
        # Workers of a scheduler go on with what they have begun; those started here have ended.
        clear_away([one.run for one in ledger.outcomes if not scheduler or one.status != "not run"], ledger.out)
    return ledger.outcomes


class Ledger:
    """The runs of a sweep and what is known of each; writes the summary, and says a line for each that ends."""

    def __init__(self, grid: Grid, runs: Sequence[Run], out: Path, *, restart: bool = False) -> None:
        """Look at what is there of the runs; with ``restart``, remove it."""
        self.out, self.grid, self._runs, self._varying = out, grid, list(runs), varying(runs)
        (out / "runs").mkdir(parents=True, exist_ok=True)
        clear_away(runs, out)
        for run in runs if restart else ():
            (out / "runs" / run.key / "run.json").unlink(missing_ok=True)  # what counts, and gone at once
            shutil.rmtree(out / "runs" / run.key, ignore_errors=True)
        found = [find_outcome(run, out) for run in runs]
        self._found = {one.run.key: one if one.status == "ok" else RunOutcome(one.run) for one in found}
        self.waiting = [run for run in runs if self._found[run.key].status != "ok"]
        self._progress = Progress(len(runs), unit="runs", done=len(runs) - len(self.waiting))

    @property
    def outcomes(self) -> list[RunOutcome]:
        """What is known of each run, in order."""
        return [self._found[run.key] for run in self._runs]

    def announce(self, combinations: int) -> None:
        """Say how many runs there are of so many combinations, how many are finished, and where the files come from."""
        merged = combinations - len(self._runs)
        equal = f" ({merged} of {combinations} combinations are equal to others and were merged)" if merged else ""
        ready = [outcome for outcome in self.outcomes if outcome.status == "ok"]
        self.say(f"{len(self._runs)} runs{equal}, {len(ready)} of them finished before; results in {self.out}")
        commit = provenance()["commit"]
        if old := sum(outcome.commit != commit for outcome in ready):
            self.say(f"note: {old} of the finished runs were made at another commit; --restart repeats them")

    def finish(self, run: Run) -> None:
        """Take note of a run that a worker has put in place."""
        outcome = find_outcome(run, self.out)
        if outcome.status == "not run":
            return self.fail(run, f"the worker says it is done, but there is nothing in {self.out / 'runs' / run.key}")
        return self._note(outcome)

    def fail(self, run: Run, error: str) -> None:
        """Leave a failed run without a page, for one whose worker could not write anything."""
        with _new_folder(self.out, run.key) as folder:
            _write_record(folder, run, {"status": "failed", "error": error, "seconds": None, "numbers": {}})
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

    def _note(self, outcome: RunOutcome) -> None:
        self._found[outcome.run.key] = outcome
        done = sum(one.status != "not run" for one in self._found.values())
        took = "" if outcome.seconds is None else f", {duration(outcome.seconds)}"
        state = "ok" if outcome.status == "ok" else "FAILED"
        self._progress.step()
        self.say(f"[{done}/{len(self._runs)}] {described(outcome.run, self._varying)}: {state}{took}")
        if outcome.error:
            self.say(f"    {outcome.error}")
        write_summary(self.out, self.grid, self.outcomes)


def _drive(client: Client, ledger: Ledger, stop: StopRequest) -> None:
    """Keep every worker busy with one run, and no more: Dask blames a dead worker's death on all that it held."""
    waiting, deaths = deque(ledger.waiting), Counter[str]()
    flying: dict[Future, Run] = {}
    last_seen = time.monotonic()
    while waiting or flying:
        try:
            threads = sum(client.nthreads().values())
        except (OSError, TimeoutError):  # distributed's CommClosedError is an OSError
            raise SweepError(f"the scheduler does not answer any more; {_AGAIN}") from None
        if threads:
            last_seen = time.monotonic()
        elif time.monotonic() - last_seen > PATIENCE:
            raise SweepError(f"there has been no worker for {PATIENCE:.0f} s; {_AGAIN}")
        while waiting and len(flying) < threads:
            run = _within_reach(waiting.popleft(), ledger.out)
            name = f"hsds-{run.key}-{time.time_ns()}"
            flying[client.submit(carry_out, run, ledger.out, key=name, pure=False)] = run
        for future in [future for future in flying if future.done()]:
            run = flying.pop(future)
            waiting += _settle(future, run, ledger, deaths)
        if stop.made:
            client.cancel(list(flying))
            done = sum(outcome.status != "not run" for outcome in ledger.outcomes)
            raise Stopped(f"stopped after {done} of {len(ledger.outcomes)} runs; {_AGAIN}")
        time.sleep(0.1)


def _settle(future: Future, run: Run, ledger: Ledger, deaths: Counter[str]) -> list[Run]:
    """Take note of how a run ended; one whose worker died comes back for another try."""
    from distributed import KilledWorker

    if future.status == "finished":
        ledger.finish(run)
        return []
    if future.status in ("cancelled", "lost"):
        raise SweepError(f"the scheduler has lost its runs; {_AGAIN}")
    error = future.exception()
    if not isinstance(error, KilledWorker):
        ledger.fail(run, f"{type(error).__name__}: {' '.join(str(error).split())}")
        return []
    deaths[run.key] += error.allowed_failures + 1
    if deaths[run.key] < DEATHS:
        ledger.say(f"the worker of {described(run, ())} died; trying again")
        return [run]
    ledger.fail(run, f"its worker died {deaths[run.key]} times: it was killed, or its machine had no memory left")
    return []


def _within_reach(run: Run, out: Path) -> Run:
    """The run of a copy of the notebook in the sweep's folder, where workers find it."""
    kept = out / "source" / run.source / f"{run.notebook}.ipynb"
    if not kept.is_file():
        with atomic_path(kept) as temporary:
            shutil.copyfile(run.path, temporary)
    return replace(run, path=kept)


# The workers.


def default_workers() -> int:
    """How many local workers suit this machine: one for each core, 2 GiB for each."""
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    return max(1, min(CPU_COUNT, MEMORY_LIMIT // _WORKER_MEMORY))


@contextmanager
def local_workers(count: int) -> Iterator[Client]:
    """Start worker processes on this machine, with one thread each, and end them after the block."""
    from distributed import Client, LocalCluster

    with (
        tempfile.TemporaryDirectory(prefix="hsds-sweep-") as folder,
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            # The memory is taken by the kernel, a process of its own that Dask does not see: a limit would only hit
            # the worker. A kernel that the system ends for want of memory is a failed run with that sentence.
            memory_limit=0,
            local_directory=folder,
            silence_logs=logging.CRITICAL,
            # One death of a worker is told at once; who retries is the sweep.
            scheduler_kwargs={"allowed_failures": 0},
        ) as cluster,
        Client(cluster) as client,
    ):
        # Ctrl-C, which a terminal sends to all processes, is met by the sweep alone.
        client.register_plugin(_deaf_to_interrupts())
        yield client


def _deaf_to_interrupts() -> Any:
    from distributed import WorkerPlugin

    class DeafToInterrupts(WorkerPlugin):
        name = "hsds-interrupts"

        def setup(self, worker: Any) -> None:
            # A function, not SIG_IGN, which the kernels would inherit.
            signal.signal(signal.SIGINT, lambda *_: None)

    return DeafToInterrupts()


@contextmanager
def remote_workers(address: str, out: Path) -> Iterator[Client]:
    """Connect to a scheduler such as ``tcp://192.168.1.5:8786``, and make sure that its workers can take part.

    A ``SweepError`` says that no scheduler answers, that it has no worker, or which worker does not fit.
    """
    from distributed import Client

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is said by the sweep
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions; they are compared below
            client = Client(address, timeout=CONNECT)
    except (OSError, ValueError, TypeError):
        raise SweepError(
            f"no scheduler answers at {address}; start one with `dask scheduler` and give the address that it prints, "
            "or leave --scheduler out to use this machine"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=FIRST_WORKER)
        except TimeoutError:
            raise SweepError(
                f"the scheduler at {address} has no workers; start some with `dask worker {address} --nthreads 1`"
            ) from None
        _check_workers(client, out)
        yield client


def _check_workers(client: Client, out: Path) -> None:
    """Refuse workers that would run something else, or write somewhere else."""

    # Defined here, so that it is sent as it is and runs where the library is missing or another one.
    def facts(mark: str) -> dict[str, Any]:
        import os

        import distributed

        from hsds_lib.runtime import provenance

        found = provenance(distributed=distributed.__version__)
        found["Python"] = found["python"].rpartition(".")[0]
        return found | {"folder": os.path.exists(mark)}

    with tempfile.NamedTemporaryFile(dir=out, prefix=".sweep-") as mark:
        mine = facts(mark.name)
        answers = client.run(facts, mark.name, on_error="return")
    for worker, found in sorted(answers.items()):
        if not isinstance(found, dict):
            raise SweepError(f"the worker {worker} cannot load hsds_lib ({found}); install the course on its machine")
        for name in ("Python", "distributed", "hsds_lib"):
            if found[name] != mine[name]:
                raise SweepError(
                    f"the worker {worker} has {name} {found[name]}, but here it is {mine[name]}; "
                    "install the same on all workers"
                )
        if found["commit"] != mine["commit"]:
            raise SweepError(
                f"the worker {worker} has hsds_lib {found['hsds_lib']} with other source files than here; "
                "bring all workers to the same commit and start them again"
            )
        if not found["folder"]:
            raise SweepError(
                f"the worker {worker} does not see the folder {out}; put --out on a disk that all workers share, "
                "under the same path"
            )


def carry_out(run: Run, out: Path) -> None:
    """Execute one run, on a worker, and put its folder in place at the end: there is a whole result or none.

    A ``SweepError`` says that this machine does not see the folder of the sweep.
    """
    if not (out / "runs").is_dir():
        raise SweepError(f"the worker on {platform.node()} does not see the folder {out}; share it with all workers")
    given = run.given | ({OUT: run.defaults[OUT]} if OUT in run.defaults else {})
    with _new_folder(out, run.key) as folder:
        job = ReportJob(run.path, run.defaults, given)
        limit = cell_limit(given)
        execute_report(job, folder, pages={run.notebook}, timeout=limit, index="../../index.html")
        report = read_json(folder / f"{run.notebook}.json")
        _write_record(folder, run, {name: report[name] for name in ("status", "error", "seconds", "numbers")})


# The folders of the runs.


def clear_away(runs: Iterable[Run], out: Path) -> None:
    """Remove what dead workers left of these runs: half folders that were never put in place."""
    keys = {run.key for run in runs}
    for folder in (out / "runs").glob(".*"):
        found = _HALF.fullmatch(folder.name)
        for _ in range(5 if found and found[1] in keys else 0):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.5)  # a kernel outlives its worker by a second, and may still have written


def _write_record(folder: Path, run: Run, kept: Mapping[str, Any]) -> None:
    facts = {"sweep": FORMAT, "key": run.key, "notebook": run.notebook, "parameters": run.given}
    write_json(folder / "run.json", facts | {"host": platform.node(), "commit": provenance()["commit"]} | dict(kept))


@contextmanager
def _new_folder(out: Path, key: str) -> Iterator[Path]:
    """A folder to write a run into, moved to its place when the block ends well and removed when it does not."""
    final, folder = out / "runs" / key, out / "runs" / f".{key}-{secrets.token_hex(4)}"
    old = folder.with_name(f"{folder.name}-old")
    folder.mkdir()
    try:
        yield folder
        if final.exists():  # a failed run, or one to be done again
            os.replace(final, old)
        os.replace(folder, final)
    finally:
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
