"""The index of the paper: citations are read strictly, places are found, and every item has all of them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsds_lib.evaluation.metrics import PAPER_METRICS
from notebooks.tools import index
from notebooks.tools.index import METRICS, CitationError, citations, is_citation, items, known

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
MARK = "@pytest.mark.paper"
LINK = re.compile(r"\]\(([^)]+)\)")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small project: one module, one test file, two notebooks."""
    for folder in ("hsds_lib", "tests/losses", "notebooks/src"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "hsds_lib" / "search.py").write_text(
        '"""A search (Algorithm 1)."""\n\n'
        'SETTINGS = {"ours": 1}\n"""Conditions of Table 3."""\n\n\n'
        'class Search:\n    """Not of the paper."""\n\n'
        '    def _prune(self):\n        """Remove operations: Algorithm 1\n        lines 8-9 and 11."""\n\n\n'
        'def gamma():\n    """Contrast (Eq. 3).\n\n    Not to be confused with Eq. 2.\n    """\n',
        encoding="utf-8",
    )
    (tmp_path / "tests" / "losses" / "test_gamma.py").write_text(
        "import pytest\n\n"
        'pytestmark = [pytest.mark.slow, pytest.mark.paper("Table 1")]\n\n\n'
        '@pytest.mark.paper("Eq. 3", "Algorithm 1 lines 8-9")\ndef test_one():\n    pass\n\n\n'
        '@pytest.mark.paper("Table 2 SD")\nclass TestTwo:\n'
        '    @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.paper("Table 2 EN"))])\n'
        "    def test_two(self, x):\n        pass\n",
        encoding="utf-8",
    )
    parameters = '# %% tags=["parameters"]\na = 1\n\n'
    (tmp_path / "notebooks" / "src" / "00_start_here.py").write_text(
        "# %% [markdown]\n# # 0\n#\n# | 04 | Eq. 1 |\n\n" + parameters, encoding="utf-8"
    )
    (tmp_path / "notebooks" / "src" / "04_contrast.py").write_text(
        "# %% [markdown]\n# # 4 · Contrast\n#\n# Table 1 here.\n#\n# ## Far, and near\n#\n# $$ a \\tag{3} $$\n\n"
        + parameters
        + "# %%\nb = 2  # Algorithm 1 line 5\n\n"
        "# %% [markdown]\n# ### Does $\\theta$ matter?\n#\n# ```\n# # no heading\n# ```\n# Algorithm 1 line 9 asks.\n\n"
        '# %% [markdown] tags=["solution"]\n# Eq. 2.\n',
        encoding="utf-8",
    )
    return tmp_path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("the contrast (Eq. 3).", ["Eq. 3"]),
        ("Eq. 1 and 2, and more", ["Eq. 1", "Eq. 2"]),
        ("Eq. 3 and the sentence after it", ["Eq. 3"]),
        ("Algorithm 1 line 5 by one pass", ["Algorithm 1 line 5"]),
        ("Algorithm 1 lines 5 and 7: beta", ["Algorithm 1 line 5", "Algorithm 1 line 7"]),
        ("Algorithm 1 lines 2–3", ["Algorithm 1 line 2", "Algorithm 1 line 3"]),
        ("Algorithm 1\n    line 5", ["Algorithm 1 line 5"]),
        ("Algorithm 1, lines of code", ["Algorithm 1"]),
        ("Table 1 rows 1, 3 and 5-6", [f"Table 1 row {row}" for row in (1, 3, 5, 6)]),
        ("the terms of Table 1", ["Table 1"]),
        ("Table 1 lists them. Table 2 SD", ["Table 1", "Table 2 SD"]),
        ("Table 2 MEF-SSIM", ["Table 2 MEF-SSIM"]),
        ("Table 2 SD, VIF and TMQI saturate", ["Table 2 SD", "Table 2 VIF", "Table 2 TMQI"]),
        ("## From Table 2\n\nSD is large", ["Table 2"]),
        ("Table 2, EN", ["Table 2"]),
        ("Tables 2 and 3 as data", ["Table 2", "Table 3"]),
        ("Eq. 3; again Eq. 3", ["Eq. 3"]),
        ("equation (5) of their paper, tables and lines 3-4", []),
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
        "Algorithm 1 line 5 and 7", "Algorithm 1 lines 5", "Table 1 row 1-3", "Table 1 rows 3-1",
    ],
)  # fmt: skip
def test_another_notation_is_an_error_instead_of_being_overlooked(text: str) -> None:
    with pytest.raises(CitationError, match=r"is not read; write|: write 'line' or"):
        citations(f"This is {text} of the paper.")


@given(st.sets(st.integers(1, 15), min_size=2).map(sorted), st.sampled_from([", ", " and ", ", and "]))
def test_any_list_of_lines_names_these_lines(lines: list[int], between: str) -> None:
    text = "Algorithm 1 lines " + between.join(map(str, lines))
    assert citations(f"See {text}.") == [f"Algorithm 1 line {line}" for line in lines]
    assert is_citation(text)


@given(st.integers(1, 14).flatmap(lambda first: st.tuples(st.just(first), st.integers(first + 1, 15))))
def test_a_range_names_every_line_in_it(ends: tuple[int, int]) -> None:
    first, last = ends
    expected = [f"Algorithm 1 line {line}" for line in range(first, last + 1)]
    assert citations(f"Algorithm 1 lines {first}-{last}") == expected


@pytest.mark.parametrize("key", [item.key for item in known()])
def test_every_key_names_itself(key: str) -> None:
    assert is_citation(key) and citations(key) == [key]


def test_items_are_those_of_the_paper() -> None:
    keys = [item.key for item in known()]
    assert len(set(keys)) == len(keys)
    sizes = {group.split(":")[0]: len(members) for group, members in items().items()}
    # An algorithm or table as a whole is an item beside its 15 lines, 7 rows and 8 metrics.
    assert sizes == {"Equations": 3, "Algorithm 1": 16, "Table 1": 8, "Table 2": 9, "Table 3": 1}
    assert {item.served_by for item in known()} <= {"", *keys}
    assert set(METRICS) == set(PAPER_METRICS)


def test_functions_are_found_by_their_docstrings(checkout: Path) -> None:
    found, file = index.scan_functions(checkout / "hsds_lib"), "../hsds_lib/search.py"
    prune = [("`search.Search._prune`", file)]
    assert found == {
        "Table 3": [("`search.SETTINGS`", file)],
        "Eq. 3": [("`search.gamma`", file)],  # and not Eq. 2, told of in passing
        **{f"Algorithm 1 line {line}": prune for line in (8, 9, 11)},
    }


def test_tests_are_found_by_their_own_marks_and_those_around_them(checkout: Path) -> None:
    found = index.scan_tests(checkout / "tests")
    assert {key: [label for label, _ in places] for key, places in found.items()} == {
        "Table 1": ["`test_one`", "`TestTwo::test_two`"],
        "Eq. 3": ["`test_one`"],
        "Algorithm 1 line 8": ["`test_one`"],
        "Algorithm 1 line 9": ["`test_one`"],
        "Table 2 SD": ["`TestTwo::test_two`"],
        "Table 2 EN": ["`TestTwo::test_two`"],
    }
    assert {target for places in found.values() for _, target in places} == {"../tests/losses/test_gamma.py"}


def test_cells_are_found_with_the_heading_above_them(checkout: Path) -> None:
    assert index.scan_notebooks(checkout / "notebooks") == {
        "Table 1": [("04 · Contrast", "04_contrast.ipynb#4-%C2%B7-Contrast")],
        "Eq. 3": [("04 · Far, and near", "04_contrast.ipynb#Far,-and-near")],
        "Algorithm 1 line 5": [("04 · Far, and near", "04_contrast.ipynb#Far,-and-near")],
        "Algorithm 1 line 9": [("04 · Does $\\theta$ matter?", "04_contrast.ipynb")],
        "Eq. 2": [("04 · Does $\\theta$ matter?", "solutions/04_contrast.ipynb")],
    }


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("hsds_lib/more.py", '"""See Eq. 9."""', "hsds_lib/more.py: the paper has no 'Eq. 9'"),
        ("hsds_lib/more.py", 'def f():\n    """Table 1 row 8."""', "more.py, f: the paper has no 'Table 1 row 8'"),
        ("hsds_lib/more.py", 'def f():\n    """A.\n\n    B: Eq. 9."""', "more.py, f: the paper has no 'Eq. 9'"),
        ("tests/test_more.py", f'{MARK}("Eq. 9")\ndef test_a(): ...', "test_a: the paper has no 'Eq. 9'"),
        ("tests/test_more.py", f'{MARK}("see Eq. 3")\ndef test_a(): ...', "test_a: 'see Eq. 3' is not one item"),
        ("tests/test_more.py", f"{MARK}(NAME)\ndef test_a(): ...", "test_a: NAME is not one item"),
        ("tests/test_more.py", f'{MARK}("Eq. 3")\ndef helper(): ...', "line 1: no test carries this mark"),
        ("tests/test_more.py", f"{MARK}()\ndef test_a(): ...", "or it names nothing"),
        ("notebooks/src/04_contrast.py", "#\n# $$ a \\tag{4} $$", "04_contrast.py, cell 5: the paper has no 'Eq. 4'"),
        ("notebooks/src/00_start_here.py", "# %%\nb = 1  # Eq. 9", "00_start_here.py, cell 3: the paper has no"),
    ],
)
def test_a_slip_is_an_error_that_names_its_place(checkout: Path, file: str, text: str, said: str) -> None:
    with (checkout / file).open("a", encoding="utf-8") as stream:
        stream.write(text + "\n")
    with pytest.raises(CitationError, match=re.escape(said)):
        index.scan(checkout)


def test_gaps_name_what_is_missing_and_comments_need_only_their_line() -> None:
    full = {item.key: [("a", "b")] for item in known() if not item.served_by}
    assert index.gaps(full, full, full) == []
    less = {key: places for key, places in full.items() if key != "Algorithm 1 line 11"}
    assert index.gaps(full, less, {}) != []
    assert [line for line in index.gaps(full, less, full) if "line 1" in line] == [
        "Algorithm 1 line 10: no test", "Algorithm 1 line 11: no test",
    ]  # fmt: skip


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


def test_the_committed_index_is_what_is_generated() -> None:
    committed = (NOTEBOOKS / index.INDEX).read_text(encoding="utf-8")
    assert committed == index.render(*index.scan(ROOT)), "run `make notebooks`"


def test_every_item_has_a_function_a_test_and_a_notebook_cell() -> None:
    missing = index.gaps(*index.scan(ROOT))
    assert not missing, "the index of the paper has gaps:\n" + "\n".join(missing)


def test_links_of_the_index_lead_to_files_and_headings() -> None:
    targets = set(LINK.findall((NOTEBOOKS / index.INDEX).read_text(encoding="utf-8")))
    assert targets
    for target in sorted(targets):
        file, _, anchor = target.partition("#")
        assert (NOTEBOOKS / file).is_file(), target
        if anchor:
            cells = nbformat.read(NOTEBOOKS / file, as_version=4).cells
            words = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
            headings = {line.lstrip("# ").replace(" ", "-") for line in words.splitlines() if line.startswith("#")}
            assert unquote(anchor) in headings, target
