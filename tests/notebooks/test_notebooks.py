"""The notebooks learners open: in step with their sources, worth comparing by nbval, readable, and free of clutter."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from bs4 import BeautifulSoup

from hsds_lib.reports.notebook import alt_text, pictures
from hsds_lib.reports.page import markdown_html
from notebooks.tools.build import check
from notebooks.tools.source import CODE_TAGS, IGNORE_OUTPUT, SOLUTIONS

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
PATHS = sorted([*FOLDER.glob("*.ipynb"), *(FOLDER / SOLUTIONS).glob("*.ipynb")])
FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#{1,6})[ \t]+\S", re.MULTILINE)
MACHINE_PATH = re.compile(r"(?<![\w.])(/home/|/root/|/Users/|/tmp/|/work/|/opt/|/var/|[A-Z]:\\\\?Users)")
EMPTY_ALT = re.compile(r"!\[\s*\]\(")
MOST_BYTES = 1_500_000
FEWEST_VERDICTS = 5
MOST_LINES = 15
MOST_PARAMETERS = 8

every_notebook = pytest.mark.parametrize(
    "notebook", PATHS, ids=lambda path: path.relative_to(FOLDER).as_posix(), indirect=True
)


@pytest.fixture
def notebook(request: pytest.FixtureRequest) -> Any:
    """One built notebook, as stored."""
    return nbformat.read(request.param, as_version=nbformat.NO_CONVERT)


def _codes(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _prose(notebook: Any) -> str:
    words = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return FENCED.sub("", "\n\n".join(words))


def _text(cell: Any) -> str:
    return "".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)


def test_there_are_notebooks():
    assert {"00_start_here", "05_dual_search"} <= {path.stem for path in PATHS}


def test_notebooks_are_what_their_sources_say():
    assert check() == []


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_file_is_small(path):
    assert path.stat().st_size < MOST_BYTES


@every_notebook
def test_metadata_are_a_kernel_and_a_language_only(notebook):
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info.name == "python"
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags", "jupyter", "slideshow"}
        assert isinstance(cell.metadata.get("tags", []), list)
    assert all("tags" in cell.metadata for cell in _codes(notebook))


@every_notebook
def test_tags_are_those_of_the_builder(notebook):
    for cell in _codes(notebook):
        names = set(cell.metadata.tags)
        assert names <= {*CODE_TAGS, IGNORE_OUTPUT}
        assert (IGNORE_OUTPUT in names) != ("verdict" in names)
        # A comment could take a cell out of the comparison as well.
        assert not re.search(r"#\s*(NBVAL|PYTEST_VALIDATE)_", cell.source)


@every_notebook
def test_first_parameter_is_the_preset_and_each_is_explained(notebook):
    [cell] = [cell for cell in _codes(notebook) if "parameters" in cell.metadata.tags]
    lines = cell.source.splitlines()
    assert re.match(r'preset: str = "tiny"  # ', lines[0])
    assert len(lines) <= MOST_PARAMETERS
    found = papermill.inspect_notebook(notebook)
    assert len(found) == len(lines)
    for name, parameter in found.items():
        assert parameter["help"], f"{name} has no comment"
        assert parameter["inferred_type_name"] not in ("", "None"), f"{name} has no type"


@every_notebook
def test_enough_is_compared_by_nbval(notebook):
    verdicts = [cell for cell in _codes(notebook) if "verdict" in cell.metadata.tags]
    assert len(verdicts) >= FEWEST_VERDICTS
    for cell in verdicts:
        assert cell.execution_count is not None
        assert _text(cell).strip(), cell.source


@every_notebook
def test_every_code_cell_was_run_in_order_without_an_error(notebook):
    codes = _codes(notebook)
    assert [cell.execution_count for cell in codes] == list(range(1, len(codes) + 1))
    assert not any(output.output_type == "error" for cell in codes for output in cell.outputs)


@every_notebook
def test_code_cells_are_short_and_free_of_set_up(notebook):
    for cell in _codes(notebook):
        assert len(cell.source.splitlines()) <= MOST_LINES, cell.source
        for clutter in ("!pip", "%pip", "sys.path", "import *"):
            assert clutter not in cell.source


@every_notebook
def test_no_path_of_a_machine(notebook):
    for cell in notebook.cells:
        stored = _text(cell) if cell.cell_type == "code" else ""
        assert not MACHINE_PATH.search(cell.source + "\n" + stored), cell.source


@every_notebook
def test_one_title_first_and_headings_in_order(notebook):
    levels = [len(found.group(1)) for found in HEADING.finditer(_prose(notebook))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels


@every_notebook
def test_every_picture_has_words(notebook):
    assert not EMPTY_ALT.search(_prose(notebook))
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            page = BeautifulSoup(markdown_html(cell.source), "html.parser")
            assert all(picture.get("alt", "").strip() for picture in page.select("img")), cell.source
        else:
            assert all(alt_text(output).strip() for output in pictures(cell)), cell.source


@every_notebook
def test_one_picture_is_stored_for_readers_without_a_kernel(notebook):
    heroes = [cell for cell in _codes(notebook) if "hero" in cell.metadata.tags]
    assert len(heroes) == 1
    assert len(pictures(heroes[0])) == 1


@every_notebook
def test_every_formula_can_be_drawn_offline(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            page = BeautifulSoup(markdown_html(cell.source), "html.parser")
            assert [bad.get("title") for bad in page.select(".tex")] == []


@every_notebook
def test_links_to_notebooks_lead_somewhere(notebook, request):
    here = request.node.callspec.params["notebook"].parent
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            page = BeautifulSoup(markdown_html(cell.source), "html.parser")
            targets = [str(link["href"]).partition("#")[0] for link in page.select("a[href]")]
            local = [target for target in targets if target and ":" not in target]
            assert [target for target in local if not (here / target).exists()] == []


@pytest.mark.parametrize("source", sorted((FOLDER / "src").glob("*.py")), ids=lambda path: path.stem)
def test_no_notebook_asks_for_the_test_scenes_of_whatever_data_it_is_given(source: Path) -> None:
    # MEFB's are kept for one final evaluation: shown_split says which split may be shown.
    assert not re.search(r"_scenes\(\s*data,\s*[\"']test", source.read_text(encoding="utf-8"))
