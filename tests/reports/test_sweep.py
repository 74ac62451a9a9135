"""Sweeps: grids that are checked first, runs on local and on remote workers, failures, deaths, stops and resuming."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup

from hsds_lib.course.kernel import find_notebooks
from hsds_lib.progress import Stopped
from hsds_lib.reports import sweep, sweep_cluster
from hsds_lib.reports.page import loads_from_elsewhere
from hsds_lib.reports.sweep import Ledger, run_sweep
from hsds_lib.reports.sweep_grid import Grid, load_grid, plan
from hsds_lib.reports.sweep_run import Outcome
from hsds_lib.reports.sweep_share import SweepError, share_folder

LIBRARY = Path(sweep.__file__).parents[1]
GRIDS = sorted((find_notebooks() / "grids").glob("*.json"))


# Grids


def written(folder: Path, text: str) -> Path:
    path = folder / "grid.json"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '{"notebook": "01_swept", "parameter": {"seed": 1}}',
            "unknown key 'parameter'; a grid has notebook, parameters",
        ),
        ('{"parameters": {"seed": 1}}', "the key 'notebook' is missing"),
        ('{"notebook": []}', "'notebook' is empty"),
        ('{"notebook": "01_swept", "parameters": {"seed": []}}', "'parameters.seed' is empty"),
        (
            '{"notebook": "01_swept", "parameters": {"seed": [[1]]}}',
            r"'parameters.seed' is \[1\], but must be a number",
        ),
        ('{"notebook": "01_swept", "parameters": {"seed": NaN}}', "'parameters.seed' is nan, but must be a number"),
        ('{"notebook": "01_swept", "parameters": {"seed": {"a": 1}}}', "must be a list or a single value"),
        ('{"notebook": "01_swept", "runs": [{}]}', "'runs.0' is empty"),
        ("[1]", "holds no JSON object"),
        ("{", "is not valid JSON"),
    ],
)
def test_a_bad_grid_file_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        load_grid(written(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 1 and "grid.json" in str(caught.value)


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        ({"notebook": "09_gone"}, "no notebook is called 09_gone"),
        ({"parameters": {"sede": 1}}, "unknown parameter sede; the notebooks of the grid know mode, place, seed"),
        ({"runs": [{"seed": 1}, {"sede": 1}]}, "unknown parameter sede"),
        ({"exclude": [{"sede": 1}]}, "unknown parameter sede"),
        ({"parameters": {"seed": [1, 2]}, "exclude": [{"seed": 3}]}, r'exclude {"seed": 3} meets no combination'),
        ({"parameters": {"seed": 1}, "exclude": [{"seed": 1}]}, "excludes all its combinations"),
        ({"parameters": {"out": "runs/x"}}, "a grid cannot set 'out'"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused_before_anything_runs(
    grid: dict[str, Any], sentence: str, swept: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=sentence):
        run_sweep(Grid(**{"notebook": "01_swept", **grid}), tmp_path / "out", notebooks=swept)
    assert not (tmp_path / "out").exists()


def test_a_grid_is_the_product_and_the_further_runs_without_what_is_excluded(swept: Path) -> None:
    grid = Grid(
        notebook="01_swept",
        parameters={"seed": [1, 2], "mode": ["fine", "fails"]},
        runs=[{"seed": 5}],
        exclude=[{"seed": 2.0, "mode": "fails"}],
    )
    assert [run.given for run in plan(grid, swept)] == [
        {"seed": 1, "mode": "fine"},
        {"seed": 1, "mode": "fails"},
        {"seed": 2, "mode": "fine"},
        {"seed": 5},
    ]


def test_equal_combinations_are_merged_also_with_defaults(swept: Path) -> None:
    grid = Grid(
        notebook=["01_swept", "01_swept"], parameters={"seed": [0, 1, 1]}, runs=[{"mode": "fine"}, {"seed": True}]
    )
    assert [run.given for run in plan(grid, swept)] == [{"seed": 0}, {"seed": 1}, {"seed": True}]


def test_the_hash_follows_name_parameters_and_source_but_not_outputs(swept: Path, tmp_path: Path) -> None:
    def keys(folder: Path, name: str = "01_swept") -> list[str]:
        return [run.key for run in plan(Grid(notebook=name, parameters={"seed": [1, 2]}), folder)]

    path = shutil.copytree(swept, tmp_path / "copy") / "01_swept.ipynb"
    before = keys(swept)
    assert len(set(before)) == 2 and keys(path.parent) == before
    shutil.copy(path, path.with_name("02_other.ipynb"))
    assert not set(keys(path.parent, "02_other")) & set(before)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="other")]
    nbformat.write(notebook, path)
    assert keys(path.parent) == before
    notebook.cells[-1].source += "\n1 + 1"
    nbformat.write(notebook, path)
    assert not set(keys(path.parent)) & set(before)


def test_each_run_gets_its_own_folder_for_results() -> None:
    (run,) = plan(Grid(notebook="05_dual_search"), find_notebooks())
    assert run.parameters["out"] == "results" and "out" not in run.given


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_the_grids_in_the_checkout_fit_the_notebooks(path: Path) -> None:
    assert len(plan(load_grid(path), find_notebooks())) > 1


def test_there_is_an_example_grid() -> None:
    assert "thresholds" in [path.stem for path in GRIDS]


# Two local workers


@pytest.fixture(scope="module")
def local(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Outcome], str]:
    """One sweep with everything that can go wrong in a run: its folder, its outcomes, what was printed."""
    place, out = tmp_path_factory.mktemp("marks"), tmp_path_factory.mktemp("sweep") / "out"
    modes = ["fine", "fails", "kills"]
    grid = Grid(
        notebook="01_swept", parameters={"mode": modes, "seed": 3, "place": str(place)}, runs=[{"place": str(place)}]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "DEATHS", 2)
        with captured_stdout() as lines:
            outcomes = run_sweep(grid, out, notebooks=swept, workers=2)
    return out, outcomes, "".join(lines)


@contextmanager
def captured_stdout() -> Iterator[list[str]]:
    lines: list[str] = []

    class Stream:
        def write(self, text: str) -> int:
            lines.append(text)
            return len(text)

        def flush(self) -> None:
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", Stream())
        yield lines


Local = tuple[Path, list[Outcome], str]


def test_a_failure_and_a_dead_worker_do_not_stop_the_others(local: Local) -> None:
    _, outcomes, _ = local
    assert [(outcome.run.parameters["mode"], outcome.status) for outcome in outcomes] == [
        ("fine", "ok"),
        ("fails", "failed"),
        ("kills", "failed"),
        ("fine", "ok"),
    ]


def test_a_failed_run_keeps_its_page_and_its_sentence(local: Local) -> None:
    out, outcomes, printed = local
    failed = outcomes[1]
    assert failed.error is not None and failed.error.startswith("ValueError: not mended yet, in the cell that starts")
    assert failed.error in printed
    assert "it went well until here" in (out / failed.page).read_text(encoding="utf-8")


def test_a_run_whose_worker_always_dies_is_given_up(local: Local) -> None:
    out, outcomes, printed = local
    dead = outcomes[2]
    assert dead.error is not None and dead.error.startswith("its worker died 2 times") and dead.page == ""
    assert printed.count("died; trying again") == 1
    assert [path.name for path in (out / "runs" / dead.run.key).iterdir()] == ["run.json"]


def test_no_half_run_is_left(local: Local) -> None:
    out, outcomes, _ = local
    assert sorted(path.name for path in (out / "runs").iterdir()) == sorted(outcome.run.key for outcome in outcomes)


def test_a_line_for_each_run_says_how_far_it_is(local: Local) -> None:
    _, _, printed = local
    assert [line.split("]")[0] for line in printed.splitlines() if line.startswith("[")] == [
        f"[{n}/4" for n in range(1, 5)
    ]


def test_the_summary_links_every_report_and_loads_nothing(local: Local) -> None:
    out, outcomes, _ = local
    text = (out / "index.html").read_text(encoding="utf-8")
    page = BeautifulSoup(text, features="html.parser")
    assert loads_from_elsewhere(text) == []
    links = [str(link["href"]) for link in page.select("tbody a")]
    assert links == [outcome.page for outcome in outcomes if outcome.page] and len(links) == 3
    for link in links:
        report = BeautifulSoup((out / link).read_text(encoding="utf-8"), features="html.parser")
        crumb = report.select_one(".crumb a")
        assert crumb is not None and (out / link).parent.joinpath(str(crumb["href"])).resolve() == out / "index.html"


def test_the_summary_has_what_varies_the_states_and_the_numbers(local: Local) -> None:
    out, _, _ = local
    page = BeautifulSoup((out / "index.html").read_text(encoding="utf-8"), features="html.parser")
    assert [head.get_text() for head in page.select("thead th")] == ["Run", "seed", "mode", "Status", "Time", "tenfold"]
    rows = [[cell.get_text(" ", strip=True) for cell in row.select("td")] for row in page.select("tbody tr")]
    assert [row[0] for row in rows] == ["3", "3", "3", "0"]
    assert [row[-1] for row in rows] == ["30", "–", "–", "0"]
    assert [row[2].split()[0] for row in rows] == ["ok", "failed", "failed", "ok"]
    assert "not mended yet" in rows[1][2] and "its worker died" in rows[2][2]
    assert "2 of 4 runs ran to the end without an error, 2 failed" in page.get_text()


def test_the_summary_is_there_as_csv_and_json(local: Local) -> None:
    out, outcomes, _ = local
    with (out / "summary.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["run"], row["status"], row["tenfold"]) for row in rows[:2]] == [
        (outcomes[0].run.key, "ok", "30"),
        (outcomes[1].run.key, "failed", ""),
    ]
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert [run["parameters"]["mode"] for run in summary["runs"]] == [row["mode"] for row in rows]
    assert summary["runs"][0]["numbers"] == {"tenfold": 30} and float(rows[0]["seconds"]) > 0


def test_what_is_finished_is_not_done_again(local: Local, swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, outcomes, _ = local
    monkeypatch.setattr(sweep, "local_workers", lambda count: pytest.fail("no worker is needed"))
    place = outcomes[0].run.given["place"]
    grid = Grid(notebook="01_swept", parameters={"mode": "fine", "seed": 3, "place": place}, runs=[{"place": place}])
    copy = shutil.copytree(out, out.with_name("again"))
    stamps = {path: path.stat().st_mtime_ns for path in copy.rglob("*.html") if path.name != "index.html"}
    again = run_sweep(grid, copy, notebooks=swept, workers=2)
    assert [outcome.status for outcome in again] == ["ok", "ok"]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert "holds 2 of other grids" in (copy / "index.html").read_text(encoding="utf-8")


def waiting(grid: Grid, notebooks: Path, out: Path, *, restart: bool = False) -> list[Any]:
    ledger = Ledger(grid, plan(grid, notebooks), out, restart=restart)
    ledger.close()
    return [run.given["mode"] for run in ledger.waiting]


def test_what_failed_or_is_broken_is_done_again(local: Local, swept: Path, tmp_path: Path) -> None:
    out, outcomes, _ = local
    out = shutil.copytree(out, tmp_path / "out")
    place = outcomes[0].run.given["place"]
    modes = {"mode": ["fine", "fails"], "place": place}
    grid = Grid(notebook="01_swept", parameters={**modes, "seed": 3}, runs=[{"mode": "fine", "place": place}])
    assert waiting(grid, swept, out) == ["fails"]
    (out / outcomes[0].page).unlink()
    assert waiting(grid, swept, out) == ["fine", "fails"]
    (out / "runs" / outcomes[3].run.key / "run.json").write_text('{"sweep": 1', encoding="utf-8")
    assert waiting(grid, swept, out) == ["fine", "fails", "fine"]


def test_a_changed_notebook_and_a_restart_do_all_again(local: Local, swept: Path, tmp_path: Path) -> None:
    out, outcomes, _ = local
    out, notebooks = shutil.copytree(out, tmp_path / "out"), shutil.copytree(swept, tmp_path / "notebooks")
    grid = Grid(notebook="01_swept", parameters={"mode": ["fine"], "seed": 3, "place": outcomes[0].run.given["place"]})
    assert waiting(grid, notebooks, out) == []
    assert waiting(grid, notebooks, out, restart=True) == ["fine"]
    assert waiting(grid, notebooks, out) == ["fine"], "a restart that is stopped goes on without --restart"
    out = shutil.copytree(local[0], tmp_path / "second")
    path = notebooks / "01_swept.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("10 * seed", "11 * seed"), encoding="utf-8")
    assert waiting(grid, notebooks, out) == ["fine"]


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(swept: Path, tmp_path: Path) -> None:
    grid = Grid(notebook="01_swept", parameters={"mode": ["waits", "fine"], "place": str(tmp_path)})

    def interrupt() -> None:
        if appeared(tmp_path / "waits 0"):
            os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    with pytest.raises(Stopped, match="stopped after 0 of 2 runs; the finished runs are kept; give the same command"):
        run_sweep(grid, tmp_path / "out", notebooks=swept, workers=1)
    watcher.join(timeout=10)
    page = BeautifulSoup((tmp_path / "out" / "index.html").read_text(encoding="utf-8"), features="html.parser")
    assert [state.get_text() for state in page.select(".status")] == ["not run", "not run"]


def appeared(path: Path, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.is_file() and path.stat().st_size >= 0:
            return True
        time.sleep(0.05)
    return False


# A scheduler that runs elsewhere


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


def test_workers_elsewhere_do_the_runs_and_one_may_die(elsewhere: str, swept: Path, tmp_path: Path) -> None:
    modes = ["kills once", "fine", "fails"]
    grid = Grid(notebook="01_swept", parameters={"mode": modes, "seed": 4, "place": str(tmp_path)})
    with worker(elsewhere, tmp_path / "one") as one, worker(elsewhere, tmp_path / "two") as two:
        outcomes = run_sweep(grid, tmp_path / "out", notebooks=swept, scheduler=elsewhere)
        assert [one.poll(), two.poll()].count(-signal.SIGKILL) == 1
        assert [outcome.status for outcome in outcomes] == ["ok", "ok", "failed"]
        assert [dict(outcome.numbers) for outcome in outcomes] == [{"tenfold": 40}, {"tenfold": 40}, {}]
        (tmp_path / "mended").touch()
        again = run_sweep(grid, tmp_path / "out", notebooks=swept, scheduler=elsewhere)
    assert [outcome.status for outcome in again] == ["ok", "ok", "ok"]
    assert [outcome.seconds for outcome in again[:2]] == [outcome.seconds for outcome in outcomes[:2]]


def test_a_worker_with_another_library_is_refused(elsewhere: str, swept: Path, tmp_path: Path) -> None:
    other = shutil.copytree(
        LIBRARY, tmp_path / "other" / "hsds_lib", ignore=shutil.ignore_patterns("__pycache__", "*.png")
    )
    (other / "added.py").touch()
    with worker(elsewhere, tmp_path / "one", library=other), pytest.raises(SweepError) as caught:
        run_sweep(Grid(notebook="01_swept"), tmp_path / "out", notebooks=swept, scheduler=elsewhere)
    assert "with other source files than here; bring all workers to the same commit" in str(caught.value)
    assert not (tmp_path / "out" / "runs").exists()


def test_a_scheduler_without_workers_is_told(
    elsewhere: str, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_cluster, "FIRST_WORKER", 1)
    with pytest.raises(
        SweepError, match=r"has no workers; start some with `dask worker tcp://127.0.0.1:\d+ --nthreads 1`"
    ):
        run_sweep(Grid(notebook="01_swept"), tmp_path / "out", notebooks=swept, scheduler=elsewhere)


def test_a_scheduler_that_is_not_there_is_told_at_once(
    swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_cluster, "CONNECT", 1)
    began = time.monotonic()
    with pytest.raises(SweepError, match=r"no scheduler answers at tcp://127.0.0.1:9; start one with `dask scheduler`"):
        run_sweep(Grid(notebook="01_swept"), tmp_path / "out", notebooks=swept, scheduler="tcp://127.0.0.1:9")
    assert time.monotonic() - began < 30
    assert (tmp_path / "out" / "index.html").is_file()


def test_a_sweep_without_any_worker_left_ends_with_a_sentence(
    elsewhere: str, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "PATIENCE", 1.0)
    grid = Grid(notebook="01_swept", parameters={"mode": "kills", "place": str(tmp_path)})
    with worker(elsewhere, tmp_path / "one"), pytest.raises(SweepError, match="there has been no worker for 1 s"):
        run_sweep(grid, tmp_path / "out", notebooks=swept, scheduler=elsewhere)


def test_the_folder_of_a_sweep_is_known_by_its_mark(tmp_path: Path) -> None:
    assert share_folder(tmp_path / "one") != share_folder(tmp_path / "two")
    assert share_folder(tmp_path / "one") == share_folder(tmp_path / "one")
