"""The index of the paper: ``python -m notebooks.tools.index [--check]`` writes ``notebooks/paper_index.md``.

For every equation, line of the algorithm and table of the paper it says which functions realise it, which tests
prove it and which notebook cells show it. Only the list of items is written by hand; where they are is read from
docstrings, from the test marker ``paper`` and from the sources of the notebooks. ``--check`` compares the file with
what would be written.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from hsds_lib.reports.notebook import find_notebooks, tags
from hsds_lib.runtime import atomic_path
from notebooks.tools.source import SOLUTIONS, read_source

METRICS = {
    "SD": "standard deviation of the gray levels",
    "VIF": "visual information fidelity, summed over the two exposures",
    "CC": "correlation with the reference",
    "TMQI": "quality of a tone-mapped picture: structure and naturalness",
    "MS-SSIM": "structural similarity over several scales",
    "MEF-SSIM": "structural similarity for exposure fusion",
    "EN": "entropy of the gray levels",
    "Qabf": "how much of the edges of both exposures is kept",
}


@dataclass(frozen=True)
class Item:
    """Something of the paper that the index points to.

    Attributes:
        key: how docstrings, marks and cells name it.
        says: what it says, in our own words.
        served_by: key of the item that does its work, for comments and ends of blocks.
    """

    key: str
    says: str
    served_by: str = ""


class CitationError(ValueError):
    """Items of the paper that do not exist or are not written as the index reads them; one line for each place."""


_NUMBERS = r"\d+(?:[-–]\d+)?(?:(?:, and |, | and )\d+(?:[-–]\d+)?)*"
_CITATION = re.compile(
    rf"\bEq\. (?P<equations>{_NUMBERS})|\bTables (?P<tables>{_NUMBERS})"
    rf"|\b(?P<place>(?:Algorithm|Table) \d+)"
    rf"(?: (?P<unit>lines?|rows?) (?P<numbers>{_NUMBERS})"
    rf"| (?P<names>[A-Z][\w-]*(?:(?:, and |, | and )(?:{'|'.join(METRICS)})\b)*))?"
)
_OTHERWISE = re.compile(
    r"\bEq(?!\. \d)\W{0,3}\d|\bEqs\.?\W?\d|\b(?:Alg|Tab)\b\.? ?\d"
    r"|\b(?:Algorithm|Table) \d+(?:,| \() ?(?:lines?|rows?|l\.|r\.) ?\d|\b[Ll]ines? [\d–-]+ of Algorithm"
)


def items() -> dict[str, list[Item]]:
    """List the items of the paper by group, in the paper's order.

    Returns:
        Title of a group to its items.

    Example:
        >>> from notebooks.tools.index import items
        >>> [item.key for item in items()["Equations"]]
        ['Eq. 1', 'Eq. 2', 'Eq. 3']
    """
    equations = (
        "two levels: structure α and loss weights β are judged by the network that is trained with them",
        "the upper level: β is judged by Γ_H, α by the validation loss with the new β",
        "the contrast: per VGG-16 layer, distance to a good picture over the summed distances to the exposures",
    )
    rows = (
        "pixels: mean absolute and mean squared difference",
        "structure: one minus SSIM, one minus MEF-SSIM",
        "gradient: difference from the larger gradient of the two exposures",
        "perceptual: squared difference of deep features",
        "minus the PSNR against the reference",
        "colour: difference from the reference's colour, pixel by pixel",
        "total variation: mean squared gradient of the fused picture itself",
    )
    metrics = [Item(f"Table 2 {name}", says) for name, says in METRICS.items()]
    return {
        "Equations": [Item(f"Eq. {number}", says) for number, says in enumerate(equations, start=1)],
        "Algorithm 1: the dual search": [Item("Algorithm 1", "the search as a whole"), *_lines()],
        "Table 1: the loss search space": [
            Item("Table 1", "the candidate losses as a whole: 19 terms"),
            *(Item(f"Table 1 row {number}", says) for number, says in enumerate(rows, start=1)),
        ],
        "Table 2: comparison by eight metrics": [
            Item("Table 2", "ten methods on two data sets: the published numbers"),
            *metrics,
        ],
        "Table 3: ablations": [Item("Table 3", "seven conditions: settings and published numbers")],
    }


def _lines() -> list[Item]:
    comment = "a comment: what the next line is for"
    lines = (
        ("repeat until the search has converged", 0),
        (comment, 3),
        ("one step of the network's weights ω down the training loss", 0),
        (comment, 5),
        ("one step of the loss weights β down Γ_H", 0),
        (comment, 7),
        ("one step of the structure α down the validation loss, first order", 0),
        ("while more than P operations are left", 0),
        ("if the smallest weight is below θ", 0),
        (comment, 11),
        ("remove the operation with the smallest weight", 0),
        ("end of the condition", 9),
        ("end of the pruning loop", 8),
        ("end of the search loop", 1),
        ("return the P operations of the largest weights, and the loss weights", 0),
    )
    name = "Algorithm 1 line {}".format
    return [
        Item(name(line), says, served_by=name(server) if server else "")
        for line, (says, server) in enumerate(lines, start=1)
    ]


def known() -> list[Item]:
    """List the items of all groups."""
    return [item for group in items().values() for item in group]


def citations(text: str) -> list[str]:
    """Find the items of the paper that a text names; a range of lines or rows names each of them.

    Args:
        text: a docstring, an argument of the marker, or the source of a cell.

    Returns:
        Keys of items, each once, in the order of the text.

    Raises:
        CitationError: for an item that does not exist, or one in another notation than the index's.

    Example:
        >>> from notebooks.tools.index import citations
        >>> citations("Algorithm 1 lines 8-9 and 11; see Table 2 SD")
        ['Algorithm 1 line 8', 'Algorithm 1 line 9', 'Algorithm 1 line 11', 'Table 2 SD']
    """
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        words = " ".join(paragraph.split())
        if other := _OTHERWISE.search(words):
            raise CitationError(f"'{other.group()}' is not read; write as in 'Eq. 3' or 'Algorithm 1 lines 8-13'")
        for match in _CITATION.finditer(words):
            found += _keys(match)
    existing = {item.key for item in known()}
    unknown = [key for key in found if key not in existing]
    if unknown:
        raise CitationError(f"the paper has no '{unknown[0]}'; notebooks/tools/index.py lists what it has")
    return list(dict.fromkeys(found))


def is_citation(text: str) -> bool:
    """Whether a text is the name of one item or range of items and nothing else."""
    return _CITATION.fullmatch(text) is not None


def _keys(match: re.Match[str]) -> list[str]:
    place, unit, names = match["place"], match["unit"], match["names"]
    if match["tables"]:
        return [f"Table {number}" for number in _numbers(match["tables"])]
    if place is None:
        return [f"Eq. {number}" for number in _numbers(match["equations"])]
    if unit:
        numbers = _numbers(match["numbers"])
        if unit.endswith("s") != (len(numbers) > 1):
            raise CitationError(f"'{match.group()}': write 'line' or 'row' for one, 'lines' or 'rows' for several")
        return [f"{place} {unit.removesuffix('s')} {number}" for number in numbers]
    return [f"{place} {name}" for name in re.split(r", and |, | and ", names)] if names else [place]


def _numbers(text: str) -> list[int]:
    numbers: list[int] = []
    for part in re.split(r", and |, | and ", text):
        first, _, last = part.replace("–", "-").partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


INDEX = "paper_index.md"
"""Name of the file, in the folder of the notebooks."""
OVERVIEWS = ("00_start_here",)
"""Notebooks that name items only to say where they are treated."""

Places = Mapping[str, Sequence[tuple[str, str]]]
"""Key of an item to the places that name it: label and link, relative to the folder of the notebooks."""

_HEADING = re.compile(r"^#{1,6}[ \t]+(\S.*)$", re.MULTILINE)
_TAG = re.compile(r"\\tag\{(\d+)\}")  # the number of a displayed equation
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


class _Collector:
    """Places by item, and what is wrong with the citations that were read on the way."""

    def __init__(self) -> None:
        self.places: dict[str, list[tuple[str, str]]] = {}
        self.problems: list[str] = []

    def add(self, text: str, label: str, target: str, *, where: str, listed: bool = True) -> None:
        try:
            keys = citations(text)
        except CitationError as error:
            self.problems.append(f"{where}: {error}")
            return
        for key in keys if listed else []:
            entries = self.places.setdefault(key, [])
            if (label, target) not in entries:
                entries.append((label, target))

    def result(self) -> Places:
        if self.problems:
            raise CitationError("\n".join(self.problems))
        return self.places


def scan_functions(library: Path) -> Places:
    """Find the functions, classes and documented constants whose docstring names an item in its first paragraph.

    What comes later in a docstring tells of items in passing; it is only checked.

    Args:
        library: the folder of the package.

    Raises:
        CitationError: when docstrings, those of modules included, name what the paper does not have.
    """
    found = _Collector()
    for path in sorted(library.rglob("*.py")):
        inside = path.relative_to(library.parent).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found.add(ast.get_docstring(tree) or "", "", "", where=inside, listed=False)
        for name, docstring in _documented(tree):
            summary, _, rest = docstring.partition("\n\n")
            found.add(summary, f"`{path.stem}.{name}`", f"../{inside}", where=f"{inside}, {name}")
            found.add(rest, "", "", where=f"{inside}, {name}", listed=False)
    return found.result()


def _documented(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and docstrings of what is defined in a module, class or function; a constant's stands below it."""
    body: list[ast.stmt] = getattr(node, "body", [])
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + statement.name, ast.get_docstring(statement) or ""
            yield from _documented(statement, f"{prefix}{statement.name}.")
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(following, ast.Expr):
            target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
            if isinstance(following.value, ast.Constant) and isinstance(following.value.value, str):
                yield prefix + ast.unparse(target), following.value.value


def scan_tests(tests: Path) -> Places:
    """Find the tests marked ``@pytest.mark.paper(...)``, themselves, in their parameters, or with class or module.

    Args:
        tests: the folder of the tests.

    Raises:
        CitationError: when a mark names what the paper does not have, or stands where no test carries it.
    """
    found = _Collector()
    for path in sorted(tests.rglob("test_*.py")):
        inside = path.relative_to(tests.parent).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        carried: list[ast.Call] = []
        for name, marks in _marked(tree):
            carried += marks
            for argument in (argument for mark in marks for argument in mark.args):
                text = argument.value if isinstance(argument, ast.Constant) else None
                if not isinstance(text, str) or not is_citation(text):
                    found.problems.append(f"{inside}, {name}: {ast.unparse(argument)} is not one item of the paper")
                else:
                    found.add(text, f"`{name}`", f"../{inside}", where=f"{inside}, {name}")
        for mark in _marks([tree]):
            if mark not in carried or not mark.args:
                found.problems.append(f"{inside}, line {mark.lineno}: no test carries this mark, or it names nothing")
    return found.result()


def _marked(
    node: ast.Module | ast.ClassDef, prefix: str = "", around: Sequence[ast.Call] = ()
) -> Iterator[tuple[str, list[ast.Call]]]:
    """Names of the tests in a module or class, and all marks that hold for each."""
    marks = [*around]
    for statement in node.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "pytestmark":
            marks += _marks([statement.value])
    for statement in node.body:
        if isinstance(statement, ast.ClassDef) and statement.name.startswith("Test"):
            inner = [*marks, *_marks(statement.decorator_list)]
            yield from _marked(statement, f"{prefix}{statement.name}::", inner)
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and statement.name.startswith("test"):
            yield prefix + statement.name, [*marks, *_marks(statement.decorator_list)]


def _marks(nodes: Iterable[ast.AST]) -> list[ast.Call]:
    calls = (call for node in nodes for call in ast.walk(node) if isinstance(call, ast.Call))
    return [call for call in calls if ast.unparse(call.func).endswith("mark.paper")]


def scan_notebooks(notebooks: Path) -> Places:
    """Find the cells of the notebooks' sources that name an item; each is linked by the heading above it.

    Args:
        notebooks: the folder with ``src``.

    Raises:
        CitationError: when cells name what the paper does not have.
    """
    found = _Collector()
    for path in sorted((notebooks / "src").glob("*.py")):
        heading = ""
        for number, cell in enumerate(read_source(path).cells, start=1):
            file = f"{SOLUTIONS}/{path.stem}.ipynb" if "solution" in tags(cell) else f"{path.stem}.ipynb"
            words = _TAG.sub(r"(Eq. \1)", _FENCED.sub("", cell.source)) if cell.cell_type == "markdown" else ""
            # Text, heading, text, heading, ... text; a code cell is one text.
            parts = _HEADING.split(words) if words else [cell.source]
            for position, text in enumerate(parts):
                heading = text if position % 2 else heading
                # A title repeats the number of its notebook.
                label = f"{path.stem.split('_')[0]} · {re.sub(r'^[0-9]+ · ', '', heading) or f'cell {number}'}"
                where = f"{path.name}, cell {number}"
                found.add(text, label, file + _anchor(heading), where=where, listed=path.stem not in OVERVIEWS)
    return found.result()


def _anchor(heading: str) -> str:
    """The anchor Jupyter gives a heading; none where it holds formulas or code, whose anchors differ."""
    return f"#{quote(heading.replace(' ', '-'), safe=',')}" if heading and not re.search(r"[$`*\[]", heading) else ""


def scan(root: Path) -> tuple[Places, Places, Places]:
    """Find functions, tests and notebook cells of a checkout.

    Raises:
        CitationError: when one of them names what the paper does not have.
    """
    return scan_functions(root / "hsds_lib"), scan_tests(root / "tests"), scan_notebooks(root / "notebooks")


def gaps(functions: Places, tests: Places, cells: Places) -> list[str]:
    """Name every item that lacks a function, a test or a notebook cell, and what it lacks."""
    kinds = {"function": functions, "test": tests, "notebook cell": cells}
    found = []
    for item in known():
        lacks = [kind for kind, places in kinds.items() if not {item.key, item.served_by} & places.keys()]
        if lacks:
            found.append(f"{item.key}: no {', no '.join(lacks)}")
    return found


def render(functions: Places, tests: Places, cells: Places) -> str:
    """Write the index as markdown, a table for each group of items."""
    lines = [
        "# Where each part of the paper is",
        "",
        "Every equation, every line of the algorithm and every row or metric of a table: the functions that realise "
        "it, the tests that prove it, the notebook cells that show it (by number of the notebook and heading). "
        "`make notebooks` writes this file from docstrings, test marks and cells; it is not edited by hand.",
    ]
    for group, members in items().items():
        lines += ["", f"## {group}", "", "| item | what it says | functions | tests | notebook cells |"]
        lines += ["|---|---|---|---|---|"]
        for item in members:
            columns = [_links(places.get(item.key, ()), item.served_by) for places in (functions, tests, cells)]
            lines.append(f"| {' | '.join([item.key, item.says, *columns])} |")
    return "\n".join(lines) + "\n"


def _links(places: Sequence[tuple[str, str]], served_by: str) -> str:
    if places:
        return "<br>".join(f"[{label}]({target})" for label, target in places)
    return f"as {served_by.split(maxsplit=2)[-1]}" if served_by else "–"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m notebooks.tools.index", description="Write the paper's index.")
    parser.add_argument("--check", action="store_true", help="only compare the file with what would be written")
    options = parser.parse_args(arguments)
    try:
        notebooks = find_notebooks()
        file, text = notebooks / INDEX, render(*scan(notebooks.parent))
        if not options.check:
            with atomic_path(file) as temporary:
                temporary.write_bytes(text.encode())  # bytes: the same line ends on every system
        elif not file.is_file() or file.read_bytes() != text.encode():
            raise CitationError(f"notebooks/{INDEX} is not what docstrings, marks and cells say; run `make notebooks`")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"notebooks/{INDEX} {'is up to date' if options.check else 'written'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
