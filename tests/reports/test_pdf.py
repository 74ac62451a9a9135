"""Reports as PDF: printed where there is a browser, refused with a sentence where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsds_lib.reports.page import find_browser, write_pdf
from hsds_lib.runtime import RunError

PAGE = "<!doctype html><meta charset='utf-8'><title>x</title><h1>Hypergradient</h1><p>Two levels.</p>"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A small report."""
    (tmp_path / "page.html").write_text(PAGE, encoding="utf-8")
    return tmp_path / "page.html"


def test_a_page_is_printed_beside_itself(page: Path) -> None:
    if find_browser() is None:
        pytest.skip("no Chromium here; install it, or name it in HSDS_CHROMIUM")
    pdf = write_pdf(page)
    assert pdf == page.with_suffix(".pdf")
    assert pdf.read_bytes()[:5] == b"%PDF-" and pdf.stat().st_size > 3000


def test_without_a_browser_one_sentence_says_what_to_do(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSDS_CHROMIUM", "")
    with pytest.raises(RunError, match="needs Chromium or Chrome, and none was found; install one"):
        write_pdf(page)
    assert not page.with_suffix(".pdf").exists()


def test_a_browser_that_fails_leaves_an_older_pdf_alone(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page.with_suffix(".pdf").write_bytes(b"old")
    monkeypatch.setenv("HSDS_CHROMIUM", "false")
    with pytest.raises(RunError, match=r"did not print page\.html"):
        write_pdf(page)
    assert page.with_suffix(".pdf").read_bytes() == b"old"
    monkeypatch.setenv("HSDS_CHROMIUM", str(page.with_name("nowhere")))
    with pytest.raises(RunError, match=r"did not print page\.html"):
        write_pdf(page)


def test_a_missing_page_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no page .*none.html; make it with `hsds report` first"):
        write_pdf(tmp_path / "none.html")
