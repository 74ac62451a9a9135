"""The index of the paper: citations are read strictly, places are found, and every item has all of them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest

from hsds_lib.evaluation.metrics import PAPER_METRICS
from notebooks.tools import index
from notebooks.tools.index import GROUPS, ITEMS, METRICS, SERVED_BY, CitationError, citations

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
MARK = "@pytest.mark.paper"
PARAMETERS = '# %% tags=["parameters"]\na = 1\n\n'
FILES = {
    "hsds_lib/search.py": '''"""A search (Algorithm 1)."""

SETTINGS = {"ours": 1}
"""Conditions of Table 3."""


class Search:
    """Not of the paper."""

    def _prune(self):
        """Remove operations: Algorithm 1
        lines 8-9 and 11."""


def gamma():
    """Contrast (Eq. 3).

    Not to be confused with Eq. 2.
    """
''',
    "tests/losses/test_gamma.py": """import pytest

pytestmark = [pytest.mark.slow, pytest.mark.paper("Table 1")]


@pytest.mark.paper("Eq. 3", "Algorithm 1 lines 8-9")
def test_one():
    pass


@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.paper("Table 2 EN"))])
def test_two(x):
    pass
""",
    "notebooks/src/00_start_here.py": "# %% [markdown]\n# # 0\n#\n# | 04 | Eq. 1 |\n\n" + PARAMETERS,
    "notebooks/src/04_contrast.py": f"""# %% [markdown]
# # 4 · Contrast
#
# Table 1 here.
#
# ## Far, and near
#
# $$ a \\tag{{3}} $$

{PARAMETERS}# %%
b = 2  # Algorithm 1 line 5

# %% [markdown]
# ### Does $\\theta$ matter?
#
# ```
# # no heading
# ```
# Algorithm 1 line 9 asks.

# %% [markdown] tags=["solution"]
# Eq. 2.
""",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small project: one module, one test file, two notebooks."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("the contrast (Eq. 3).", ["Eq. 3"]),
        ("Eq. 1 and 2, and more", ["Eq. 1", "Eq. 2"]),
        ("Eq. 3 and the sentence after it", ["Eq. 3"]),
        ("Algorithm 1 line 5 by one pass", ["Algorithm 1 line 5"]),
        ("Algorithm 1 lines 5 and 7: beta", ["Algorithm 1 line 5", "Algorithm 1 line 7"]),
        ("Algorithm 1\n    lines 2–3", ["Algorithm 1 line 2", "Algorithm 1 line 3"]),
        ("Algorithm 1 lines 8-9 and 11", ["Algorithm 1 line 8", "Algorithm 1 line 9", "Algorithm 1 line 11"]),
        ("Algorithm 1, lines of code", ["Algorithm 1"]),
        ("Table 1 rows 1, 3 and 5-6", [f"Table 1 row {row}" for row in (1, 3, 5, 6)]),
        ("Table 1 lists them. Table 2 SD", ["Table 1", "Table 2 SD"]),
        ("Table 2 SD, VIF and TMQI saturate; MEF-SSIM", ["Table 2 SD", "Table 2 VIF", "Table 2 TMQI"]),
        ("## From Table 2\n\nSD is large", ["Table 2"]),
        ("Table 2, EN", ["Table 2"]),
        ("Tables 2 and 3 as data", ["Table 2", "Table 3"]),
        ("Eq. 3; again Eq. 3", ["Eq. 3"]),
        ("equation (5) of their paper, tables and lines 3-4", []),
        *((item, [item]) for item in ITEMS),
    ],
)
def test_citations_of_a_text(text: str, found: list[str]) -> None:
    assert citations(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "Eq. 9", "Eq. 0", "Eq. 2-9", "Algorithm 2", "Algorithm 1 line 16", "Algorithm 1 lines 14-16",
        "Table 4", "Table 1 row 8", "Table 1 rows 1 and 9", "Table 1 line 2", "Algorithm 1 row 2", "Table 2 PSNR",
        "Table 2 Sd", "Table 1 Row 2", "Table 3 DARTS",
    ],
)  # fmt: skip
def test_an_item_the_paper_does_not_have_is_an_error(text: str) -> None:
    with pytest.raises(CitationError, match="the paper has no '"):
        citations(f"This is {text} of the paper.")


@pytest.mark.parametrize(
    "text",
    [
        "Eq 3", "Eq.3", "Eq. (3)", "Eqs. 1 and 2", "Alg. 1 l. 8", "Tab. 1", "Algorithm 1, line 5",
        "Algorithm 1 (lines 8-13)", "Line 8 of Algorithm 1", "Table 1, row 2",
    ],
)  # fmt: skip
def test_another_notation_is_an_error_instead_of_being_overlooked(text: str) -> None:
    with pytest.raises(CitationError, match=r"is not read; write"):
        citations(f"This is {text} of the paper.")


def test_items_are_those_of_the_paper() -> None:
    sizes = {group.split(":")[0]: len(members) for group, members in GROUPS.items()}
    # An algorithm or table as a whole is an item beside its 15 lines, 7 rows and 8 metrics.
    assert sizes == {"Equations": 3, "Algorithm 1": 16, "Table 1": 8, "Table 2": 9, "Table 3": 1}
    assert {*SERVED_BY, *SERVED_BY.values()} <= set(ITEMS)
    assert set(METRICS) == set(PAPER_METRICS)


def test_functions_tests_and_cells_are_found(checkout: Path) -> None:
    file = "../hsds_lib/search.py"
    found = index.scan(checkout)
    assert found["function"] == {
        "Table 3": [("`search.SETTINGS`", file)],
        "Eq. 3": [("`search.gamma`", file)],  # and not Eq. 2, told of in passing
        **{f"Algorithm 1 line {line}": [("`search.Search._prune`", file)] for line in (8, 9, 11)},
    }
    one, two = (("`test_one`", "../tests/losses/test_gamma.py"), ("`test_two`", "../tests/losses/test_gamma.py"))
    assert found["test"] == {
        "Table 1": [one, two],
        "Eq. 3": [one],
        "Algorithm 1 line 8": [one],
        "Algorithm 1 line 9": [one],
        "Table 2 EN": [two],
    }
    assert found["notebook cell"] == {
        "Table 1": [("04 · Contrast", "04_contrast.ipynb#4-%C2%B7-Contrast")],
        "Eq. 3": [("04 · Far, and near", "04_contrast.ipynb#Far,-and-near")],
        "Algorithm 1 line 5": [("04 · Far, and near", "04_contrast.ipynb#Far,-and-near")],
        "Algorithm 1 line 9": [("04 · Does $\\theta$ matter?", "04_contrast.ipynb")],
        "Eq. 2": [("04 · Does $\\theta$ matter?", "solutions/04_contrast.ipynb")],
    }


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("hsds_lib/more.py", '"""See Eq. 9."""', "hsds_lib/more.py, the module: the paper has no 'Eq. 9'"),
        ("hsds_lib/more.py", 'def f():\n    """Table 1 row 8."""', "`more.f`: the paper has no 'Table 1 row 8'"),
        ("hsds_lib/more.py", 'def f():\n    """A.\n\n    B: Eq. 9."""', "more.py, `more.f`: the paper has no 'Eq. 9'"),
        ("tests/test_more.py", f'{MARK}("Eq. 9")\ndef test_a(): ...', "`test_a`: the paper has no 'Eq. 9'"),
        ("tests/test_more.py", f"{MARK}(NAME)\ndef test_a(): ...", "`test_a`: the mark names nothing"),
        ("tests/test_more.py", f'{MARK}("Eq. 3")\ndef helper(): ...', "line 1: no test carries this mark"),
        ("notebooks/src/04_contrast.py", "#\n# $$ a \\tag{4} $$", "04_contrast.ipynb, 04 · Does $\\theta$ matter?"),
        ("notebooks/src/00_start_here.py", "# %%\nb = 1  # Eq. 9", "00_start_here.ipynb#0, 00 · 0: the paper has no"),
    ],
)
def test_a_slip_is_an_error_that_names_its_place(checkout: Path, file: str, text: str, said: str) -> None:
    with (checkout / file).open("a", encoding="utf-8") as stream:
        stream.write(text + "\n")
    with pytest.raises(CitationError, match=re.escape(said)):
        index.scan(checkout)


def gaps(found: dict[str, index.Places]) -> list[str]:
    """Every item that lacks a function, a test or a notebook cell; a comment needs only the line it stands for."""
    return [
        f"{item}: no {kind}"
        for item in ITEMS
        for kind, where in found.items()
        if not {item, SERVED_BY.get(item)} & where.keys()
    ]


def test_every_item_has_a_function_a_test_and_a_notebook_cell_and_the_committed_index_says_so() -> None:
    found = index.scan(ROOT)
    assert gaps(found) == [], "the index of the paper has gaps"
    own = {item: [] for item in ITEMS if item not in SERVED_BY}
    assert gaps({"test": own}) == []
    assert gaps({"test": {item: [] for item in own if item != "Eq. 3"}}) == ["Eq. 3: no test"]
    assert (NOTEBOOKS / index.INDEX).read_text("utf-8") == index.render(found), "run `make notebooks`"


def test_the_command_writes_the_file_and_notices_when_it_is_old(checkout: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(index, "find_notebooks", lambda: checkout / "notebooks")
    assert index.main(["--check"]) == 1
    assert index.main([]) == 0
    assert index.main(["--check"]) == 0
    text = (checkout / "notebooks" / index.INDEX).read_text(encoding="utf-8")
    assert "| Algorithm 1 line 10 | a comment: what the next line is for | as line 11 |" in text
    (checkout / "hsds_lib" / "more.py").write_text('def more():\n    """Eq. 1."""\n', encoding="utf-8")
    assert index.main(["--check"]) == 1
    assert "make notebooks" in capsys.readouterr().err


def test_links_of_the_index_lead_to_files_and_headings() -> None:
    targets = set(re.findall(r"\]\(([^)]+)\)", (NOTEBOOKS / index.INDEX).read_text(encoding="utf-8")))
    assert targets
    for target in sorted(targets):
        file, _, anchor = target.partition("#")
        assert (NOTEBOOKS / file).is_file(), target
        if anchor:
            cells = nbformat.read(NOTEBOOKS / file, as_version=4).cells
            words = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
            headings = {line.lstrip("# ").replace(" ", "-") for line in words.splitlines() if line.startswith("#")}
            assert unquote(anchor) in headings, target
