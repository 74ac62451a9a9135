"""An executed notebook as slides: one HTML file that needs no network, with speaker notes.

Tags of the cells (``slide``, ``subslide``, ``fragment``, ``skip``, ``notes``) say what goes where; a cell without one
follows the defaults of :mod:`hsds_lib.reports.slide_rules`, so that a notebook without any tag makes a deck, too.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import nbformat

from hsds_lib.reports.notebook import SLIDE_TAGS
from hsds_lib.reports.page import render
from hsds_lib.reports.slide_rules import Slide, arrange
from hsds_lib.runtime import RunError, atomic_path

WIDTH, HEIGHT = 1280, 720
"""Of a slide, in CSS pixels; browsers scale it."""


class SlidesError(RunError):
    """No slides can be made of a file; the message says why and what to do."""


def write_slides(notebook_path: str | Path, out: str | Path) -> Path:
    """Write the slides of an executed notebook.

    Args:
        notebook_path: such as ``reports/03_wsras.ipynb``, which ``hsds report`` leaves. One that was not executed has
            no figures to show.
        out: the HTML file to write, or a folder for ``NAME.html``.

    Returns:
        The file.

    Raises:
        SlidesError: the notebook is missing, is none, or was not executed.
    """
    path, out = Path(notebook_path), Path(out)
    target = out if out.suffix == ".html" else out / f"{path.stem}.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    page = slides_page(read_executed(path))
    with atomic_path(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def read_executed(path: Path) -> nbformat.NotebookNode:
    """Read a notebook that was executed to its end; anything else is a ``SlidesError``."""
    if not path.is_file():
        raise SlidesError(f"{path} does not exist; `hsds report {path.stem}` executes a notebook and writes it")
    try:
        notebook = nbformat.read(path, as_version=4)
    except (ValueError, nbformat.reader.NotJSONError) as error:
        raise SlidesError(f"{path} is no notebook ({error}); give the .ipynb that `hsds report` wrote") from None
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if any(cell.execution_count is None for cell in codes):
        raise SlidesError(f"{path} was not executed to its end; run `hsds report {path.stem}` and give what it wrote")
    return notebook


def slides_page(notebook: nbformat.NotebookNode) -> str:
    """Make the page of an executed notebook.

    Args:
        notebook: with its outputs; it is not changed.

    Returns:
        HTML with scripts, styles, pictures and formulas inside.
    """
    slides = arrange(notebook)
    templates, reveal = files("hsds_lib.reports") / "templates", files("hsds_lib.reports") / "vendor" / "reveal"
    parts = {
        "reveal": (reveal / "reveal.js").read_text(encoding="utf-8").partition("//# sourceMappingURL")[0],
        "reveal_style": (reveal / "reveal.css").read_text(encoding="utf-8"),
        "style_of_slides": (templates / "slides.css").read_text(encoding="utf-8"),
        "script": (templates / "slides.js").read_text(encoding="utf-8"),
    }
    title = slides[0].title_text if slides else "Slides"
    return render("slides.html.j2", slides=slides, title=title, width=WIDTH, height=HEIGHT, **parts)


__all__ = ["SLIDE_TAGS", "Slide", "SlidesError", "read_executed", "slides_page", "write_slides"]
