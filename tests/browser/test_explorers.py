"""The explorers in a real browser: without a kernel, in JupyterLab and in Voila, every control moves."""

from __future__ import annotations

import statistics
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import hsds_lib.course.explorers as package

ROOT = Path(__file__).resolve().parents[2]
MOVES = 8
SLOW = 1000  # milliseconds; a bound for noisy machines, not a measurement

# Remember when a key went down, and how long the view took to change; a picture counts once it is drawn.
WATCH = """
([box, views]) => {
  window.hsdsMoves = [];
  let began = null;
  const done = () => { if (began !== null) { window.hsdsMoves.push(performance.now() - began); began = null; } };
  box.addEventListener("keydown", () => { began = performance.now(); }, true);
  const seen = (changes) => changes.forEach((change) => {
    const target = change.target;
    if (target.tagName === "IMG" && change.attributeName === "src") target.decode().then(done, done); else done();
  });
  const options = {subtree: true, childList: true, attributes: true, attributeFilter: ["src", "style"]};
  views.forEach((view) => new MutationObserver(seen).observe(view, options));
}
"""


def _names() -> list[str]:
    names = sorted(module.name for module in iter_modules(package.__path__))
    return [name for name in names if hasattr(import_module(f"{package.__name__}.{name}"), "explorer")]


NAMES = _names()


def _watch(page: Any, box: Any, views: Any) -> None:
    page.evaluate(WATCH, [box.element_handle(), views.element_handles()])


def _press(page: Any, handle: Any, key: str, times: int) -> None:
    for _ in range(times):
        before = page.evaluate("window.hsdsMoves.length")
        handle.press(key)
        # A key at the end of a slider changes nothing, and equal neighbours look alike: nothing to wait for.
        try:
            page.wait_for_function(f"window.hsdsMoves.length > {before}", timeout=1500)
        except Exception:
            continue


def _move_all(page: Any, handles: list[tuple[str, Any]]) -> None:
    """Move every control there and back, by keyboard; each must change the view at least once."""
    for name, handle in handles:
        handle.focus()
        before = page.evaluate("window.hsdsMoves.length")
        for key in ("ArrowRight", "ArrowLeft"):  # up and down belong to JupyterLab's notebook
            _press(page, handle, key, MOVES // 2)
        assert page.evaluate("window.hsdsMoves.length") > before, f"the {name} changed nothing"


def _measured(page: Any, latencies: Any, place: str, name: str) -> None:
    moves = page.evaluate("window.hsdsMoves")
    latencies[place, name] = moves
    assert statistics.median(moves) < SLOW


@pytest.mark.parametrize("name", NAMES)
def test_page_without_a_kernel_moves_and_asks_nobody(name, watched, latencies, tmp_path):
    made = import_module(f"{package.__name__}.{name}").explorer()
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><meta charset='utf-8'><title>{name}</title>{made.page()}", encoding="utf-8")
    page = watched.page
    page.goto(file.as_uri())
    box = page.locator(".hsds-explorer").first
    _watch(page, box, box.locator(".hsds-view"))
    fields = box.locator(".hsds-controls input[type=range], .hsds-controls select")
    kinds = [("choice" if f.evaluate("e => e.tagName") == "SELECT" else "slider", f) for f in fields.all()]
    assert kinds
    _move_all(page, kinds)
    _measured(page, latencies, "page", name)
    assert watched.refused == [] and watched.errors == []


def _live_controls(box: Any) -> list[tuple[str, Any]]:
    sliders = [("slider", handle) for handle in box.locator(".noUi-handle").all()]
    return sliders + [("choice", field) for field in box.locator("select").all()]


def _move_live(watched: Any, latencies: Any, place: str, names: list[str]) -> None:
    page = watched.page
    for name in names:
        box = page.locator(f".hsds-live.hsds-{name}").first
        box.scroll_into_view_if_needed()
        _watch(page, box, box.locator(".widget-image, .widget-html"))
        _move_all(page, _live_controls(box))
        _measured(page, latencies, place, name)


def _notebook(path: Path) -> Path:
    cells = ["from hsds_lib.course.widgets import explore"]
    cells += [f"from hsds_lib.course.explorers import {n}\n\nexplore({n}.explorer())" for n in NAMES]
    cells.append('print("ALL-DONE", 6 * 7)')
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata=kernel), path)
    return path


STARTED = """
[...document.querySelectorAll('.jp-InputPrompt')].some((prompt) => /\\[(\\*|\\d+)\\]/.test(prompt.textContent))
"""
LAB = [
    "jupyterlab",
    "--no-browser",
    "--ip=127.0.0.1",
    "--port={port}",
    "--ServerApp.port_retries=0",
    "--allow-root",
    "--IdentityProvider.token=t",
    "--ServerApp.root_dir=.",
    "--LabApp.extension_manager=readonly",
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
]


@pytest.mark.slow  # a server, a browser and a kernel
def test_jupyterlab_runs_the_explorers(chromium, watched, serve, latencies):
    server = serve(LAB, answers="/api/status?token=t")
    _notebook(server.log.with_name("explorers.ipynb"))
    page = watched.page
    page.goto(f"{server.address}/lab/tree/explorers.ipynb?token=t")
    page.locator("#jp-main-statusbar", has_text="| Idle").wait_for()
    for _ in range(5):  # a click that comes before the kernel listens is lost
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        try:
            page.wait_for_function(STARTED, timeout=5000)
            break
        except Exception:
            continue
    page.get_by_text("ALL-DONE 42").wait_for()
    _move_live(watched, latencies, "JupyterLab", NAMES)
    assert watched.refused == []


@pytest.mark.slow
def test_voila_serves_the_explorers(chromium, watched, serve, latencies, tmp_path):
    notebook = _notebook(tmp_path / "explorers.ipynb")
    options = ["voila", str(notebook), "--no-browser", "--Voila.ip=127.0.0.1", "--port={port}"]
    server = serve(options, answers="/voila/static/voila.js")
    page = watched.page
    page.goto(server.address)
    page.get_by_text("ALL-DONE 42").wait_for()
    _move_live(watched, latencies, "Voila", NAMES)
    assert page.locator(".jp-InputArea-editor, .jp-Editor").count() == 0, "Voila shows no code"
    assert [address for address in watched.refused if "fontawesome" not in address] == []
