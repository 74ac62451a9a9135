"""Every notebook runs once: by papermill, as for a report; nbval compares what it shows with what is stored.

A student's notebook and the one with solutions are the same cells but for the answers, so one run is enough for both:
the notebook with solutions, in which each check runs on the student's stub first, then on the answer.
"""

from __future__ import annotations

import ast
import copy
import symtable
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from nbval.plugin import IPyNbFile, coalesce_streams

from hsds_lib.reports.execute import run_reports
from hsds_lib.reports.notebook import tags
from notebooks.tools.source import SOLUTIONS

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
STUDENTS = sorted(FOLDER.glob("*.ipynb"))
UNANSWERED = "unanswered-"
"""Begins the identity of a check that runs before the answer."""

every_notebook = pytest.mark.parametrize("student", STUDENTS, ids=lambda path: path.stem)


def _answers(notebook: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Stub, solution and check of every exercise: code cells that stand in this order."""
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for place, cell in enumerate(codes):
        if "solution" in tags(cell):
            yield codes[place - 1], cell, codes[place + 1]


def _for_both(notebook: Any) -> Any:
    """The notebook with solutions, with each check once more above the answer to its exercise."""
    checks = {solution.id: check for _, solution, check in _answers(notebook)}
    cells = []
    for cell in notebook.cells:
        if cell.id in checks:
            cells.append(copy.deepcopy(checks[cell.id]))
            cells[-1].id = UNANSWERED + cells[-1].id
        cells.append(cell)
    return new_notebook(cells=cells, metadata=notebook.metadata)


def _differences(path: Path, shown: Mapping[str, Any], session: pytest.Session) -> list[str]:
    """What nbval has to say of a stored notebook when its cells show this, by identity."""
    said = []
    for item in IPyNbFile.from_parent(session, path=path).collect():
        name = item.cell.id if path.parent.name == SOLUTIONS else UNANSWERED + item.cell.id
        outputs = coalesce_streams(shown.get(name, shown[item.cell.id]))
        if item.options["check"] and not item.compare_outputs(outputs, coalesce_streams(item.cell.outputs)):
            said.append("\n".join([f"{path}, {item.name}:", item.cell.source, *item.comparison_traceback]))
    return said


@pytest.mark.slow
@pytest.mark.timeout(1800)
@every_notebook
def test_papermill_runs_it_and_nbval_finds_what_is_stored(
    student: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    stored = [path for path in (student, FOLDER / SOLUTIONS / student.name) if path.is_file()]
    nbformat.write(_for_both(nbformat.read(stored[-1], as_version=4)), tmp_path / student.name)
    [result] = run_reports(notebooks=tmp_path, out=tmp_path / "reports")
    assert result.ok, result.error
    executed = nbformat.read(tmp_path / "reports" / student.name, as_version=4)
    shown = {cell.id: cell.outputs for cell in executed.cells if cell.cell_type == "code"}
    differences = [said for path in stored for said in _differences(path, shown, request.session)]
    assert not differences, "\n\n".join(differences)


def _bound(cell: Any) -> set[str]:
    names = symtable.symtable(cell.source, "cell", "exec").get_symbols()
    return {name.get_name() for name in names if name.is_assigned() or name.is_imported()}


def _names(cell: Any) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("path", sorted((FOLDER / SOLUTIONS).glob("*.ipynb")), ids=lambda path: path.stem)
def test_only_its_check_sees_whether_an_exercise_is_answered(path: Path) -> None:
    """Else the run for both would not be the run of each."""
    notebook = nbformat.read(path, as_version=4)
    found = list(_answers(notebook))
    assert found
    for stub, solution, check in found:
        assert "..." in stub.source and "check(" in check.source
        assert _bound(solution) <= _bound(stub), "the solution makes more than the stub"
        others = [cell for cell in notebook.cells if cell.cell_type == "code" and cell not in (stub, solution, check)]
        assert not [cell.source for cell in others if _bound(solution) & _names(cell)]


def _toy(folder: Path, *printed: str) -> Path:
    """A notebook whose cells have stored these texts."""
    folder.mkdir(exist_ok=True)
    cells = [
        new_code_cell(
            "p()", id=f"c{place}", execution_count=place, outputs=[new_output("stream", name="stdout", text=text)]
        )
        for place, text in enumerate(printed, start=1)
    ]
    nbformat.write(new_notebook(cells=cells), folder / "toy.ipynb")
    return folder / "toy.ipynb"


def test_another_output_than_the_stored_one_is_a_difference(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    student, solution = _toy(tmp_path, "sum: 2", "not attempted"), _toy(tmp_path / SOLUTIONS, "sum: 2", "correct")

    def said(path: Path, **texts: str) -> list[str]:
        shown = {name: [new_output("stream", name="stdout", text=text)] for name, text in texts.items()}
        shown = {name.replace("unanswered_", UNANSWERED): outputs for name, outputs in shown.items()}
        return _differences(path, shown, request.session)

    good = {"c1": "sum: 2", "c2": "correct", "unanswered_c2": "not attempted"}
    assert said(student, **good) == said(solution, **good) == []
    for path in (student, solution):
        [one] = said(path, **good | {"c1": "sum: 3"})
        assert "Cell 0" in one and "sum: 3" in one
    assert said(student, **good | {"unanswered_c2": "correct"}) and said(solution, **good | {"c2": "not yet"})
    assert _differences(student, {"c1": [], "c2": []}, request.session)
