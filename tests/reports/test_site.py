"""The website: built from executed notebooks, searchable, and loading nothing from elsewhere."""

from __future__ import annotations

import base64
import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import hsds_lib
from hsds_lib.course.explorers.media import encode
from hsds_lib.course.widgets import Control, Explorer, View
from hsds_lib.outputs import MARKER, OutputError
from hsds_lib.reports.site import SiteError, _config, _library_pages, build_site
from tests.offline import loads_from_elsewhere


def _executed(folder: Path) -> Path:
    import torch

    picture = base64.b64encode(encode(torch.zeros(3, 6, 8), form="png")).decode("ascii")
    metadata = {"image/png": {"alt": "a black field", "width": 8}}
    explorer = Explorer("demo", "Demo", "Made up.", [Control("n", "n", ("one", "two"))], lambda n: View(f"<b>{n}</b>"))
    shown = [
        new_output("display_data", data={"image/png": picture}, metadata=metadata),
        new_output("display_data", data={"text/html": explorer.page(), "text/plain": "demo"}),
    ]
    words = r"# 1 · Zebras" + "\n\n" + r"See $\Gamma_H$ and" + "\n\n" + r"$$ \frac{a}{b} \tag{3} $$" + "\n\n"
    links = "[the other](02_second.ipynb#stripes) and [the licence](../LICENSE)"
    cells = [new_markdown_cell(words + links), new_code_cell("1 + 1", execution_count=1, outputs=shown)]
    folder.mkdir()
    nbformat.write(new_notebook(cells=cells), folder / "01_first.ipynb")
    second = [new_markdown_cell("# 2 · Okapi\n\n## Stripes\n\nAn okapi has a *hypergradient*.")]
    nbformat.write(new_notebook(cells=second), folder / "02_second.ipynb")
    return folder


def _checkout(folder: Path) -> Path:
    guides = folder / "notebooks" / "guides"
    guides.mkdir(parents=True)
    (guides / "glossary.md").write_text("# Glossary\n\n[first](../01_first.ipynb)\n", encoding="utf-8")
    (folder / "README.md").write_text(
        "# The course\n\n![a dot](dot.png) [first](notebooks/01_first.ipynb) [CONTRIBUTING.md](CONTRIBUTING.md)\n",
        encoding="utf-8",
    )
    (folder / "hsds_lib" / "images").mkdir(parents=True)
    (folder / "hsds_lib" / "images" / "io.py").touch()  # the page is of the module that is imported
    (folder / "hsds_lib" / "__init__.pyi").write_text(
        "# Pictures\nfrom .images.io import read_rgb as read_rgb\n", encoding="utf-8"
    )
    import torch

    (folder / "dot.png").write_bytes(encode(torch.ones(3, 4, 4), form="png"))
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A website of two notebooks and a guide, built once."""
    folder = tmp_path_factory.mktemp("site")
    build_site(folder / "site", executed=_executed(folder / "reports"), root=_checkout(folder / "checkout"))
    return folder / "site"


def _page(site: Path, name: str) -> BeautifulSoup:
    return BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.glob("*.html"))
    wanted = {"index", "01_first", "02_second", "glossary", "library", "library_images", "search"}
    assert wanted <= {page.stem for page in pages}
    for page in pages:
        found = [address for address in loads_from_elsewhere(page.read_text(encoding="utf-8")) if "//" in address]
        assert found == [], page.name
        assert "thebe" not in page.read_text(encoding="utf-8").lower()


def test_search_index_knows_the_words(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    found = json.loads(index.removeprefix("Search.setIndex(").removesuffix(")"))
    assert "hypergradi" in found["terms"]  # the index holds stems
    assert found["docnames"][found["terms"]["hypergradi"]] == "02_second"


def test_formulas_are_mathml_without_a_script(site: Path) -> None:
    page = _page(site, "01_first")
    assert len(page.select("math")) == 2
    assert not [script for script in page.select("script[src]") if "mathjax" in script["src"].lower()]


def test_pictures_keep_their_words_and_explorers_their_states(site: Path) -> None:
    page = _page(site, "01_first")
    assert [image["alt"] for image in page.select(".cell_output img")] == ["a black field"]
    content = json.loads(page.select_one(".hsds-explorer script[type='application/json']").get_text())
    assert len(content["states"]) == 2


def test_links_lead_to_pages_or_are_words(site: Path) -> None:
    first, index, glossary = (_page(site, name) for name in ("01_first", "index", "glossary"))
    article = first.select_one("article")
    assert article.find("a", string="the other")["href"].startswith("02_second.html")
    assert "the licence" in article.get_text() and article.find("a", string="the licence") is None
    assert index.select_one("article").find("a", string="first")["href"] == "01_first.html"
    assert index.select_one("article img")["alt"] == "a dot"
    assert index.select_one("article").find("a", string="CONTRIBUTING.md") is None
    assert glossary.select_one("article").find("a", string="first")["href"] == "01_first.html"


def test_the_library_is_described_by_its_docstrings(site: Path) -> None:
    link = _page(site, "library").select_one("article a.reference.internal code")
    assert link is not None and link.get_text() == "read_rgb"
    assert link.parent is not None and link.parent["href"] == "library_images.html#hsds_lib.images.io.read_rgb"
    described = _page(site, "library_images").find(id="hsds_lib.images.io.read_rgb")
    assert described is not None and described.parent is not None and "float32" in described.parent.get_text()


def test_every_public_name_and_every_module_is_on_a_page() -> None:
    pages = _library_pages(Path(hsds_lib.__file__).parent)
    listed = {line.rpartition(".")[2] for line in pages["library"].splitlines() if line.startswith("   ~")}
    assert listed == set(hsds_lib.__all__) - {"__version__"}
    modules = {line.removeprefix(".. automodule:: ") for text in pages.values() for line in text.splitlines()}
    assert {"hsds_lib.images.io", "hsds_lib.config", "hsds_lib.course.explorers.simplex"} <= modules


def test_nothing_executed_or_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="run `make report` first"):
        build_site(tmp_path / "site", executed=tmp_path)
    executed = _executed(tmp_path / "reports")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "searchindex.js").touch()  # every Sphinx site has one
    for out in (tmp_path / "photos", executed, tmp_path):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(OutputError):
            build_site(out, executed=executed, root=_checkout(tmp_path / "checkout"))
        assert sorted(path for path in tmp_path.rglob("*") if "checkout" not in path.parts) == before
        shutil.rmtree(tmp_path / "checkout")


def test_a_site_is_replaced_also_one_of_before_there_were_markers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(book: Path, built: Path) -> Path:
        (built / "_static").mkdir(parents=True)
        for name in ("searchindex.js", "_static/course.css"):
            (built / name).touch()
        (built / "index.html").write_text(f"<title>{_config()['title']}</title>")
        return built

    monkeypatch.setattr("hsds_lib.reports.site._jupyter_book", made)
    executed, root, out = _executed(tmp_path / "reports"), _checkout(tmp_path / "checkout"), tmp_path / "site"
    for _ in range(2):
        assert build_site(out, executed=executed, root=root).is_file()
        (out / "old.html").touch()
    (out / MARKER).unlink()
    build_site(out, executed=executed, root=root)
    assert not (out / "old.html").exists() and (out / MARKER).is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkout", "reports", "site"]
    (out / MARKER).unlink()
    (out / "index.html").write_text("<title>My thesis</title>")
    with pytest.raises(OutputError, match="did not write"):
        build_site(out, executed=executed, root=root)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """Where the website is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_site_is_searched_and_moved_without_asking_anybody(watched: Any, address: str) -> None:
    watched.page.goto(f"{address}/search.html?q=hypergradient")
    found = watched.page.locator("#search-results li a").first
    found.wait_for()
    assert "02_second.html" in (found.get_attribute("href") or "")
    watched.page.goto(f"{address}/01_first.html")
    watched.page.locator(".hsds-explorer input").focus()
    watched.page.keyboard.press("ArrowRight")
    assert watched.page.locator(".hsds-explorer .hsds-words").inner_text() == "1"
    assert watched.refused == watched.errors == []


def test_the_page_of_the_library_fits_a_telephone(watched: Any, address: str) -> None:
    watched.page.set_viewport_size({"width": 400, "height": 800})
    watched.page.goto(f"{address}/library_images.html")
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 400
    assert watched.refused == watched.errors == []
