"""An executed notebook as slides: one HTML file that needs no network, with speaker notes.

The slide type of a cell (metadata ``slideshow.slide_type``, which the builder writes from tags) says what goes where.
In a cell without one each heading starts a slide with the paragraph below it, its formulas, code and short lists; the
other prose is for the notes. Each picture, table and explorer has a slide; verdicts and stubs of exercises are shown.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Literal

from bs4 import BeautifulSoup, Tag
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from hsds_lib.outputs import place_of, require_apart
from hsds_lib.reports.notebook import SLIDE_TAGS, read_notebook, tags
from hsds_lib.reports.page import markdown_html, render
from hsds_lib.runtime import RunError, atomic_path

WIDTH, HEIGHT = 1280, 720
"""Of a slide, in CSS pixels; browsers scale it."""
_MARK = f'<body data-width="{WIDTH}" data-height="{HEIGHT}">\n<div class="reveal">'.encode()
_SHORT = 700  # characters of a list or code that fits below a heading
_ROWS = 20  # rows of text that a slide holds; what verdicts print beyond them is on the next
_PICTURES = {"image/svg+xml": "svg+xml", "image/png": "png", "image/jpeg": "jpeg"}
_ASIDE = re.compile(r"(Further reading|Next)", re.IGNORECASE)
_EXERCISE = re.compile(r"Exercise \d+\.\d+")
_CHECK = re.compile(r"^check\(", re.MULTILINE)


class SlidesError(RunError):
    """No slides can be made of a file; the message says why and what to do."""


@dataclass
class Slide:
    """One slide, as HTML: what is seen part by part, what is said, and the coloured code of what is seen."""

    title: str
    kind: Literal["title", "text", "figure", "table", "exercise"] = "text"
    body: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    subject: str = ""  # of the slides that follow without a heading: the title, or what an exercise interrupts

    def next(self) -> Slide:
        """A slide that goes on with the subject."""
        return Slide(self.subject, subject=self.subject)


def write_slides(notebook_path: str | Path, out: str | Path) -> Path:
    """Write the slides of an executed notebook such as ``reports/03_wsras.ipynb``; returns the HTML file.

    ``out`` is that file, or a folder for ``NAME.html``. A ``SlidesError`` says that the notebook is missing, is none,
    was not executed, or that there is another page at this place.
    """
    path, out = Path(notebook_path), Path(out)
    target = place_of(out if out.suffix == ".html" else out / f"{path.stem}.html")
    require_apart(target, path)
    if target.exists() and not (target.is_file() and _MARK in target.read_bytes()):
        raise SlidesError(f"{target} is there and holds no slides, but perhaps a report; name another place with -o")
    page = slides_page(_read_executed(path))
    with atomic_path(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def _read_executed(path: Path) -> NotebookNode:
    if not path.is_file():
        raise SlidesError(f"{path} does not exist; `hsds report {path.stem}` executes a notebook and writes it")
    try:
        notebook = read_notebook(path)
    except ValueError as error:
        raise SlidesError(f"{error}; give the .ipynb that `hsds report` wrote") from None
    if any(cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code"):
        raise SlidesError(f"{path} was not executed to its end; run `hsds report {path.stem}` and give what it wrote")
    return notebook


def slides_page(notebook: NotebookNode) -> str:
    """Make the page of an executed notebook, with scripts, styles, pictures and formulas inside."""
    slides = arrange(notebook)
    templates, reveal = files("hsds_lib.reports") / "templates", files("hsds_lib.reports") / "vendor" / "reveal"
    title = BeautifulSoup(slides[0].title if slides else "Slides", "html.parser")
    for annotation in title.find_all("annotation"):  # the TeX that formulas carry along
        annotation.decompose()
    return render(
        "slides.html.j2",
        slides=slides,
        title=title.get_text(" ", strip=True),
        width=WIDTH,
        height=HEIGHT,
        reveal=(reveal / "reveal.js").read_text(encoding="utf-8").partition("//# sourceMappingURL")[0],
        reveal_style=(reveal / "reveal.css").read_text(encoding="utf-8"),
        style_of_slides=(templates / "slides.css").read_text(encoding="utf-8"),
        script=(templates / "slides.js").read_text(encoding="utf-8"),
    )


def arrange(notebook: NotebookNode) -> list[Slide]:
    """Arrange the cells of an executed notebook, which is not changed, on slides; none of them is empty."""
    slides = [Slide("")]
    for cell in notebook.cells:
        kind = _slide_type(cell)
        if kind == "skip":
            continue
        if kind in ("slide", "subslide"):
            slides.append(slides[-1].next())
        if cell.cell_type == "markdown":
            _add_prose(slides, cell, kind)
        elif cell.cell_type == "code":
            _add_code(slides, cell, kind)
    kept: list[Slide] = []
    for slide in slides:
        if slide.body or slide.kind == "title":
            kept.append(slide)
        elif kept:
            kept[-1].notes += slide.notes
    return kept


def _slide_type(cell: NotebookNode) -> str:
    """Type of a cell by its metadata or, without any, its tags; empty when both are silent."""
    given = cell.metadata.get("slideshow", {}).get("slide_type", "")
    return str(given) if given in SLIDE_TAGS else next((name for name in tags(cell) if name in SLIDE_TAGS), "")


def _add_prose(slides: list[Slide], cell: NotebookNode, kind: str) -> None:
    soup = BeautifulSoup(markdown_html(cell.source, attachments=cell.get("attachments")), "html.parser")
    _without_links_and_ids(soup)
    elements = [child for child in soup.children if isinstance(child, Tag)]
    if kind == "fragment":
        slides[-1].body.append(_fragment("".join(map(str, elements))))
        return
    # Above the first heading of a cell, prose comments on what was shown before: it is for the notes.
    first = fresh = exercise = aside = False
    for element, after in zip(elements, [*elements[1:], None], strict=True):
        if re.fullmatch("h[1-6]", element.name):
            title, exercise = element.decode_contents(), bool(_EXERCISE.match(element.get_text()))
            subject = slides[-1].subject if exercise else title
            slides.append(Slide(title, "title" if element.name == "h1" else "text", subject=subject))
            slides[-1].kind = "exercise" if exercise else slides[-1].kind
            first, fresh, aside = True, True, False
            continue
        aside = aside or bool(_ASIDE.match(element.get_text(" ", strip=True)))
        if kind != "notes" and (kind or exercise or (not aside and _is_seen(element, after, first=first))):
            if slides[-1].body and not (fresh or kind):
                slides.append(slides[-1].next())
            slides[-1].body.append(str(element))
            first, fresh = first and element.name not in ("p", "ul", "ol"), True
        else:
            slides[-1].notes.append(str(element))


def _is_seen(element: Tag, after: Tag | None, *, first: bool) -> bool:
    """Whether a paragraph of a cell without a type is seen; ``first`` are those below a heading."""
    text = element.get_text(" ", strip=True)
    # What leads to a formula, to code or to a list belongs to it, and onto the same slide.
    leads = element.name == "p" and after is not None and (text.endswith(":") or _is_formula(after))
    return first or _is_formula(element) or _is_block(element) or (leads and after is not None and _is_block(after))


def _is_formula(element: Tag) -> bool:
    return element.find("math", display="block") is not None


def _is_block(element: Tag) -> bool:
    """Whether an element is a displayed formula, a table, or a list or code that is not long."""
    listed = element.name in ("ul", "ol", "pre") or element.find("pre") is not None
    return _is_formula(element) or element.name == "table" or (listed and len(element.get_text()) < _SHORT)


def _add_code(slides: list[Slide], cell: NotebookNode, kind: str) -> None:
    coloured = highlight(cell.source, PythonLexer(), HtmlFormatter(noclasses=True, style="xcode", nobackground=True))
    if slides[-1].kind == "exercise" and "..." in cell.source and not kind:
        slides[-1].body.append(f'<div class="stub">{coloured}</div>')
        return
    if _CHECK.search(cell.source) and not kind:
        return
    for look, html in _outputs(cell, everything=bool(kind)):
        if look == "notes" or kind == "notes":
            slides[-1].notes.append(html)
            continue
        # A heading with nothing below it yet is the picture's.
        rich = look in ("figure", "table")
        full = rich or "\n".join([*slides[-1].body, html]).count("\n") > _ROWS
        if slides[-1].kind in ("figure", "table", "title", "exercise") or (full and slides[-1].body):
            slides.append(slides[-1].next())
        slides[-1].kind = look if rich else slides[-1].kind
        slides[-1].body.append(_fragment(html) if kind == "fragment" else html)
        if coloured not in slides[-1].code:
            slides[-1].code.append(coloured)


def _outputs(
    cell: NotebookNode, *, everything: bool
) -> Iterator[tuple[Literal["figure", "table", "text", "notes"], str]]:
    """What of a cell's outputs is shown: pictures, tables, explorers, and the text of verdicts."""
    printed = everything or "verdict" in tags(cell)
    for output in cell.outputs:
        data = output.get("data", {})
        if picture := next((kind for kind in _PICTURES if kind in data), None):
            alt = escape(output.get("metadata", {}).get(picture, {}).get("alt", ""), quote=True)
            encoded = data[picture] if picture != "image/svg+xml" else base64.b64encode(data[picture].encode()).decode()
            address = f"data:image/{_PICTURES[picture]};base64,{''.join(encoded.split())}"
            yield "figure", f'<img src="{address}" alt="{alt}">'
            if alt:
                yield "notes", f"<p><em>The figure:</em> {alt}</p>"
        elif "text/html" in data:
            if not data["text/html"].lstrip().startswith("<details"):
                yield "table", f'<div class="rich">{data["text/html"]}</div>'
        elif printed and (text := output.get("text", "") or data.get("text/plain", "")):
            yield "text", f'<pre class="verdict">{escape(text.rstrip())}</pre>'


def _without_links_and_ids(soup: BeautifulSoup) -> None:
    """Links to other notebooks lead nowhere in a single file; repeated ids would confuse the slides' addresses."""
    for link in soup.select("a[href]"):
        if "://" not in str(link["href"]):
            link.unwrap()
    for element in soup.select("[id]"):
        del element["id"]
    for picture in soup.find_all("img"):
        if not str(picture.get("src", "")).startswith("data:"):
            picture.replace_with(str(picture.get("alt", "")))


def _fragment(html: str) -> str:
    return f'<div class="fragment">{html}</div>'
