"""The course as a website that is read offline: executed notebooks, guides, the index of the paper and the library."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from bs4 import BeautifulSoup
from docutils import nodes
from nbformat import NotebookNode

from hsds_lib.outputs import MARKER, own_folder
from hsds_lib.reports.notebook import alt_text, find_notebooks, pictures, read_notebook, tags
from hsds_lib.reports.page import formula_style, to_html
from hsds_lib.runtime import RunError


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer ``hsds`` for ``html_math_renderer``."""
    app.add_html_math_renderer("hsds", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(translator: Any, node: nodes.Element) -> None:
    translator.body.append(to_html(node.astext(), display=False))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.Element) -> None:
    translator.body.append(f'<div class="math">{to_html(node.astext(), display=True)}</div>')
    raise nodes.SkipNode


_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_PICTURES = (".png", ".jpg", ".svg", ".webp")
_CSS = """\
.bd-main .bd-content .bd-article-container { max-width: 68rem; }
.bd-page-width { max-width: 110rem; }
div.math > math { width: 100%; text-align: center; }
.cell pre { font-size: 0.78rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.bd-article :is(h1, h2) { overflow-wrap: anywhere; }
.output.text_html > img { display: block; }
"""
_TITLE = "HSDS-MEF: a course you can run"
_TIME_LIMIT = 600  # seconds for jupyter-book


class SiteError(RunError):
    """The website could not be built; the message says why and what to do."""


def build_site(out: str | Path = "site", *, executed: str | Path = "reports", root: Path | None = None) -> Path:
    """Build the website from the notebooks that ``run_reports`` executed; returns its first page.

    Nothing is executed and nothing is downloaded. The pages load nothing from elsewhere: formulas are MathML, the
    search runs in the browser, explorers move without a kernel.

    README, guides and library are those of the checkout ``root``. A ``SiteError`` says that there is no executed
    notebook, or how jupyter-book failed; an ``OutputError`` that ``out`` holds something else.
    """
    root = root or find_notebooks().parent
    notebooks = sorted(path for path in Path(executed).glob("*.ipynb"))
    if not notebooks:
        raise SiteError(f"there is no executed notebook in {executed}; run `make report` first")
    sources = (root / name for name in ("README.md", "notebooks", "hsds_lib"))
    out = own_folder(out, "hsds site", executed, *notebooks, *sources, adopt=_is_ours)
    with tempfile.TemporaryDirectory(prefix="hsds-site-") as folder:
        book = Path(folder) / "book"
        _assemble(book, notebooks, root)
        html = _jupyter_book(book, Path(folder) / "built")
        for page in html.rglob("*.html"):
            page.write_text(_offline(page.read_text(encoding="utf-8")), encoding="utf-8")
        _replace(html, out)
    return out / "index.html"


def _assemble(book: Path, notebooks: Iterable[Path], root: Path) -> None:
    """Write the sources of the book: pages, table of contents, settings."""
    book.mkdir()
    guides = [path for path in [root / "notebooks" / "paper_index.md", *_guides(root)] if path.is_file()]
    pages = {path.name: path for path in [*notebooks, *guides]}
    for path in notebooks:
        notebook = read_notebook(path)
        _prepare(notebook, set(pages))
        nbformat.write(notebook, book / path.name)
    for source, target in [(root / "README.md", "index.md"), *((path, path.name) for path in guides)]:
        text = source.read_text(encoding="utf-8") if source.is_file() else "# Course\n"
        (book / target).write_text(_relinked(text, set(pages), book, source.parent), encoding="utf-8")
    library = _library_pages(root / "hsds_lib")
    for name, text in library.items():
        (book / f"{name}.rst").write_text(text, encoding="utf-8")
    (book / "_static").mkdir()
    (book / "_static" / "course.css").write_text(formula_style() + _CSS, encoding="utf-8")
    numbered = [path.stem for path in notebooks if path.stem[:2].isdigit()]
    others = [path.stem for path in notebooks if path.stem not in numbered] + [path.stem for path in guides]
    parts = [("Notebooks", numbered), ("Guides", others), ("Library", list(library))]
    toc = [{"caption": caption, "chapters": [{"file": name} for name in names]} for caption, names in parts if names]
    (book / "_toc.yml").write_text(json.dumps({"format": "jb-book", "root": "index", "parts": toc}), "utf-8")
    (book / "_config.yml").write_text(json.dumps(_config()), encoding="utf-8")


def _config() -> dict[str, object]:
    return {
        "title": _TITLE,
        "author": "",
        "execute": {"execute_notebooks": "off"},
        # Without linkify, which turns names such as CONTRIBUTING.md into addresses.
        "parse": {"myst_enable_extensions": ["amsmath", "colon_fence", "dollarmath", "tasklist"]},
        "launch_buttons": {"notebook_interface": "classic"},
        "html": {"use_issues_button": False, "use_repository_button": False, "favicon": "", "extra_footer": ""},
        "sphinx": {
            "extra_extensions": [
                "hsds_lib.reports.site",
                "sphinx.ext.autodoc",
                "sphinx.ext.autosummary",
                "sphinx.ext.napoleon",
            ],
            "config": {
                "add_module_names": False,
                "autodoc_member_order": "bysource",
                "autosummary_generate": False,
                "html_math_renderer": "hsds",
                "nb_ipywidgets_js": {},  # otherwise two scripts from a CDN on every page
                "html_js_files": [],
                "html_theme_options": {"use_download_button": False, "navbar_persistent": []},
                "html_context": {"default_mode": "light"},  # the figures are drawn on white
                "html_copy_source": False,
                "html_last_updated_fmt": None,  # two builds of the same notebooks are the same
                "html_show_copyright": False,
                "nb_merge_streams": True,
                "suppress_warnings": ["myst.header", "mystnb.unknown_mime_type"],
            },
        },
    }


def _library_pages(package: Path) -> dict[str, str]:
    """Pages that Sphinx fills from docstrings: the public face in the order of its stub, then a page for each room."""
    if not (package / "__init__.pyi").is_file():
        return {}
    stub = (package / "__init__.pyi").read_text(encoding="utf-8")
    face = [f"{_heading('import hsds_lib as hsds', '=')}The names that are loaded when they are first used."]
    imports = [node for node in ast.parse(stub).body if isinstance(node, ast.ImportFrom) and node.level]
    headings = [(number, line[2:]) for number, line in enumerate(stub.splitlines(), 1) if line.startswith("# ")]
    for (first, words), (last, _) in zip(headings, [*headings[1:], (len(stub), "")], strict=True):
        names = [
            f"   ~{package.name}.{node.module}.{alias.name}"
            for node in imports
            if first < node.lineno < last
            for alias in node.names
        ]
        face.append("\n".join([_heading(words, "-"), ".. autosummary::", "", *names]))
    rooms: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        module = ".".join(path.relative_to(package.parent).with_suffix("").parts)
        if not path.name.startswith("__"):
            room = module.split(".")[1] if module.count(".") > 1 else "ground"
            rooms.setdefault(room, []).append(f"{_heading(module, '-')}.. automodule:: {module}\n   :members:\n")
    pages = {f"library_{room}": "\n".join([_heading(room, "="), *texts]) for room, texts in rooms.items()}
    return {"library": "\n\n".join(face) + "\n", **pages}


def _heading(words: str, line: str) -> str:
    return f"{words}\n{line * len(words)}\n\n"


def _guides(root: Path) -> list[Path]:
    return sorted((root / "notebooks" / "guides").glob("*.md"))


def _prepare(notebook: NotebookNode, pages: set[str]) -> None:
    """Keep what a reader of the site needs, in place: pictures with their words, links that lead somewhere."""
    notebook.cells = [cell for cell in notebook.cells if "papermill-error-cell-tag" not in tags(cell)]
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _relinked(cell.source, pages, None, None)
            continue
        for output in pictures(cell) if cell.cell_type == "code" else []:
            _with_words(output)


def _with_words(output: NotebookNode) -> None:
    # jupyter-book takes alternative texts from the cell, one for all; HTML keeps one for each picture.
    kind = next(kind for kind in ("image/png", "image/jpeg") if kind in output.data)
    width = output.metadata.get(kind, {}).get("width", "")
    address = f"data:{kind};base64,{''.join(output.data[kind].split())}"
    output.data = NotebookNode(
        {"text/html": f'<img src="{address}" alt="{escape(alt_text(output))}" width="{width}" style="max-width:100%">'}
    )


def _relinked(text: str, pages: set[str], book: Path | None, folder: Path | None) -> str:
    """Lead links to pages of the site, copy pictures into the book, and leave the words of all other local links."""

    def replace(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        path, _, anchor = target.partition("#")
        if ":" in path or not path:
            return found.group(0)
        if picture:
            file = None if folder is None else folder / path
            if book is None or file is None or not file.is_file() or file.suffix not in _PICTURES:
                return words
            shutil.copyfile(file, book / file.name)
            return f"![{words}]({file.name})"
        name = Path(path).name
        if name in pages:
            return f"[{words}]({name}{'#' + anchor if anchor else ''})"
        return f"[{words}](index.md)" if name == "README.md" else words

    parts = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(replace, part) for part in parts)


def _jupyter_book(book: Path, built: Path) -> Path:
    """Run jupyter-book; returns the folder with the pages."""
    program = Path(sys.executable).with_name("jupyter-book")
    if not program.is_file():
        raise SiteError("jupyter-book is not installed beside this Python; run `make setup`")
    command = [str(program), "build", str(book), "--path-output", str(built), "--quiet"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIME_LIMIT, check=False)
    except subprocess.TimeoutExpired:
        raise SiteError(f"jupyter-book took longer than {_TIME_LIMIT} s; build fewer notebooks at once") from None
    html = built / "_build" / "html"
    if done.returncode or not (html / "index.html").is_file():
        raise SiteError(f"jupyter-book failed: {(done.stderr or done.stdout).strip()[-1500:]}")
    return html


def _offline(page: str) -> str:
    """Take out of a page what would start a kernel somewhere on the network."""
    if "thebe" not in page.lower():
        return page
    soup = BeautifulSoup(page, features="html.parser")
    for script in soup.select("script, link"):
        address = str(script.get("src", script.get("href", "")))
        if "thebe" in address + str(script.get("type", "")) or "THEBE_JS_URL" in script.get_text():
            script.decompose()
    return str(soup)


def _is_ours(folder: Path) -> bool:
    """Whether a folder without a marker holds a website of this course."""
    index = folder / "index.html"
    made = all(path.is_file() for path in (index, folder / "searchindex.js", folder / "_static" / "course.css"))
    return made and _TITLE in index.read_text(encoding="utf-8", errors="replace")


def _replace(new: Path, out: Path) -> None:
    """Put a finished folder in the place of an old one; the old one is there until the new one is complete."""
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".hsds-site-") as beside:
        fresh = Path(shutil.copytree(new, Path(beside) / "new"))
        shutil.copyfile(out / MARKER, fresh / MARKER)
        out.rename(Path(beside) / "old")
        fresh.rename(out)
