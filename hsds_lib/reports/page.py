"""An executed notebook as one HTML file that needs nothing else: no network, no file beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bs4 import BeautifulSoup
from jinja2 import Environment, PackageLoader, pass_context
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from traitlets import default

from hsds_lib.reports.code import code_html, code_style
from hsds_lib.reports.formulas import formula_style, latex_output, to_html

_LOADING = ("@import", "url(http", 'url("http', "url('http", "url(//", "import(", "fetch(")


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
    """Make the page of an executed notebook.

    Args:
        notebook: the executed notebook; it is not changed.
        facts: what the provenance block shows; see ``hsds_lib.reports.execute``.
        pages: names of the notebooks that have a page of their own, to which links may lead.

    Returns:
        HTML with its style and pictures inside.
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


def loads_from_elsewhere(page: str) -> list[str]:
    """Whatever a page would load when opened: addresses in ``src``, style sheets, imports. Links do not count.

    The states of an explorer, which its script puts into the page one after the other, are looked through as well.
    """
    soup = BeautifulSoup(page, features="html.parser")
    found = [str(tag[name]) for name in ("src", "srcset", "poster", "data") for tag in soup.select(f"[{name}]")]
    for tag in soup.find_all(["link", "image", "use"]):
        found += [str(tag[name]) for name in ("href", "xlink:href") if tag.has_attr(name)]
    found = [address for address in found if address and not address.startswith(("data:", "#"))]
    texts = [tag.get_text() for tag in soup.find_all(["style", "script"]) if tag.get("type") != "application/json"]
    texts += [str(tag["style"]) for tag in soup.select("[style]")]
    found += [mark for text in texts for mark in _LOADING if mark in text]
    for tag in soup.find_all("script", type="application/json"):
        for text in _strings(json.loads(tag.get_text())):
            found += loads_from_elsewhere(text) if "<" in text else []
    return found


def _strings(value: Any) -> Iterator[str]:
    """All strings within data read from JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


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
