"""Reports lie over no notebook and over nothing that was not a report, and what is refused is refused at once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import papermill
import pytest
from papermill.parameterize import parameterize_path

from hsds_lib.outputs import MARKER, OutputError
from hsds_lib.reports import execute
from hsds_lib.reports.execute import ReportResult, run_reports


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Take note of what papermill is asked to execute, formatted as it formats paths, and leave it at that."""
    asked: list[tuple[str, str]] = []

    def note(source: str, target: str, **options: Any) -> None:
        asked.append(
            (parameterize_path(source, options["parameters"]), parameterize_path(target, options["parameters"]))
        )

    monkeypatch.setattr(papermill, "execute_notebook", note)
    return asked


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("out", ["notebooks", ".", "notebooks/src", "link", "x/../notebooks", "thesis", "file", "/"])
def test_reports_never_lie_over_a_notebook_or_over_what_is_no_report(
    notebooks: Path, tmp_path: Path, executed: list[Any], out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(notebooks, tmp_path / "notebooks")
    (tmp_path / "link").symlink_to(tmp_path / "notebooks")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "index.html").write_text("mine")
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(OutputError) as caught:
        run_reports(["01_good"], out=out, notebooks=tmp_path / "notebooks", figures=True)
    assert len(str(caught.value).splitlines()) == 1 and contents(tmp_path) == before and not executed


def test_braces_in_names_are_taken_as_they_stand(notebooks: Path, tmp_path: Path, executed: list[Any]) -> None:
    shutil.copytree(notebooks, tmp_path / "{preset}{theta}")
    run_reports(
        ["02_bad"], parameters={"preset": "x"}, out=tmp_path / "r{preset}", notebooks=tmp_path / "{preset}{theta}"
    )
    assert executed == [(f"{tmp_path}/{{preset}}{{theta}}/02_bad.ipynb", f"{tmp_path}/r{{preset}}/02_bad.ipynb")]
    assert (tmp_path / "r{preset}" / "02_bad.html").is_file()


@pytest.mark.parametrize("ours", [True, False])
def test_reports_of_before_there_were_markers_are_gone_on_with(
    reports: tuple[Path, list[ReportResult]], notebooks: Path, tmp_path: Path, executed: list[Any], ours: bool
) -> None:
    out = shutil.copytree(reports[0], tmp_path / "reports")
    (out / MARKER).unlink()
    if not ours:  # a notebook with a student's answers lies there as well
        shutil.copyfile(notebooks / "01_good.ipynb", out / "03_mine.ipynb")
        with pytest.raises(OutputError, match="did not write"):
            run_reports(out=out, notebooks=notebooks)
        assert not executed
        return
    run_reports(out=out, notebooks=notebooks)
    assert len(executed) == 2 and (out / MARKER).read_text() == "hsds report\n"
    run_reports(out=out, notebooks=notebooks)
    assert len(executed) == 4


def test_only_numbered_figures_are_removed_before_new_ones(
    notebooks: Path, tmp_path: Path, executed: list[Any]
) -> None:
    for name in ("01_good_figures", "elsewhere"):
        (tmp_path / name).mkdir()
        for file in ("01.svg", "02.pdf", "holiday.png", "1.svg", "03.txt"):
            (tmp_path / name / file).touch()
    (tmp_path / "02_bad_figures").symlink_to(tmp_path / "elsewhere")
    jobs = execute._jobs(execute.select_notebooks(notebooks, None), {})
    for job in jobs:
        execute.execute_report(job, tmp_path, pages=set(), timeout=None, figures=True)
    kept = sorted(path.name for path in (tmp_path / "01_good_figures").iterdir())
    assert kept == ["03.txt", "1.svg", "holiday.png"] and len(list((tmp_path / "elsewhere").iterdir())) == 5
