"""Sweeps by local workers: failures, deaths, stops and resuming, and the page that sums them up."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

from hsds_lib.outputs import MARKER
from hsds_lib.reports import sweep
from hsds_lib.reports.grid import Grid, RunOutcome, find_outcome, plan
from hsds_lib.reports.sweep import Ledger, run_sweep
from hsds_lib.runs.progress import Stopped
from tests.offline import loads_from_elsewhere

pytestmark = pytest.mark.slow  # each starts processes

Local = tuple[Path, list[RunOutcome], str]


@pytest.fixture(scope="module")
def local(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> Local:
    """A sweep with a run that fails: its folder, its outcomes, what was printed."""
    place, out = tmp_path_factory.mktemp("marks"), tmp_path_factory.mktemp("sweep") / "out"
    grid = Grid(
        notebook="01_swept",
        parameters={"mode": ["fine", "fails"], "seed": 3, "place": str(place)},
        runs=[{"place": str(place)}],
    )
    with captured_stdout() as lines:
        outcomes = run_sweep(grid, out, notebooks=swept, workers=2)
    return out, outcomes, "".join(lines)


@pytest.fixture(scope="module")
def hard(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> Local:
    """A sweep of a run that kills its worker, and of one during which Ctrl-C is pressed."""
    place, out = tmp_path_factory.mktemp("marks"), tmp_path_factory.mktemp("hard") / "out"
    grid = Grid(notebook="01_swept", parameters={"mode": ["kills", "waits"], "place": str(place)})
    runs = plan(grid, swept)
    for name in (f".{runs[0].key}-0123abcd", f".{runs[1].key}-0123abcd-old", ".mine", f".{runs[0].key}-notes"):
        (out / "runs" / name).mkdir(parents=True)
    (out / MARKER).write_text("hsds sweep")

    def interrupt() -> None:
        if appeared(place / "waits 0"):
            os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    with pytest.MonkeyPatch.context() as patch, captured_stdout() as lines:
        patch.setattr(sweep, "DEATHS", 1)
        patch.setattr(sweep, "PATIENCE", 250.0)  # a worker that is started again takes its time on a loaded machine
        with pytest.raises(Stopped) as stopped:
            run_sweep(grid, out, notebooks=swept, workers=1)
    watcher.join(timeout=10)
    return out, [find_outcome(run, out) for run in runs], "".join([*lines, str(stopped.value)])


def appeared(path: Path, seconds: float = 200) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.is_file():
            return True
        time.sleep(0.05)
    return False


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


def test_a_failure_does_not_stop_the_others(local: Local) -> None:
    _, outcomes, _ = local
    assert [(outcome.run.parameters["mode"], outcome.status) for outcome in outcomes] == [
        ("fine", "ok"),
        ("fails", "failed"),
        ("fine", "ok"),
    ]


def test_a_failed_run_keeps_its_page_and_its_sentence(local: Local) -> None:
    out, outcomes, printed = local
    failed = outcomes[1]
    assert failed.error is not None and failed.error.startswith("ValueError: not mended yet, in the cell that starts")
    assert failed.error in printed
    assert "it went well until here" in (out / failed.page).read_text(encoding="utf-8")


def test_a_run_whose_worker_dies_is_tried_again(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from distributed import KilledWorker

    class Dead:
        status = "error"

        def exception(self) -> KilledWorker:
            return KilledWorker("task", None, allowed_failures=0)

    grid = Grid(notebook="01_swept")
    (run,) = runs = plan(grid, swept)
    ledger, deaths = Ledger(grid, runs, tmp_path), Counter[str]()
    assert [sweep._settle(Dead(), run, ledger, deaths) for _ in range(sweep.DEATHS)] == [[run], [run], []]
    assert ledger.outcomes[0].error == "its worker died 3 times: it was killed, or its machine had no memory left"
    assert capsys.readouterr().out.count("died; trying again") == 2


def test_a_run_whose_worker_always_dies_is_given_up_and_the_next_is_begun(hard: Local) -> None:
    out, outcomes, printed = hard
    dead = outcomes[0]
    assert dead.error is not None and dead.error.startswith("its worker died 1 times") and dead.page == ""
    assert dead.error in printed
    assert [path.name for path in (out / "runs" / dead.run.key).iterdir()] == ["run.json"]
    assert Path(dead.run.given["place"], "waits 0").is_file()


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(hard: Local) -> None:
    out, _, printed = hard
    assert "stopped after 1 of 2 runs; the finished runs are kept; give the same command" in printed
    page = BeautifulSoup((out / "index.html").read_text(encoding="utf-8"), features="html.parser")
    assert [state.get_text() for state in page.select(".status")] == ["failed", "not run"]
    assert "its worker died 1 times" in page.get_text()


def test_no_half_run_is_left(local: Local, hard: Local) -> None:
    out, outcomes, _ = local
    assert sorted(path.name for path in (out / "runs").iterdir()) == sorted(outcome.run.key for outcome in outcomes)
    out, outcomes, _ = hard
    key = outcomes[0].run.key
    kept = [key, ".mine", f".{key}-notes"]  # the last two were not made by a sweep
    assert sorted(path.name for path in (out / "runs").iterdir()) == sorted(kept)


def test_a_line_for_each_run_says_how_far_it_is(local: Local) -> None:
    _, _, printed = local
    assert [line.split("]")[0] for line in printed.splitlines() if line.startswith("[")] == [
        f"[{n}/3" for n in range(1, 4)
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
    assert [row[0] for row in rows] == ["3", "3", "0"]
    assert [row[-1] for row in rows] == ["30", "–", "0"]
    assert [row[2].split()[0] for row in rows] == ["ok", "failed", "ok"]
    assert "not mended yet" in rows[1][2]
    assert "2 of 3 runs ran to the end without an error, 1 failed" in page.get_text()


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
    assert "holds 1 of other grids" in (copy / "index.html").read_text(encoding="utf-8")


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
    (out / "runs" / outcomes[2].run.key / "run.json").write_text('{"sweep": 1', encoding="utf-8")
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
