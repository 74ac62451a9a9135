"""Assignments: valid for nbgrader, graded by the course's own checks, and without a solution in the release."""

from __future__ import annotations

import ast
import copy
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch

from hsds_lib.course.checks import all_exercises, find
from hsds_lib.losses.contrast import EPS
from hsds_lib.reports.notebook import find_notebooks
from notebooks.tools import assignments

SOURCES = Path(__file__).resolve().parents[2] / "notebooks" / "src"
WITH_EXERCISES = sorted({f"{int(number.partition('.')[0]):02d}" for number in all_exercises()})
# nbgrader's schema of a cell, version 3: which keys there may be, and of which type.
TYPES = {
    "schema_version": int, "grade": bool, "locked": bool, "solution": bool, "task": bool,
    "grade_id": str, "points": (int, float),
}  # fmt: skip
REGION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION\n?", re.MULTILINE | re.DOTALL)

every_assignment = pytest.mark.parametrize("number", WITH_EXERCISES)


@cache
def _made(number: str, release: bool = False) -> Any:
    """The assignment of a notebook; for tests that leave it as it is."""
    (path,) = SOURCES.glob(f"{number}_*.py")
    return assignments.assignment(path, release=release)


def _graded(notebook: Any) -> dict[str, Any]:
    """The cells that nbgrader knows, by their identity."""
    return {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}


def _numbers(number: str) -> set[str]:
    return {known.replace(".", "-") for known in all_exercises() if int(known.partition(".")[0]) == int(number)}


@every_assignment
@pytest.mark.parametrize("release", [False, True], ids=["source", "release"])
def test_metadata_follow_the_schema(number: str, release: bool) -> None:
    notebook = _made(number, release)
    nbformat.validate(notebook)
    seen: list[str] = []
    for cell in notebook.cells:
        facts = cell.metadata.get("nbgrader")
        if facts is None:
            continue
        assert set(facts) <= set(TYPES)
        assert {"schema_version", "grade", "locked", "solution", "grade_id"} <= set(facts)
        assert all(isinstance(value, TYPES[key]) for key, value in facts.items())
        assert facts.schema_version == 3
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", facts.grade_id)
        assert ("points" in facts) == facts.grade
        assert facts.grade != facts.solution, "graded by hand would be both"
        assert facts.locked == facts.grade
        assert not facts.grade or facts.points > 0
        assert cell.cell_type == "code"
        seen.append(facts.grade_id)
    assert len(set(seen)) == len(seen)
    assert set(seen) == {f"{kind}-{known}" for known in _numbers(number) for kind in ("exercise", "check")}


@every_assignment
def test_solutions_stand_between_marks_and_nowhere_in_the_release(number: str) -> None:
    source, release = (_made(number, flag) for flag in (False, True))
    for identity, cell in _graded(source).items():
        ast.parse(cell.source)
        marks = re.findall(r"### (BEGIN|END) SOLUTION", cell.source)
        assert marks == (["BEGIN", "END"] if identity.startswith("exercise") else [])
        if identity.startswith("exercise"):
            stub = _graded(release)[identity].source
            assert "..." in stub
            assert "SOLUTION" not in stub
            # What is left of the source without its marked part is the beginning of the stub.
            assert stub.strip().startswith(REGION.sub("", cell.source).strip().splitlines()[0])
    words = "\n".join(cell.source for cell in release.cells)
    for region in REGION.finditer("\n".join(cell.source for cell in source.cells)):
        longest = max(region[0].splitlines()[1:-1], key=len).strip()
        assert longest not in words
    assert len(source.cells) == len(release.cells)


@every_assignment
def test_nothing_of_the_builder_is_left_and_no_link_leads_out(number: str) -> None:
    notebook = _made(number)
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags", "nbgrader", "jupyter", "slideshow"}
        assert not {"solution", "verdict", "hero", "nbval-ignore-output"} & set(cell.metadata.get("tags", []))
        assert not re.search(r"\]\((?!\w+:)[^)]*\.(ipynb|md)", cell.source)
        assert 'check("' not in cell.source
        assert not cell.get("outputs")


def _run(cells: dict[str, Any], number: str, *, answer: str | None = None) -> None:
    """Run the answer and the test cell of an exercise of notebook 4, as its notebook would."""
    identity = number.replace(".", "-")
    namespace: dict[str, Any] = {"torch": torch, "EPS": EPS}
    with suppress(NotImplementedError):  # nbgrader goes on with the next cell
        exec(cells[f"exercise-{identity}"].source if answer is None else answer, namespace)
    exec(cells[f"check-{identity}"].source, namespace)


NUMBERS = ["4.1", "4.2", "4.3", "4.4"]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_solution_passes_its_test_cell(number: str) -> None:
    _run(_graded(_made("04")), number)


@pytest.mark.parametrize("number", NUMBERS)
def test_an_untouched_answer_fails_with_the_first_hint(number: str) -> None:
    release, by_nbgrader = _graded(_made("04", True)), _graded(copy.deepcopy(_made("04")))
    cleared = by_nbgrader[f"exercise-{number.replace('.', '-')}"]
    cleared.source = REGION.sub(r"\1# YOUR CODE HERE\n\1raise NotImplementedError()\n", cleared.source)
    for cells in (release, by_nbgrader):
        with pytest.raises(AssertionError, match="not attempted yet. Hint: " + re.escape(find(number).hint[:30])):
            _run(cells, number)


def test_a_typical_mistake_fails_with_its_own_hint() -> None:
    cells = _graded(_made("04"))
    upside_down = (
        "def one_layer(F, P, u, o):\n"
        "    d = lambda a, b: (a - b).square().mean(dim=(1, 2, 3))\n"
        "    return ((d(F, u) + d(F, o)) / (d(F, P) + EPS)).mean()\n"
    )
    with pytest.raises(AssertionError, match=r"4\.1 not yet\. Upside down: small must be good"):
        _run(cells, "4.1", answer=upside_down)
    with pytest.raises(AssertionError, match=r"4\.4 not yet\. There are more"):
        _run(cells, "4.4", answer='unchanged = {"a", "d"}')


def test_the_body_of_a_function_is_marked_and_other_answers_as_a_whole() -> None:
    made = assignments.answer_cell("x = ...", "helper = 1\nx = helper + 1")
    assert made == "x = ...\n### BEGIN SOLUTION\nhelper = 1\nx = helper + 1\n### END SOLUTION"
    one = assignments.answer_cell("def double(x):\n    return ...  # a number", "def double(x):\n    return 2 * x")
    assert one.splitlines()[1:] == [
        "    # a number",
        "    ### BEGIN SOLUTION",
        "    return 2 * x",
        "    ### END SOLUTION",
    ]
    other = assignments.answer_cell("def f(x):\n    return ...", "def f(x, y):\n    return x")
    assert other.startswith("def f(x):\n    return ...\n### BEGIN SOLUTION\ndef f(x, y):")


HEAD = '# %% tags=["parameters"]\na = 1\n\n'
BROKEN = {
    "no exercise": (HEAD, "has no exercise"),
    "no solution": (
        HEAD + "# %%\nx = ...\n\n# %%\nfrom hsds_lib.course.checks import check\n\n# %%\ncheck(\"4.4\", x)\n",
        r"exercise 4\.4 there must be its stub",
    ),
    "no stub": (
        HEAD + '# %%\nx = 1\n\n# %% tags=["solution"]\nx = 2\n\n# %%\ncheck("4.4", x)\n',
        r"exercise 4\.4 there must be its stub",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_source_that_cannot_be_graded_is_refused(case: str, tmp_path: Path) -> None:
    text, message = BROKEN[case]
    (tmp_path / "src").mkdir()
    path = tmp_path / "src" / "04_toy.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(assignments.AssignmentError, match=message):
        assignments.assignment(path)


def test_command_writes_the_layout_and_keeps_the_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--out", str(tmp_path), "--release", "04_hybrid_contrast"]
    assert assignments.main(arguments) == 0
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    notebook = "04_hybrid_contrast/04_hybrid_contrast.ipynb"
    assert files == {f"source/{notebook}", f"release/{notebook}", "nbgrader_config.py"}
    ast.parse((tmp_path / "nbgrader_config.py").read_text(encoding="utf-8"))
    before = (tmp_path / "source" / notebook).read_bytes()
    (tmp_path / "nbgrader_config.py").write_text("c = 1\n", encoding="utf-8")
    assert assignments.main(arguments) == 0
    assert (tmp_path / "source" / notebook).read_bytes() == before
    assert (tmp_path / "nbgrader_config.py").read_text(encoding="utf-8") == "c = 1\n"
    assert assignments.main(["--out", str(tmp_path), "44_nothing"]) == 1
    assert "no notebook source is called 44_nothing; there are 00_start_here" in capsys.readouterr().err


def test_assignments_replace_assignments_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "source" / "04_hybrid_contrast" / "04_hybrid_contrast.ipynb"
    mine.parent.mkdir(parents=True)
    mine.write_text('{"cells": []}', encoding="utf-8")
    for out in (str(tmp_path), str(find_notebooks()), str(find_notebooks().parent), "", str(tmp_path) + 1500 * "/a"):
        assert assignments.main(["--out", out, "--release", "04_hybrid_contrast"]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]
    assert mine.read_text(encoding="utf-8") == '{"cells": []}'
