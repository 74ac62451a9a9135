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
from hsds_lib.reports.execute import run_reports


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Take note of what papermill is asked to execute, formatted as it formats paths, and leave it at that."""
    found: list[tuple[str, ...]] = []

    def note(source: str, target: str, **options: Any) -> None:
        found.append(tuple(parameterize_path(path, options["parameters"]) for path in (source, target)))

    monkeypatch.setattr(papermill, "execute_notebook", note)
    return found


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "out", ["notebooks", ".", "notebooks/src", "link", "x/../notebooks", "thesis", "x/../thesis", "file", "/"]
)
def test_reports_never_lie_over_a_notebook_or_over_what_is_no_report(
    notebooks: Path, tmp_path: Path, asked: list[Any], out: str, monkeypatch: pytest.MonkeyPatch
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
    assert len(str(caught.value).splitlines()) == 1 and contents(tmp_path) == before and not asked


def test_braces_in_names_are_taken_as_they_stand(notebooks: Path, tmp_path: Path, asked: list[Any]) -> None:
    shutil.copytree(notebooks, tmp_path / "{preset}{theta}")
    source, out = tmp_path / "{preset}{theta}", tmp_path / "r{preset}"
    run_reports(["02_bad"], parameters={"preset": "x"}, out=out, notebooks=source)
    assert asked == [(f"{tmp_path}/{{preset}}{{theta}}/02_bad.ipynb", f"{tmp_path}/r{{preset}}/02_bad.ipynb")]
    assert (tmp_path / "r{preset}" / "02_bad.html").is_file()


def test_reports_of_before_there_were_markers_are_gone_on_with(
    notebooks: Path, tmp_path: Path, asked: list[Any]
) -> None:
    for _ in range(2):
        run_reports(out=tmp_path, notebooks=notebooks)
        (tmp_path / MARKER).unlink()
    assert len(asked) == 4
    for name in ("03_mine.ipynb", "run.json"):  # with a student's answers; what a sweep leaves
        shutil.copyfile(notebooks / "01_good.ipynb", tmp_path / name)
        with pytest.raises(OutputError, match="did not write"):
            run_reports(out=tmp_path, notebooks=notebooks)
        (tmp_path / name).unlink()
    assert len(asked) == 4


def test_only_numbered_figures_are_removed_before_new_ones(notebooks: Path, tmp_path: Path, asked: list[Any]) -> None:
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
