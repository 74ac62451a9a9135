"""Reports as readers see them: explorers move, formulas and code are whole, paper fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from hsds_lib.course.widgets import Control, Explorer, View
from hsds_lib.reports.page import report_page

FORMULA = r"$$ \frac{\sum_{n} \langle a_n, b_n \rangle}{\sum_n \lVert \frac{a}{b} \rVert^2} = c^{2^2} $$"
LONG = "names = " + " + ".join(f"a_rather_long_name_{number}" for number in range(12))


def _explorer(name: str) -> Explorer:
    controls = [Control("n", "number", ("one", "two", "three")), Control("m", "kind", ("p", "q"), kind="choice")]
    return Explorer(name, f"Explorer {name}", "Counted.", controls, lambda n, m: View(f"<b>{name} {n} {m}</b>"))


@pytest.fixture
def report(watched: Any, tmp_path: Path) -> Any:
    """A report with a tall formula, a long line, two explorers and a folded table, opened in a browser."""
    outputs = [
        new_output("display_data", data={"text/html": _explorer(name).page(), "text/plain": name})
        for name in ("first", "second")
    ]
    outputs.append(new_output("display_data", data={"text/html": "<details><summary>s</summary><p>in</p></details>"}))
    cells = [new_markdown_cell(f"# T\n\n{FORMULA}"), new_code_cell(LONG, execution_count=1, outputs=outputs)]
    facts = {"name": "t", "title": "T", "status": "ok", "error": None, "failed_cell": None}
    facts |= {"summary": [], "details": [], "slowest": [], "index": "index.html"}
    path = tmp_path / "t.html"
    path.write_text(report_page(new_notebook(cells=cells), facts, pages=[]), encoding="utf-8")
    watched.page.goto(path.as_uri())
    return watched


def test_each_explorer_answers_its_own_keys(report: Any) -> None:
    words = report.page.locator(".hsds-words")
    assert words.all_inner_texts() == ["first 0 0", "second 0 0"]
    report.page.locator("[data-name=first] input").focus()
    report.page.keyboard.press("ArrowRight")
    assert words.all_inner_texts() == ["first 1 0", "second 0 0"]
    report.page.locator("[data-name=second] select").select_option("1")
    assert words.all_inner_texts() == ["first 1 0", "second 0 1"]
    assert report.refused == report.errors == []


def test_formulas_are_not_clipped(report: Any) -> None:
    heights = report.page.locator("math[display=block]").evaluate("box => [box.scrollHeight, box.clientHeight]")
    assert heights[0] <= heights[1]


@pytest.mark.parametrize("width", [900, 400])
def test_long_lines_of_code_wrap(report: Any, width: int) -> None:
    report.page.set_viewport_size({"width": width, "height": 800})
    code = report.page.locator(".input pre")
    assert code.evaluate("box => box.scrollWidth <= box.clientWidth")
    assert code.evaluate("box => box.clientHeight") > 50  # more than one line
    assert report.page.evaluate("document.documentElement.scrollWidth") <= width


def test_code_is_copied_as_it_was_written(report: Any) -> None:
    copied = report.page.evaluate(
        "() => { getSelection().selectAllChildren(document.querySelector('.input pre')); return `${getSelection()}`; }"
    )
    assert copied.rstrip("\n") == LONG


def test_paper_shows_one_state_unfolded_and_without_controls(report: Any) -> None:
    report.page.emulate_media(media="print")
    assert not report.page.locator(".hsds-explorer input").first.is_visible()
    assert report.page.locator(".hsds-words b").first.is_visible()
    assert report.page.locator(".rich details > p").is_visible()
