"""An executed notebook as one HTML file that needs nothing else: no network, no file beside it; and as PDF."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bs4 import BeautifulSoup
from jinja2 import Environment, PackageLoader, pass_context
from math_core import LatexError, LatexToMathML
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from traitlets import default

from hsds_lib.runtime import RunError, atomic_path

COLOURS = "xcode"
_TAG = re.compile(r"<[^>]+>")


class _Lines(HtmlFormatter[str]):
    """Each line is an element that knows its indentation."""

    def _format_lines(self, tokensource: Any) -> Iterator[tuple[int, str]]:
        for kind, line in super()._format_lines(tokensource):
            words = _TAG.sub("", line)
            indent = len(words) - len(words.lstrip(" "))
            known = f' style="--indent:{indent}ch"' if indent and words.strip() else ""
            yield kind, f'<span class="line"{known}>{line}</span>'


def code_html(source: str) -> str:
    r"""Python code of a cell, magics included, as HTML with the classes of ``code_style``.

    Example:
        >>> "--indent:4ch" in code_html("if a:\n    b()")
        True
    """
    return highlight(source, get_lexer_by_name("ipython3", stripnl=False), _Lines(cssclass="highlight"))


def code_style() -> str:
    """The colours as a style sheet."""
    return HtmlFormatter(style=COLOURS).get_style_defs(".highlight")


_NUMBERED = re.compile(r"\\(begin|end)\{(equation|align|gather)\}")
_SIZED_BASE = re.compile(r"(<m(?:sub|sup|subsup)>)(<mo [^>]*minsize[^>]*>[^<]*</mo>)")
_DELIMITERS = (("$$", "$$"), (r"\[", r"\]"), ("$", "$"), (r"\(", r"\)"))


class FormulaError(ValueError):
    """A formula that cannot be drawn; the message holds the TeX and the reason."""


@cache
def _converter() -> LatexToMathML:
    # The TeX stays inside as an annotation: it can be copied, and search finds it.
    return LatexToMathML(annotation=True, fancy_error=False)


def to_mathml(tex: str, *, display: bool) -> str:
    r"""Convert one formula without delimiters to a ``<math>`` element; only ``\tag{3}`` numbers a displayed one.

    A command that is unknown or incomplete is a ``FormulaError``.
    """
    tex = tex.strip()
    if r"\tag" not in tex:
        # Counters would start anew in every cell, so formulas without a tag get no number.
        tex = _NUMBERED.sub(r"\\\1{\2*}", tex)
    elif not _NUMBERED.match(tex):
        tex = rf"\begin{{equation}}{tex}\end{{equation}}"
    try:
        drawn = _converter().convert_with_local_state(tex, displaystyle=display)
    except LatexError as error:
        raise FormulaError(f"{tex}: {' '.join(str(error).split())}") from None
    # Browsers enlarge a bracket (\Bigr) in a row, and not right below a script.
    return _SIZED_BASE.sub(r"\1<mrow>\2</mrow>", drawn)


def to_html(tex: str, *, display: bool) -> str:
    """Convert one formula; one that cannot be drawn is shown as its TeX, marked with the class ``tex``."""
    try:
        return to_mathml(tex, display=display)
    except FormulaError as error:
        tag = "pre" if display else "code"
        return f'<{tag} class="tex" title="{html.escape(str(error))}">{html.escape(tex.strip())}</{tag}>'


def latex_output(text: str) -> str:
    """Convert a ``text/latex`` output, whose formula stands between delimiters, or is an environment."""
    text = text.strip()
    for begin, end in _DELIMITERS:
        if text.startswith(begin) and text.endswith(end) and len(text) >= len(begin) + len(end):
            return to_html(text[len(begin) : -len(end)], display=begin in ("$$", r"\["))
    return to_html(text, display=True)


def formula_style() -> str:
    """The style sheet of formulas, for every page that has some."""
    return (files("hsds_lib.reports") / "templates" / "formulas.css").read_text(encoding="utf-8")


class _Renderer(IPythonRenderer):
    """Markdown to HTML, with formulas as MathML."""

    def block_math(self, body: str) -> str:
        return to_html(body, display=True)

    def inline_math(self, body: str) -> str:
        return to_html(body, display=False)

    def latex_environment(self, name: str, body: str) -> str:
        return to_html(rf"\begin{{{name}}}{body}\end{{{name}}}", display=True)


class ReportExporter(HTMLExporter):
    """nbconvert's exporter with this course's page, instead of one that loads scripts from the network."""

    @default("template_name")
    def _template(self) -> str:
        return "report"

    @default("extra_template_basedirs")
    def _template_folders(self) -> list[str]:
        return [str(_templates())]

    @property
    def default_config(self) -> Any:
        """What is shown of an output that exists in several forms: the first of these."""
        config = super().default_config
        config.NbConvertBase.display_data_priority = [
            "text/html",
            "text/markdown",
            "image/svg+xml",
            "text/latex",
            "image/png",
            "image/jpeg",
            # A widget without a kernel is blank; the template says so.
            "application/vnd.jupyter.widget-view+json",
            "text/plain",
        ]
        return config

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """Convert a markdown cell."""
        return markdown_html(source, attachments=context.get("cell", {}).get("attachments"))

    def default_filters(self) -> Iterable[tuple[str, Any]]:
        """Filters for the template."""
        yield from super().default_filters()
        yield ("latex_output", latex_output)
        yield ("code_html", code_html)


def markdown_html(source: str, *, attachments: Any = None) -> str:
    """Convert markdown, its formulas to MathML; a formula that cannot be drawn stays TeX, with the class ``tex``."""
    renderer = _Renderer(escape=False, attachments=attachments or {}, exclude_anchor_links=True)
    return MarkdownWithMath(renderer=renderer).render(source)


def report_page(notebook: NotebookNode, facts: dict[str, Any], *, pages: Iterable[str]) -> str:
    """Make the page of an executed notebook, which is not changed: HTML with its style and pictures inside.

    ``facts`` are what the provenance block shows, as ``page_facts`` gives them; links may lead to ``pages``, names of
    notebooks.
    """
    shown = NotebookNode(notebook)
    shown.metadata = NotebookNode({key: value for key, value in notebook.metadata.items() if key != "widgets"})
    resources = {"report": {**facts, "style": style(code=True)}}
    page, _ = ReportExporter().from_notebook_node(shown, resources=resources)
    return _self_contained(page, set(pages))


def render(template: str, **values: Any) -> str:
    """Fill one of the plain templates in ``templates``; values are escaped."""
    environment = Environment(loader=PackageLoader("hsds_lib.reports", "templates"), autoescape=True, trim_blocks=True)
    return environment.get_template(template).render(style=style(), **values)


@cache
def style(*, code: bool = False) -> str:
    """The style sheet of all pages, with colours for code when asked for."""
    text = formula_style() + (_templates() / "style.css").read_text(encoding="utf-8")
    return text + code_style() if code else text


def _self_contained(page: str, pages: set[str]) -> str:
    """Lead links to other notebooks to their pages, and take out whatever would be loaded from elsewhere."""
    soup = BeautifulSoup(page, features="html.parser")
    for picture in soup.find_all("img"):
        # An explorer may have pictures that get their data: address later.
        if not str(picture.get("src") or "data:").startswith("data:"):
            # Badges and pictures beside the notebook: their words must do.
            picture.replace_with(str(picture.get("alt", "")))
    for link in soup.select("main a[href]"):
        address = urlsplit(str(link["href"]))
        if address.scheme or not address.path:
            continue
        if address.path.endswith(".ipynb") and Path(address.path).stem in pages:
            link["href"] = f"{Path(address.path).stem}.html"
        else:
            link.unwrap()
    return str(soup)


@cache
def _templates() -> Path:
    return Path(str(files("hsds_lib.reports"))) / "templates"


# The page on paper, printed by Chromium or Chrome where there is one.

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-pdf-header-footer",
)
_TIME_LIMIT = 180  # seconds


def find_browser() -> str | None:
    """The browser that prints: the one ``HSDS_CHROMIUM`` names, else the first Chromium or Chrome found, else None."""
    named = os.environ.get("HSDS_CHROMIUM")
    if named is not None:
        return named or None
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    return found or next((place for place in _PLACES if Path(place).is_file()), None)


def require_browser() -> str:
    """The browser that prints; without one a ``RunError`` says what to do."""
    browser = find_browser()
    if browser is None:
        raise RunError("PDF needs Chromium or Chrome, and none was found; install one, or name it in HSDS_CHROMIUM")
    return browser


def write_pdf(page: str | Path, pdf: str | Path | None = None) -> Path:
    """Print an HTML report; returns the PDF.

    ``pdf`` is the file to write, beside the page when None. A missing page is a ``FileNotFoundError``; a ``RunError``
    says that there is no browser, or that it failed, and then nothing is written.
    """
    page = Path(page).resolve()
    if not page.is_file():
        raise FileNotFoundError(f"there is no page {page}; make it with `hsds report` first")
    browser = require_browser()
    target = Path(pdf) if pdf is not None else page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory(prefix="hsds-pdf-") as folder:
        printed = Path(folder) / "page.pdf"
        command = [browser, *_FLAGS, *_sandbox(), f"--user-data-dir={folder}/profile", f"--print-to-pdf={printed}"]
        try:
            done = subprocess.run(
                [*command, page.as_uri()], capture_output=True, text=True, timeout=_TIME_LIMIT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RunError(f"{browser} did not print {page.name}: {error}") from None
        if not printed.is_file() or printed.read_bytes()[:5] != b"%PDF-":
            raise RunError(f"{browser} did not print {page.name}: {done.stderr.strip()[-300:] or 'it wrote no PDF'}")
        with atomic_path(target) as temporary:
            shutil.copyfile(printed, temporary)
    return target


def _sandbox() -> list[str]:
    # Chromium refuses to run as root with its sandbox; as anybody else the sandbox stays.
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
