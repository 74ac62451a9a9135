"""The explorers in a real browser: without a kernel, in JupyterLab and in Voila, every control moves."""

from __future__ import annotations

import json
import shutil
import statistics
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest

import hsds_lib.course.explorers as package

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "explorers.ipynb"
LAST_WORDS = "Provenance of this execution of explorers"  # what the last cell shows, and no source says
MOVES = 3  # of the first control; the others are moved twice
SLOW = 1000  # milliseconds; a bound for noisy machines, not a measurement

# Remember how long the view took to change after a key went down: until its last change, and a picture counts once it
# is drawn. A move is over when nothing has changed for a while.
WATCH = """
([box, views]) => {
  window.hsdsMoves = [];
  window.hsdsChanges = 0;
  let began = null, last = 0, rest = null;
  const settle = () => { window.hsdsMoves.push(last); began = null; };
  const done = () => {
    window.hsdsChanges += 1;
    if (began === null) return;
    last = performance.now() - began;
    clearTimeout(rest);
    rest = setTimeout(settle, 60);
  };
  box.addEventListener("keydown", () => { began = performance.now(); }, true);
  const seen = (changes) => changes.forEach((change) => {
    const target = change.target;
    if (target.tagName === "IMG" && change.attributeName === "src") target.decode().then(done, done); else done();
  });
  const options = {subtree: true, childList: true, attributes: true, attributeFilter: ["src", "style"]};
  views.forEach((view) => new MutationObserver(seen).observe(view, options));
}
"""
# Where a control stands, and where it ends.
PLACE = """
field => field.tagName === "SELECT" ? [field.selectedIndex, field.options.length - 1]
  : field.tagName === "INPUT" ? [Number(field.value), Number(field.max)]
  : [Number(field.getAttribute("aria-valuenow")), Number(field.getAttribute("aria-valuemax"))]
"""
IS_OFF = "field => field.disabled || field.closest('.noUi-origin')?.hasAttribute('disabled') || false"


def _names() -> list[str]:
    names = sorted(module.name for module in iter_modules(package.__path__))
    return [name for name in names if hasattr(import_module(f"{package.__name__}.{name}"), "explorer")]


NAMES = _names()


def _served() -> list[str]:
    """The explorers that the page of apps shows."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return [name for name in NAMES if f"{name}.explorer(" in code]


def test_the_page_of_apps_shows_every_explorer():
    assert _served() == NAMES


def _move(page: Any, field: Any, times: int) -> int:
    """Press arrow keys, away from the end where the control stands; returns how often the view changed."""
    field.focus()
    place, end = field.evaluate(PLACE)
    key = "ArrowRight" if place < end else "ArrowLeft"
    for _ in range(times):
        if field.evaluate(PLACE)[0] in ((end,) if key == "ArrowRight" else (0,)):
            key = "ArrowLeft" if key == "ArrowRight" else "ArrowRight"
        before = page.evaluate("window.hsdsMoves.length")
        field.press(key)
        try:
            page.wait_for_function(f"window.hsdsMoves.length > {before}", timeout=1000)
        except Exception:  # neighbours may look alike
            continue
    return page.evaluate("window.hsdsMoves.length")


def _move_all(page: Any, box: Any, views: Any, fields: list[Any]) -> list[float]:
    """Move every control by keyboard; each must change the view. Gives the milliseconds of each move."""
    page.evaluate(WATCH, [box.element_handle(), views.element_handles()])
    seen = 0
    for number, field in enumerate(fields):
        assert not field.evaluate(IS_OFF), f"control {number} is off, though those before it were moved"
        after = _move(page, field, 2 if number else MOVES)
        assert after > seen, f"control {number} changed nothing"
        seen = after
    return page.evaluate("window.hsdsMoves")


def _drag(page: Any, handle: Any) -> None:
    """Move a slider of ipywidgets by mouse."""
    handle.scroll_into_view_if_needed()
    bounds = handle.bounding_box()
    x, y = bounds["x"] + bounds["width"] / 2, bounds["y"] + bounds["height"] / 2
    place, end = handle.evaluate(PLACE)
    before = page.evaluate("window.hsdsChanges")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + (150 if place < end / 2 else -150), y, steps=4)
    page.mouse.up()
    page.wait_for_function(f"window.hsdsChanges > {before}")


def _blinking(page: Any, box: Any, seconds: float) -> int:
    """How often the frame changes by itself in that time."""
    count = """
    ([frame, ms]) => new Promise((resolve) => {
      let changes = 0;
      const watch = new MutationObserver(() => { changes += 1; });
      watch.observe(frame.querySelectorAll(".hsds-layer")[1], {attributes: true, attributeFilter: ["style"]});
      setTimeout(() => { watch.disconnect(); resolve(changes); }, ms);
    })"""
    return page.evaluate(count, [box.locator(".hsds-frame").element_handle(), 1000 * seconds])


@pytest.fixture(scope="session")
def all_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file with every explorer in it, as a report has several."""
    boxes = "".join(import_module(f"{package.__name__}.{name}").explorer().page() for name in NAMES)
    file = tmp_path_factory.mktemp("pages") / "page.html"
    file.write_text(f"<!doctype html><meta charset='utf-8'><title>explorers</title>{boxes}", encoding="utf-8")
    return file


def test_explorers_without_a_kernel_move_and_ask_nobody(watched, latencies, portrait, all_pages):
    page = watched.page
    page.goto(all_pages.as_uri())
    for name in NAMES:
        box = page.locator(f".hsds-explorer[data-name={name}]")
        portrait(box, f"page-{name}")
        fields = box.locator(".hsds-controls input[type=range], .hsds-controls select").all()
        moves = _move_all(page, box, box.locator(".hsds-view"), fields)
        latencies["page", name] = moves
        assert len(moves) >= MOVES and statistics.median(moves) < SLOW
    assert watched.refused == [] and watched.errors == []


def test_comparison_blinks_slowly_until_it_is_told_to_stop(watched, all_pages):
    page = watched.page
    page.goto(all_pages.as_uri())
    box = page.locator(".hsds-explorer[data-name=compare]")
    button = box.locator("button")
    assert _blinking(page, box, 0.8) == 0, "nothing moves before it is asked to"
    button.press("Enter")
    assert 2 <= _blinking(page, box, 2) <= 4, "twice a second at most"
    assert button.get_attribute("aria-pressed") == "true"
    button.press("Enter")
    assert _blinking(page, box, 0.8) == 0
    button.press("Enter")
    page.keyboard.press("Escape")
    assert _blinking(page, box, 0.8) == 0 and button.get_attribute("aria-pressed") == "false"


def test_comparison_does_not_blink_for_readers_who_want_less_motion(watched, all_pages):
    page = watched.page
    page.emulate_media(reduced_motion="reduce")
    page.goto(all_pages.as_uri())
    box = page.locator(".hsds-explorer[data-name=compare]")
    layer = box.locator(".hsds-layer").nth(1)
    seen = [layer.get_attribute("style")]
    for _ in range(2):
        box.locator("button").press("Enter")
        seen.append(layer.get_attribute("style"))
        assert _blinking(page, box, 0.8) == 0
    assert len(set(seen)) == 3, "each press swaps the two"


def test_comparison_follows_the_mouse(watched, all_pages):
    page = watched.page
    page.goto(all_pages.as_uri())
    box = page.locator(".hsds-explorer[data-name=compare]")
    frame = box.locator(".hsds-frame")
    frame.scroll_into_view_if_needed()
    bounds = frame.bounding_box()
    page.mouse.move(bounds["x"] + bounds["width"] * 0.5, bounds["y"] + 60)
    page.mouse.down()
    page.mouse.move(bounds["x"] + bounds["width"] * 0.8, bounds["y"] + 60)
    page.mouse.up()
    assert box.locator("[name=edge]").input_value() == "80"


def _move_live(watched: Any, latencies: Any, portrait: Any, place: str) -> None:
    page = watched.page
    for name in _served():
        box = page.locator(f".hsds-live.hsds-{name}").first
        box.scroll_into_view_if_needed()
        portrait(box, f"{place}-{name}")
        handles = box.locator(".noUi-handle").all()
        moves = _move_all(page, box, box.locator(".widget-image, .widget-html"), handles)
        latencies[place, name] = moves
        assert len(moves) >= MOVES and statistics.median(moves) < SLOW
    _drag(page, handles[0])
    _blink_live(page, page.locator(".hsds-live.hsds-compare").first)


def _blink_live(page: Any, box: Any) -> None:
    box.locator(".hsds-control-show .noUi-handle").press("Home")
    upper = box.locator(".hsds-comes")
    motion = "image => image.checkVisibility() ? getComputedStyle(image).animationName : 'hidden'"
    assert upper.first.evaluate(motion) == "hidden"
    box.locator(".hsds-control-blink").click()
    page.wait_for_function("document.querySelector('.hsds-compare img.hsds-comes').checkVisibility()")
    assert upper.first.evaluate(motion) == "hsds-comes"
    page.emulate_media(reduced_motion="reduce")
    assert upper.first.evaluate(motion) == "none"
    page.emulate_media(reduced_motion="no-preference")
    box.locator(".hsds-control-blink").click()
    page.wait_for_function("!document.querySelector('.hsds-compare img.hsds-comes').checkVisibility()")


STARTED = """
[...document.querySelectorAll('.jp-InputPrompt')].some((prompt) => /\\[(\\*)\\]/.test(prompt.textContent))
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
def test_jupyterlab_runs_the_explorers(watched, serve, latencies, portrait):
    server = serve(LAB, answers="/api/status?token=t")
    shutil.copy(NOTEBOOK, server.log.with_name("explorers.ipynb"))
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
    page.get_by_text(LAST_WORDS).wait_for()
    _move_live(watched, latencies, portrait, "JupyterLab")
    assert watched.refused == [] and watched.errors == []


@pytest.mark.slow
def test_voila_serves_the_explorers_and_no_code(watched, serve, latencies, portrait):
    server = serve(
        ["hsds_lib.reports.apps", "--no-browser", "--port={port}", "--Voila.port_retries=0"],
        answers="/voila/static/voila.js",
    )
    page = watched.page
    page.goto(server.address)
    page.get_by_text(LAST_WORDS).wait_for()
    _move_live(watched, latencies, portrait, "Voila")
    assert page.locator(".jp-InputArea-editor, .jp-Editor, .highlight").count() == 0
    assert "import " not in page.locator("body").inner_text()
    assert watched.refused == [] and watched.errors == []
