"""From a hand-written source (jupytext py:percent) to the notebooks it stands for, before anything is executed."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from hsds_lib.reports.notebook import SLIDE_TAGS, tags
from notebooks.tools.cloud import FIRST_CELL

SOLUTIONS = "solutions"
"""Folder of the full versions, under ``notebooks``."""
IGNORE_OUTPUT = "nbval-ignore-output"
LOCAL_LINK = re.compile(r"\]\((?=[\w./-]+\.(?:ipynb|md)\b)(?!\.\./)")
CODE_TAGS = {
    "parameters": "the cell whose variables papermill may replace; exactly one",
    "verdict": "its text is stored and compared by nbval; prints only what is equal on every machine",
    "hero": "its one figure is stored, so that the page on GitHub shows a picture; at most one",
    "solution": "left out of the student's notebook, kept in notebooks/solutions",
    "hide-input": "its code is folded",
    "raises-exception": "it may raise, to show an error message",
}
CODE_TAGS |= SLIDE_TAGS
MARKDOWN_TAGS = {"solution", *SLIDE_TAGS}
_FOR_COLAB = nbformat.v4.new_code_cell(FIRST_CELL.rstrip(), metadata={"tags": ["hide-input", "skip"]})
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}


class SourceError(ValueError):
    """A notebook source that breaks the rules; the message names file and cell."""


def read_source(path: Path) -> NotebookNode:
    """Read ``notebooks/src/NAME.py``; SourceError on tags that are unknown or too many, and on an empty code cell."""
    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    counts: Counter[str] = Counter()
    for number, cell in enumerate(notebook.cells, start=1):
        where = f"{path.name}, cell {number}"
        known = set(CODE_TAGS) if cell.cell_type == "code" else MARKDOWN_TAGS
        if unknown := sorted(set(tags(cell)) - known):
            raise SourceError(
                f"{where}: unknown tag {', '.join(unknown)} on a {cell.cell_type} cell; "
                f"known: {', '.join(sorted(known))}"
            )
        if "title" in cell.metadata:
            raise SourceError(
                f"{where}: '{cell.metadata.title}' stands on the line of the marker, where it is no part of the cell; "
                "begin it on the next line"
            )
        slides = sorted(set(tags(cell)) & set(SLIDE_TAGS))
        if len(slides) > 1:
            raise SourceError(f"{where}: {' and '.join(slides)} on one cell; give one of them")
        if cell.cell_type == "code" and not cell.source.strip():
            raise SourceError(f"{where}: the code cell is empty; remove it")
        counts.update(tags(cell))
    if counts["parameters"] != 1:
        raise SourceError(f"{path.name}: {counts['parameters']} cells are tagged 'parameters'; exactly one must be")
    if counts["hero"] > 1:
        raise SourceError(f"{path.name}: {counts['hero']} cells are tagged 'hero'; keep the best figure")
    return notebook


def sources(notebooks: Path, names: Iterable[str] | None) -> list[Path]:
    """The sources of these names, such as ``05_dual_search``, or all; ValueError for an unknown one."""
    known = {path.stem: path for path in sorted((notebooks / "src").glob("*.py"))}
    wanted = known if names is None else [Path(name).stem for name in names]
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"no notebook source is called {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in wanted]


def versions(path: Path, notebooks: Path) -> dict[Path, NotebookNode]:
    """The notebooks one source stands for, not executed, by the file each is built into.

    The student's lacks the cells tagged ``solution``; where there are some, a full version goes into ``solutions``.
    """
    source = read_source(path)
    first_code = next(number for number, cell in enumerate(source.cells) if cell.cell_type == "code")
    source.cells.insert(first_code, _FOR_COLAB)
    student = [cell for cell in source.cells if "solution" not in tags(cell)]
    found = {notebooks / f"{path.stem}.ipynb": _notebook(student)}
    if len(student) < len(source.cells):
        found[notebooks / SOLUTIONS / f"{path.stem}.ipynb"] = _notebook([_one_folder_deeper(c) for c in source.cells])
    return found


def _one_folder_deeper(cell: NotebookNode) -> NotebookNode:
    """The cell as it reads from the solutions' folder: links to files beside the notebook lead up first."""
    if cell.cell_type != "markdown":
        return cell
    moved = NotebookNode(cell)
    moved.source = LOCAL_LINK.sub("](../", cell.source)
    return moved


def _notebook(cells: list[NotebookNode]) -> NotebookNode:
    seen: Counter[str] = Counter()
    made = []
    for cell in cells:
        key = f"{cell.cell_type}\0{cell.source}"
        made.append(_cell(cell, identity=f"{key}\0{seen[key]}"))
        seen[key] += 1
    return nbformat.v4.new_notebook(cells=made, metadata=NotebookNode(_METADATA))


def _cell(cell: NotebookNode, *, identity: str) -> NotebookNode:
    # An id made from the content keeps differences between two builds as small as those between the sources.
    options = {"id": hashlib.sha256(identity.encode()).hexdigest()[:12], "source": cell.source, "metadata": {}}
    names = tags(cell)
    for kind in SLIDE_TAGS.keys() & set(names):
        # What nbconvert and RISE read.
        options["metadata"]["slideshow"] = {"slide_type": kind}
    if cell.cell_type != "code":
        if names:
            options["metadata"]["tags"] = names
        make = nbformat.v4.new_markdown_cell if cell.cell_type == "markdown" else nbformat.v4.new_raw_cell
        return make(**options)
    if "verdict" not in names:
        names = [*names, IGNORE_OUTPUT]
    options["metadata"]["tags"] = names
    if "hide-input" in names:
        options["metadata"]["jupyter"] = {"source_hidden": True}
    return nbformat.v4.new_code_cell(**options)
