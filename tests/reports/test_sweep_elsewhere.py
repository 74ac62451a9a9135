"""Sweeps by workers of a scheduler that was started separately."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hsds_lib.reports import sweep
from hsds_lib.reports.grid import Grid
from hsds_lib.reports.sweep import SweepError, run_sweep

pytestmark = pytest.mark.slow  # each starts processes

LIBRARY = Path(sweep.__file__).parents[1]


@contextmanager
def process(*words: str, library: Path = LIBRARY) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended after the block; its Dask and its hsds_lib are told by the environment."""
    environment = os.environ | {"PYTHONPATH": str(library.parent), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=library.parent,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(timeout=10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def scheduler(folder: Path) -> Iterator[str]:
    file = folder / "scheduler.json"
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    with process("distributed.cli.dask_scheduler", *words):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                address = str(json.loads(file.read_text(encoding="utf-8"))["address"])
                break
            except (OSError, ValueError, KeyError):
                time.sleep(0.05)
        else:
            pytest.fail("the scheduler did not start")
        yield address


@contextmanager
def worker(address: str, folder: Path, *, library: Path = LIBRARY) -> Iterator[subprocess.Popen[bytes]]:
    words = [address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
    folder.mkdir(exist_ok=True)
    with process("distributed.cli.dask_worker", *words, "--local-directory", str(folder), library=library) as started:
        yield started


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a scheduler in a process of its own, without workers."""
    with scheduler(tmp_path_factory.mktemp("scheduler")) as address:
        yield address


def test_workers_elsewhere_do_the_runs_and_may_die(
    elsewhere: str, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "PATIENCE", 1.0)
    place = str(tmp_path)
    grid = Grid(notebook="01_swept", parameters={"mode": ["kills once", "fails"], "seed": 4, "place": place})
    with worker(elsewhere, tmp_path / "one") as one, worker(elsewhere, tmp_path / "two") as two:
        outcomes = run_sweep(grid, tmp_path / "out", notebooks=swept, scheduler=elsewhere)
        assert [one.poll(), two.poll()].count(-signal.SIGKILL) == 1
        assert [outcome.status for outcome in outcomes] == ["ok", "failed"]
        assert [dict(outcome.numbers) for outcome in outcomes] == [{"tenfold": 40}, {}]
        (tmp_path / "mended").touch()
        again = run_sweep(grid, tmp_path / "out", notebooks=swept, scheduler=elsewhere)
        assert [outcome.status for outcome in again] == ["ok", "ok"]
        assert again[0].seconds == outcomes[0].seconds
        last = Grid(notebook="01_swept", parameters={"mode": "kills", "place": place})
        with pytest.raises(SweepError, match="there has been no worker for 1 s"):
            run_sweep(last, tmp_path / "out", notebooks=swept, scheduler=elsewhere)


def test_a_worker_with_another_library_is_refused(elsewhere: str, swept: Path, tmp_path: Path) -> None:
    other = shutil.copytree(
        LIBRARY, tmp_path / "other" / "hsds_lib", ignore=shutil.ignore_patterns("__pycache__", "*.png")
    )
    with worker(elsewhere, tmp_path / "one", library=other), pytest.raises(SweepError) as caught:
        run_sweep(Grid(notebook="01_swept"), tmp_path / "out", notebooks=swept, scheduler=elsewhere)
    assert "with other source files than here; bring all workers to the same commit" in str(caught.value)
    assert list((tmp_path / "out" / "runs").iterdir()) == []


def test_a_scheduler_without_workers_is_told(
    elsewhere: str, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "FIRST_WORKER", 1)
    with pytest.raises(
        SweepError, match=r"has no workers; start some with `dask worker tcp://127.0.0.1:\d+ --nthreads 1`"
    ):
        run_sweep(Grid(notebook="01_swept"), tmp_path / "out", notebooks=swept, scheduler=elsewhere)


def test_a_scheduler_that_is_not_there_is_told_at_once(
    swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "CONNECT", 1)
    began = time.monotonic()
    with pytest.raises(SweepError, match=r"no scheduler answers at tcp://127.0.0.1:9; start one with `dask scheduler`"):
        run_sweep(Grid(notebook="01_swept"), tmp_path / "out", notebooks=swept, scheduler="tcp://127.0.0.1:9")
    assert time.monotonic() - began < 30
    assert (tmp_path / "out" / "index.html").is_file()
