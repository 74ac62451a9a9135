"""Which part of a notebook goes onto which slide, and what is left for the speaker's notes.

Without tags: every heading starts a slide with its first paragraph; each picture, table and explorer has one of its
own; formulas, lists of modest length and what verdict cells print are shown; all other prose is for the notes. Code is
shown on request, and of exercises the stub.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html import escape

from bs4 import BeautifulSoup, Tag
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from hsds_lib.reports.notebook import SLIDE_TAGS, tags
from hsds_lib.reports.page import markdown_html

ROOM = 13.0
"""Lines of text that a slide holds below its heading."""
_COLUMNS = 84  # characters in a line of text
_LONG_LIST = 9.0  # lines; a longer list is for the notes
_PICTURES = {"image/svg+xml": "svg+xml", "image/png": "png", "image/jpeg": "jpeg"}
_ASIDE = re.compile(r"^\*?\*?(Further reading|Next)", re.IGNORECASE)
_EXERCISE = re.compile(r"^Exercise \d+\.\d+")
_CHECK = re.compile(r"^check\(", re.MULTILINE)


@dataclass
class Slide:
    """One slide, as HTML.

    Attributes:
        title: the heading, as HTML; empty for none.
        kind: ``title``, ``text``, ``figure``, ``table`` or ``exercise``.
        body: what is seen, part by part.
        notes: what is said.
        code: the source of the cells whose outputs are seen, coloured.
        lines: how much of ``ROOM`` is taken.
    """

    title: str
    kind: str = "text"
    body: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    lines: float = 0.0

    @property
    def title_text(self) -> str:
        """The heading without markup."""
        soup = BeautifulSoup(self.title, "html.parser")
        for annotation in soup.find_all("annotation"):
            annotation.decompose()
        return soup.get_text(" ", strip=True)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to see but a heading."""
        return not self.body


@dataclass(frozen=True)
class _Piece:
    """A part of a cell: its HTML, its height in lines, whether it is seen or said, and what must fit below it."""

    html: str
    lines: float
    seen: bool
    kind: str = "text"
    follows: float = 0.0


def arrange(notebook: NotebookNode) -> list[Slide]:
    """Arrange the cells of an executed notebook on slides.

    Args:
        notebook: with its outputs; it is not changed.

    Returns:
        The slides in order, none of them empty.
    """
    deck = _Deck()
    for cell in notebook.cells:
        kind = _slide_type(cell)
        if kind != "skip":
            deck.add(cell, kind)
    return deck.finished()


def _slide_type(cell: NotebookNode) -> str:
    """Type of a cell by its metadata or, without any, its tags; empty when both are silent."""
    given = cell.metadata.get("slideshow", {}).get("slide_type", "")
    return str(given) if given in SLIDE_TAGS else next((name for name in tags(cell) if name in SLIDE_TAGS), "")


class _Deck:
    """The slides so far; what comes next is put on the last one, or starts another."""

    def __init__(self) -> None:
        self.slides: list[Slide] = []
        self.stub_wanted = False  # the next code cell is the stub of the exercise above

    def add(self, cell: NotebookNode, kind: str) -> None:
        if cell.cell_type == "markdown":
            self._markdown(cell, kind)
        elif cell.cell_type == "code":
            self._code(cell, kind)

    def finished(self) -> list[Slide]:
        """All slides with something to see; the notes of the others go to the one before."""
        kept: list[Slide] = []
        for slide in self.slides:
            if not slide.is_empty or slide.kind == "title":
                kept.append(slide)
            elif kept:
                kept[-1].notes += slide.notes
        return kept

    @property
    def last(self) -> Slide:
        if not self.slides:
            self.slides.append(Slide(""))
        return self.slides[-1]

    def _start(self, title: str, kind: str = "text") -> Slide:
        self.slides.append(Slide(title, kind))
        return self.slides[-1]

    def _markdown(self, cell: NotebookNode, kind: str) -> None:
        soup = BeautifulSoup(markdown_html(cell.source, attachments=cell.get("attachments")), "html.parser")
        _without_links_and_ids(soup)
        elements = [child for child in soup.children if isinstance(child, Tag)]
        if kind == "notes":
            self.last.notes += map(str, elements)
        elif kind == "fragment":
            self._show(_Piece(_fragment("".join(map(str, elements))), sum(map(_lines, elements)), seen=True))
        else:
            self._elements(elements, kind)

    def _elements(self, elements: list[Tag], kind: str) -> None:
        if kind and not _level(elements[0] if elements else None):
            self._start(self.last.title)
        # Above the first heading of a cell, prose comments on what was shown before: it is for the notes.
        first = bool(kind)
        for place, element in enumerate(elements):
            if level := _level(element):
                self._heading(element, level)
                first = True
            elif kind or self.last.kind == "exercise":
                self._show(_Piece(str(element), _lines(element), seen=True))
            else:
                after = elements[place + 1] if place + 1 < len(elements) else None
                self._show(_by_default(element, after, first=first))
                first = first and element.name not in ("p", "ul", "ol")

    def _heading(self, element: Tag, level: int) -> None:
        title = element.decode_contents()
        kind = "title" if level == 1 else "exercise" if _EXERCISE.match(element.get_text()) else "text"
        self.stub_wanted = kind == "exercise"
        self._start(title, kind)

    def _show(self, piece: _Piece) -> None:
        slide = self.last
        if not piece.seen:
            slide.notes.append(piece.html)
            return
        full = slide.lines + piece.lines + piece.follows > ROOM and slide.body
        if slide.kind in ("figure", "table") or full or (slide.kind == "title" and piece.kind != "text"):
            slide = self._start(slide.title, "exercise" if slide.kind == "exercise" else "text")
        slide.body.append(piece.html)
        slide.lines += piece.lines

    def _code(self, cell: NotebookNode, kind: str) -> None:
        coloured = _coloured(cell.source)
        if self.stub_wanted and "..." in cell.source:
            self.stub_wanted = False
            self._show(
                _Piece(f'<div class="stub">{coloured}</div>', 0.8 * len(cell.source.splitlines()) + 1, seen=True)
            )
            return
        if _CHECK.search(cell.source) and not kind:
            return
        if kind in ("slide", "subslide"):
            self._start(self.last.title)
        for piece in _outputs(cell, everything=bool(kind)):
            if kind == "notes":
                piece = replace(piece, seen=False, kind="text")
            elif kind == "fragment":
                piece = replace(piece, html=_fragment(piece.html))
            self._output(piece, coloured)

    def _output(self, piece: _Piece, coloured: str) -> None:
        if piece.kind in ("figure", "table"):
            # A heading with nothing below it yet is the picture's.
            slide = self.last if self.last.is_empty and self.last.kind == "text" else self._start(self.last.title)
            slide.kind = piece.kind
            slide.body.append(piece.html)
        else:
            self._show(piece)
        if piece.seen and coloured not in self.last.code:
            self.last.code.append(coloured)


def _by_default(element: Tag, after: Tag | None, *, first: bool) -> _Piece:
    """Decide for an element without a tag whether it is seen; ``after`` is the element that follows it."""
    lines, text = _lines(element), element.get_text(" ", strip=True)
    if _ASIDE.match(text):
        return _Piece(str(element), lines, seen=False)
    formula = element.find("math", display="block") is not None
    listed = element.name in ("ul", "ol") and lines <= _LONG_LIST
    seen = first or formula or listed or _is_block(element)
    if element.name == "p" and after is not None:
        # What leads to a formula, to code or to a list belongs to it, and onto the same slide.
        to_formula = after.find("math", display="block") is not None
        to_code = _is_block(after) and text.endswith(":")
        to_list = after.name in ("ul", "ol") and len(text) < 40 and _lines(after) <= _LONG_LIST
        if to_formula or to_code or to_list:
            return _Piece(str(element), lines, seen=True, follows=_lines(after))
    return _Piece(str(element), lines, seen=seen, kind="formula" if formula else "text")


def _outputs(cell: NotebookNode, *, everything: bool) -> Iterator[_Piece]:
    """What of a cell's outputs is shown: pictures, tables, explorers, and the text of verdicts."""
    printed = everything or "verdict" in tags(cell)
    for output in cell.outputs:
        data = output.get("data", {})
        if picture := next((kind for kind in _PICTURES if kind in data), None):
            alt = escape(output.get("metadata", {}).get(picture, {}).get("alt", ""), quote=True)
            encoded = data[picture] if picture != "image/svg+xml" else base64.b64encode(data[picture].encode()).decode()
            address = f"data:image/{_PICTURES[picture]};base64,{''.join(encoded.split())}"
            yield _Piece(f'<img src="{address}" alt="{alt}">', ROOM, seen=True, kind="figure")
            yield _Piece(f"<p><em>The figure:</em> {alt}</p>" if alt else "", 0, seen=False)
        elif "text/html" in data:
            if not data["text/html"].lstrip().startswith("<details"):
                yield _Piece(f'<div class="rich">{data["text/html"]}</div>', ROOM, seen=True, kind="table")
        elif printed and (text := output.get("text", "") or data.get("text/plain", "")):
            rows = sum(max(1, math.ceil(len(row) / 100)) for row in text.splitlines())
            yield _Piece(f'<pre class="verdict">{escape(text.rstrip())}</pre>', 0.72 * rows + 0.8, seen=True)


def _level(element: Tag | None) -> int:
    """Level of a heading, 0 for anything else."""
    found = re.fullmatch(r"h([1-6])", element.name) if element is not None else None
    return int(found[1]) if found else 0


def _is_block(element: Tag) -> bool:
    """Whether an element is code, coloured or not, or a table."""
    return element.name in ("pre", "table") or (element.name == "div" and element.find("pre") is not None)


def _lines(element: Tag) -> float:
    """Height of an element, in lines of text."""
    if element.name == "table":
        return 1.2 * len(element.find_all("tr")) + 0.5
    if _is_block(element):
        return 0.75 * len(element.get_text().splitlines()) + 1
    if element.name in ("ul", "ol"):
        return sum(math.ceil(len(_words(item)) / _COLUMNS) + 0.15 for item in element.find_all("li")) + 0.5
    blocks = element.find_all("math", display="block")
    rows = sum(max(1, len(block.find_all("mtr"))) * 2.2 for block in blocks)
    return rows + math.ceil(len(_words(element)) / _COLUMNS) * (1 if not blocks or _words(element) else 0) + 0.5


def _words(element: Tag) -> str:
    """What is read of an element: without displayed formulas, and without the TeX that formulas carry along."""
    copy = BeautifulSoup(str(element), "html.parser")
    for hidden in [*copy.find_all("annotation"), *copy.find_all("math", display="block")]:
        hidden.decompose()
    return copy.get_text(" ", strip=True)


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


def _coloured(source: str) -> str:
    return highlight(source, PythonLexer(), HtmlFormatter(noclasses=True, style="xcode", nobackground=True))
