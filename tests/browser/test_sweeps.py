"""The summary of a sweep as readers see it: it is sorted by mouse and keyboard, and is read on a telephone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hsds_lib.reports.grid import Grid, Run, RunOutcome, write_summary


@pytest.fixture
def summary(watched: Any, tmp_path: Path) -> Any:
    """The summary of four runs, one of which failed and one was not reached, opened in a browser."""
    runs = [Run("toy", Path(), "", f"k{theta}", {"theta": theta}, {"seed": 0}) for theta in (0.5, 10, 2, None)]
    outcomes = [
        RunOutcome(runs[0], "ok", None, 12.0, {"score": 0.25}, "a.html"),
        RunOutcome(runs[1], "ok", None, 9.0, {"score": -1.5}, "b.html"),
        RunOutcome(runs[2], "failed", "ValueError: too <small> " + "for this long sentence " * 8, 3.0, {}, "c.html"),
        RunOutcome(runs[3]),
    ]
    page = write_summary(tmp_path, Grid(notebook="toy"), outcomes)
    watched.page.goto(page.as_uri())
    return watched


def column(page: Any, number: int) -> list[str]:
    return list(page.locator(f"tbody tr > :nth-child({number})").all_inner_texts())


def test_heads_sort_numbers_as_numbers_and_missing_ones_last(summary: Any) -> None:
    page = summary.page
    assert column(page, 2) == ["0.5", "10", "2", "null"]
    page.get_by_role("button", name="theta").click()
    assert column(page, 2) == ["0.5", "2", "10", "null"]
    page.get_by_role("button", name="score").click()
    assert column(page, 5) == ["-1.5", "0.25", "–", "–"]
    page.keyboard.press("Enter")
    assert column(page, 5) == ["0.25", "-1.5", "–", "–"]
    assert page.locator("[aria-sort=descending]").inner_text() == "score"
    page.get_by_role("button", name="Time").click()
    assert column(page, 4) == ["3.0 s", "9.0 s", "12 s", "–"]
    assert summary.refused == summary.errors == []


def test_states_are_told_by_sign_and_word(summary: Any) -> None:
    sign = "span => getComputedStyle(span, '::before').content + span.textContent"
    states = summary.page.locator(".status").evaluate_all(f"spans => spans.map({sign})")
    assert states == ['"✓ "ok', '"✓ "ok', '"✗ "failed', '"… "not run']


@pytest.mark.parametrize("width", [360, 1100])
def test_nothing_sticks_out_of_the_window(summary: Any, width: int) -> None:
    summary.page.set_viewport_size({"width": width, "height": 800})
    assert summary.page.evaluate("document.documentElement.scrollWidth") <= width
