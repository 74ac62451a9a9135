"""The exercises as nbgrader assignments: ``python -m notebooks.tools.assignments --out FOLDER [NAME ...]``.

``FOLDER/source/NAME/NAME.ipynb`` is nbgrader's instructor version: stub and solution become one answer cell with the
solution between nbgrader's marks, ``check(...)`` a locked test cell that fails with the hint of the course's checks.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from hsds_lib.arguments import require_words
from hsds_lib.course.checks import find, verdict
from hsds_lib.outputs import place_of, require_apart
from hsds_lib.reports.notebook import find_notebooks, tags
from hsds_lib.runtime import atomic_path
from notebooks.tools.source import IGNORE_OUTPUT, sources, versions

SCHEMA = 3
"""Version of nbgrader's cell metadata, which its releases since 0.6 read."""
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
POINTS = 1
"""What each exercise is worth."""
CONFIG = """\
# Settings for nbgrader, in the folder that it is run in.
c = get_config()  # noqa: F821 - nbgrader provides it
c.CourseDirectory.course_id = "hsds-mef"
c.Execute.timeout = {timeout}  # seconds that a cell may take; nbgrader's own limit is 30
"""
TIMEOUT = 300
"""Seconds that a cell may take when it is graded, on a machine slower than those the notebooks were timed on."""
_CHECK = re.compile(r'^check\("(\d+\.\d+)", (.+)\)$', re.MULTILINE)
_LOCAL_LINK = re.compile(r"\[([^\]]+)\]\((?!\w+:)[^)\s]+\)")
_TEST = """\
from notebooks.tools.assignments import require

require("{0}", {1})"""


class AssignmentError(ValueError):
    """A source from which no assignment can be made; the message names file and exercise."""


def require(number: str, answer: Any) -> None:
    """Raise AssertionError with the words of ``check`` for an answer that is not right; what the test cells call."""
    said = verdict(find(number), answer)
    if said != "correct":
        raise AssertionError(f"{number} {said}")


def assignment(source: Path, *, release: bool = False) -> NotebookNode:
    """Make an assignment of ``notebooks/src/NAME.py``, not executed; for ``release``, without the solutions.

    Raises AssignmentError when the source has no exercise, or one whose stub, solution and check do not stand in this
    order.
    """
    notebook = list(versions(source, source.parent.parent).values())[-1]  # with the solutions, when there are any
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" or "solution" not in tags(cell)]
    places = [place for place, cell in enumerate(cells) if cell.cell_type == "code" and _CHECK.search(cell.source)]
    if not places:
        raise AssignmentError(f"{source.name} has no exercise, so that there is nothing to grade")
    for place in places:
        _prepare(cells[max(place - 2, 0) : place + 1], release=release, where=source.name)
    notebook.cells = [_plain(cell) for cell in cells if "solution" not in tags(cell)]
    return notebook


def _prepare(cells: Sequence[NotebookNode], *, release: bool, where: str) -> None:
    """Make an answer cell and a test cell of stub, solution and check, in place."""
    test = cells[-1]
    numbers = [number for number, _ in _CHECK.findall(test.source)]
    if len(cells) != 3 or len(numbers) != 1 or "solution" not in tags(cells[1]) or "..." not in cells[0].source:
        raise AssignmentError(
            f"{where}: before the check of exercise {', '.join(numbers)} there must be its stub, with '...', "
            "and its solution"
        )
    identity, (stub, solution, _) = numbers[0].replace(".", "-"), cells
    stub.source = stub.source if release else answer_cell(stub.source, solution.source)
    _mark(stub, f"exercise-{identity}", solution=True)
    test.source = _CHECK.sub(lambda found: _TEST.format(*found.groups()), test.source)
    _mark(test, f"check-{identity}", grade=True)


def answer_cell(stub: str, solution: str) -> str:
    """Merge stub and solution: the solution's function with its body between nbgrader's marks.

    Anything else than one function with the stub's arguments is marked as a whole, below the stub.
    """
    asked, given = ast.parse(stub).body, ast.parse(solution).body
    same = (
        len(asked) == len(given) == 1
        and isinstance(asked[0], ast.FunctionDef)
        and isinstance(given[0], ast.FunctionDef)
        and (asked[0].name, ast.dump(asked[0].args)) == (given[0].name, ast.dump(given[0].args))
    )
    if not same:
        return "\n".join([stub, BEGIN, solution, END])
    function = given[0]
    assert isinstance(function, ast.FunctionDef)
    lines, first = solution.splitlines(), function.body[0].lineno - 1
    comment = re.search(r"\.\.\.\s*(#.*)", stub)
    body = [*([comment[1]] if comment else []), BEGIN, *textwrap.dedent("\n".join(lines[first:])).splitlines(), END]
    return "\n".join([*lines[:first], *textwrap.indent("\n".join(body), "    ").splitlines()])


def _mark(cell: NotebookNode, identity: str, *, grade: bool = False, solution: bool = False) -> None:
    facts = {"grade": grade, "grade_id": identity, "locked": grade, "schema_version": SCHEMA, "solution": solution}
    cell.metadata["nbgrader"] = {**facts, "task": False, **({"points": POINTS} if grade else {})}


def _plain(cell: NotebookNode) -> NotebookNode:
    """Without what only this course's builder reads, and without links that lead out of the assignment."""
    if cell.cell_type == "markdown":
        cell.source = _LOCAL_LINK.sub(r"\1", cell.source)
    kept = [name for name in tags(cell) if name not in (IGNORE_OUTPUT, "verdict", "hero")]
    cell.metadata.pop("tags", None)
    if kept:
        cell.metadata["tags"] = kept
    return cell


def write_assignments(out: Path, names: Iterable[str] | None = None, *, release: bool = False) -> list[Path]:
    """Write assignments into nbgrader's course folder, and its settings unless there are some; returns the notebooks.

    All notebooks with exercises when there are no names; with ``release`` also the students' versions, into
    ``release``, for a course without nbgrader. What is there already is written over only where it is such an
    assignment; else an AssignmentError says so before anything is written.
    """
    out, notebooks, made = place_of(out), find_notebooks(), {}
    require_apart(out, notebooks)
    for path in sources(notebooks, names):
        if names is not None or _CHECK.search(path.read_text(encoding="utf-8")):
            for folder in ("source", "release") if release else ("source",):
                made[out / folder / path.stem / f"{path.stem}.ipynb"] = assignment(path, release=folder == "release")
    for target in made:
        if target.exists() and not (target.is_file() and _TEST[:40].encode() in target.read_bytes()):
            raise AssignmentError(f"{target} is there and is no assignment of this course; name another folder")
    for target, notebook in made.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as temporary:
            temporary.write_bytes((nbformat.writes(notebook) + "\n").encode())
    config = out / "nbgrader_config.py"
    if not config.exists():
        with atomic_path(config) as temporary:
            temporary.write_text(CONFIG.format(timeout=TIMEOUT), encoding="utf-8")
    return list(made)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m notebooks.tools.assignments", description="Write assignments.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 03_wsras; default: all with exercises")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="nbgrader's course folder")
    parser.add_argument("--release", action="store_true", help="also the students' versions, without nbgrader")
    options = parser.parse_args(arguments)
    try:
        require_words(sys.argv[1:] if arguments is None else arguments)
        written = write_assignments(options.out, options.names or None, release=options.release)
    except (ValueError, OSError, RecursionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in written:
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
