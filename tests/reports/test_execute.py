"""Reports: every notebook gets a page that stands alone, failures included, and the index lists them all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from bs4 import BeautifulSoup, Tag
from nbformat.v4 import new_code_cell, new_notebook
from typer.testing import CliRunner

from hsds_lib.reports import execute
from hsds_lib.reports import notebook as kernel
from hsds_lib.reports.execute import known_parameters, run_reports
from hsds_lib.reports.record import write_index
from tests.offline import loads_from_elsewhere


def _page(out: Path, name: str) -> BeautifulSoup:
    return BeautifulSoup((out / f"{name}.html").read_text(encoding="utf-8"), "html.parser")


def _record(out: Path, name: str) -> dict[str, Any]:
    record = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    assert isinstance(record, dict)
    return record


def _select_one(page: BeautifulSoup, selector: str) -> Tag:
    found = page.select(selector)
    assert len(found) == 1, f"{len(found)} elements match {selector}"
    return found[0]


def test_results_say_what_ran_and_what_did_not(reports):
    _, results = reports
    assert [(result.name, result.ok) for result in results] == [("01_good", True), ("02_bad", False)]
    assert results[0].title == "1 · A good one"
    assert results[1].error == (
        "ValueError: no such preset as lesson, in the cell that starts with "
        "'raise ValueError(f\"no such preset as {preset}\")'"
    )
    assert all(result.html.is_file() and result.seconds > 0 for result in results)


def test_parameters_reach_the_notebooks_that_know_them(reports):
    out, _ = reports
    assert "preset lesson theta 0.25" in _page(out, "01_good").get_text()
    assert _record(out, "01_good")["parameters"] == {"preset": "lesson", "theta": 0.25}
    assert _record(out, "02_bad")["given"] == {"preset": "lesson"}


def test_failing_notebook_gets_a_page_that_shows_where(reports):
    out, _ = reports
    page = _page(out, "02_bad")
    assert "it went well until here" in page.get_text()
    assert "no such preset as lesson" in _select_one(page, ".failure").get_text()
    link = _select_one(page, ".failure a")
    cell = page.find(id=str(link["href"]).removeprefix("#"))
    assert cell is not None
    assert "ValueError" in cell.get_text()
    assert "stopped in this cell" in cell.get_text()
    assert "Not run" in _select_one(page, ".unrun").get_text()
    assert "papermill" not in page.get_text()


def test_exception_that_is_meant_is_no_failure(reports):
    out, _ = reports
    page = _page(out, "01_good")
    assert "meant to be shown" in page.get_text()
    assert page.select(".failure") == []


@pytest.mark.parametrize("name", ["01_good", "02_bad", "index"])
def test_pages_load_nothing_from_elsewhere(reports, name):
    out, _ = reports
    text = (out / f"{name}.html").read_text(encoding="utf-8")
    assert loads_from_elsewhere(text) == []
    assert "<script" not in text
    assert not any(host in text for host in ("cdnjs", "jsdelivr", "unpkg", "mathjax"))


@pytest.mark.parametrize(
    "markup",
    [
        '<script src="https://x.org/require.js"></script>',
        '<link rel="stylesheet" href="https://x.org/a.css">',
        '<img src="picture.png" alt="">',
        "<style>@import 'a.css';</style>",
        '<style>b { background: url("https://x.org/a.png") }</style>',
        '<script type="module">const m = await import("https://x.org/m.mjs")</script>',
        '<b style="background: url(https://x.org/a.png)">b</b>',
        '<svg><image xlink:href="https://x.org/a.png"></image></svg>',
        '<script type="application/json">{"words": [["<img src=\\"https://x.org/a.png\\">", ""]]}</script>',
    ],
)
def test_loads_from_elsewhere_sees(markup):
    assert loads_from_elsewhere(f"<html><body>{markup}</body></html>")


def test_page_has_one_title_one_main_and_a_language(reports):
    out, _ = reports
    page = _page(out, "01_good")
    assert _select_one(page, "title").get_text() == "1 · A good one"
    assert _select_one(page, "html")["lang"] == "en"
    assert len(page.select("main")) == len(page.select("h1")) == 1
    assert page.find(id=str(_select_one(page, "a.skip")["href"]).removeprefix("#")) is not None


def test_figures_keep_their_alt_text(reports):
    out, _ = reports
    picture = _select_one(_page(out, "01_good"), "figure img")
    assert picture["alt"] == "A line that <rises> & falls."
    assert str(picture["src"]).startswith("data:image/png;base64,")
    assert 0 < int(str(picture["width"])) < 400


def test_formulas_are_drawn_without_a_script(reports):
    out, _ = reports
    page = _page(out, "01_good")
    displayed = _select_one(page, "math[display=block]")
    assert "(3)" in displayed.get_text()
    assert len(page.select("main math")) == 2
    assert page.select(".tex") == []
    assert "$" not in _select_one(page, "main section.prose").get_text()


def test_links_between_notebooks_lead_to_their_pages(reports):
    out, _ = reports
    links = [str(link["href"]) for link in _page(out, "01_good").select("main a")]
    assert "02_bad.html" in links
    assert "https://example.org/launch" in links
    assert not any("README" in link or link.endswith(".ipynb") for link in links)


def test_remote_pictures_become_their_words(reports):
    out, _ = reports
    page = _page(out, "01_good")
    assert not any("badge.svg" in str(picture) for picture in page.select("img"))
    assert _select_one(page, 'a[href="https://example.org/launch"]').get_text() == "Badge"


def test_widget_without_a_kernel_says_so(reports):
    out, _ = reports
    text = _page(out, "01_good").get_text()
    assert "interactive control" in text
    assert "IntSlider(value=3)" not in text.replace("IntSlider(value=3)", "", 1)  # the source, once


def test_hidden_code_is_folded(reports):
    out, _ = reports
    folded = _select_one(_page(out, "01_good"), "details.input")
    assert "data folder" in folded.get_text()


def test_reports_see_the_data_folder_and_say_so(reports):
    out, _ = reports
    assert "data folder: /some/photographs" in _page(out, "01_good").get_text()
    assert _record(out, "01_good")["provenance"]["HSDS_DATA"] == "/some/photographs"


def test_provenance_is_on_the_page_and_beside_it(reports):
    out, _ = reports
    record, page = _record(out, "01_good"), _page(out, "01_good")
    origin = record["provenance"]
    assert {"commit", "python", "packages", "device", "written", "hsds_lib"} <= set(origin)
    assert record["status"] == "ok"
    assert record["seconds"] >= sum(record["cell_seconds"]) * 0.5 > 0
    shown = _select_one(page, "header.provenance").get_text()
    for fact in (origin["python"], origin["packages"]["torch"], origin["cpu"], "preset lesson", "0.25"):
        assert fact in shown
    assert record["notebook_sha256"] in shown


def test_slowest_cells_are_listed_and_lead_to_their_cells(reports):
    out, _ = reports
    record, page = _record(out, "01_good"), _page(out, "01_good")
    seconds = [entry[0] for entry in record["slowest_cells"]]
    assert seconds == sorted(seconds, reverse=True) and 1 <= len(seconds) <= 5
    links = page.select("header.provenance table[data-varies] a")
    assert [link.get_text() for link in links] == [entry[1] for entry in record["slowest_cells"]]
    for link, (_, line, _) in zip(links, record["slowest_cells"], strict=True):
        cell = page.find(id=str(link["href"]).removeprefix("#"))
        assert cell is not None and line in cell.get_text()


def test_files_that_cells_leave_are_kept_beside_the_report(reports):
    out, _ = reports
    assert (out / "01_good_files" / "left_behind.txt").read_text(encoding="utf-8") == "kept\n"
    assert not (out / "02_bad_files").exists()


def test_index_lists_both_with_status_and_picture(reports):
    out, _ = reports
    page = _page(out, "index")
    rows = page.select("tbody tr")
    assert [_cell_text(row, "a") for row in rows] == ["1 · A good one", "2 · A bad one"]
    assert [_cell_text(row, ".status") for row in rows] == ["ok", "failed"]
    [thumbnail] = page.select("img")
    assert thumbnail["alt"] == "A line that <rises> & falls."
    assert "1 of 2 notebooks" in page.get_text()


def _cell_text(row: Tag, selector: str) -> str:
    found = row.select_one(selector)
    assert found is not None
    return found.get_text()


def test_index_keeps_earlier_reports_while_their_page_exists(reports, tmp_path):
    out, _ = reports
    for name in ("01_good", "02_bad"):
        for suffix in (".json", ".html"):
            (tmp_path / f"{name}{suffix}").write_bytes((out / f"{name}{suffix}").read_bytes())
    (tmp_path / "other.json").write_text("[1, 2]", encoding="utf-8")
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    write_index(tmp_path)
    assert len(_page(tmp_path, "index").select("tbody tr")) == 2
    (tmp_path / "02_bad.html").unlink()
    write_index(tmp_path)
    assert [_cell_text(row, "a") for row in _page(tmp_path, "index").select("tbody tr")] == ["1 · A good one"]


def test_one_line_is_printed_for_each_notebook(notebooks, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(execute, "_execute", lambda job, executed, **options: None)
    run_reports(out=tmp_path, notebooks=notebooks)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ... ")[0] for line in lines] == ["01_good", "02_bad"]
    assert all(line.endswith(" s") for line in lines)


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        pytest.fail("a notebook was executed")

    monkeypatch.setattr(papermill, "execute_notebook", refuse)


def test_unknown_parameter_is_refused_before_anything_runs(notebooks, tmp_path, never):
    with pytest.raises(ValueError, match=r"unknown parameter thta; .* know preset, theta"):
        run_reports(parameters={"preset": "tiny", "thta": 1}, out=tmp_path / "out", notebooks=notebooks)
    assert not (tmp_path / "out").exists()


def test_parameter_must_be_known_to_a_notebook_asked_for(notebooks, tmp_path, never):
    with pytest.raises(ValueError, match="unknown parameter theta; the notebooks asked for know preset"):
        run_reports(["02_bad"], parameters={"theta": 0.1}, out=tmp_path / "out", notebooks=notebooks)


def test_unknown_notebook_is_refused_with_the_known_ones(notebooks, tmp_path, never):
    with pytest.raises(ValueError, match="no notebook is called 03_new; there are 01_good, 02_bad"):
        run_reports(["03_new"], out=tmp_path / "out", notebooks=notebooks)


def test_outside_a_checkout_the_error_says_so(tmp_path, monkeypatch, never):
    monkeypatch.setattr(kernel, "_LIBRARY_FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match="part of a checkout"):
        run_reports(out=tmp_path / "out")


def test_known_parameters_have_their_defaults(notebooks):
    assert known_parameters(notebooks / "01_good.ipynb") == {"preset": "tiny", "theta": 0.05}


def test_command_line_exits_with_one_after_a_failure(notebooks, tmp_path, monkeypatch):
    from hsds_lib.cli import app

    monkeypatch.setattr(execute, "find_notebooks", lambda: notebooks)
    command = ["report", "02_bad", "--preset", "tiny", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "FAILED" in result.output
    assert _record(tmp_path, "02_bad")["status"] == "failed"


@pytest.mark.parametrize(
    ("last_line", "reason"),
    [
        ("import time; time.sleep(60)", "time limit of 2 s for a cell reached"),
        ("import os; os._exit(3)", "the kernel died"),
    ],
)
def test_hanging_or_dying_cell_is_named(tmp_path, last_line, reason):
    cells = [new_code_cell("preset = 'tiny'", metadata={"tags": ["parameters"]}), new_code_cell(last_line)]
    metadata = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), tmp_path / "toy.ipynb")
    [result] = run_reports(out=tmp_path / "out", notebooks=tmp_path, timeout=2)
    assert result.error is not None
    assert reason in result.error
    assert last_line in result.error
    page = _page(tmp_path / "out", "toy")
    assert "did not run to its end" in page.get_text()
    assert last_line in _select_one(page, ".code:has(.stopped)").get_text()


def test_only_the_paper_preset_has_no_time_limit(notebooks, tmp_path, monkeypatch):
    limits = []
    monkeypatch.setattr(execute, "_execute", lambda job, executed, timeout, **options: limits.append(timeout))
    for preset in ("tiny", "paper"):
        run_reports(["02_bad"], parameters={"preset": preset}, out=tmp_path, notebooks=notebooks)
    assert limits == [600, None]
