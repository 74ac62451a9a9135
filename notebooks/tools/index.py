"""The index of the paper: ``python -m notebooks.tools.index [--check]`` writes ``notebooks/paper_index.md``.

It says of every equation, line of the algorithm and table of the paper which functions realise it, which tests prove it
and which notebook cells show it, as docstrings, the test marker ``paper`` and the notebooks' sources have it.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from hsds_lib.reports.notebook import find_notebooks, tags
from hsds_lib.runtime import atomic_path
from notebooks.tools.source import SOLUTIONS, read_source

INDEX = "paper_index.md"
"""Name of the file, in the folder of the notebooks."""
OVERVIEWS = ("00_start_here",)
"""Notebooks that name items only to say where they are treated."""
_COMMENT = "a comment: what the next line is for"
EQUATIONS = (
    "two levels: structure α and loss weights β are judged by the network that is trained with them",
    "the upper level: β is judged by Γ_H, α by the validation loss with the new β",
    "the contrast: per VGG-16 layer, distance to a good picture over the summed distances to the exposures",
)
LINES = (
    "repeat until the search has converged",
    _COMMENT,
    "one step of the network's weights ω down the training loss",
    _COMMENT,
    "one step of the loss weights β down Γ_H",
    _COMMENT,
    "one step of the structure α down the validation loss, first order",
    "while more than P operations are left",
    "if the smallest weight is below θ",
    _COMMENT,
    "remove the operation with the smallest weight",
    "end of the condition",
    "end of the pruning loop",
    "end of the search loop",
    "return the P operations of the largest weights, and the loss weights",
)
SERVED_BY = {
    f"Algorithm 1 line {line}": f"Algorithm 1 line {server}"
    for line, server in {2: 3, 4: 5, 6: 7, 10: 11, 12: 9, 13: 8, 14: 1}.items()
}
"""Comments and ends of blocks to the line that does their work."""
ROWS = (
    "pixels: mean absolute and mean squared difference",
    "structure: one minus SSIM, one minus MEF-SSIM",
    "gradient: difference from the larger gradient of the two exposures",
    "perceptual: squared difference of deep features",
    "minus the PSNR against the reference",
    "colour: difference from the reference's colour, pixel by pixel",
    "total variation: mean squared gradient of the fused picture itself",
)
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
GROUPS = {
    "Equations": {f"Eq. {number}": says for number, says in enumerate(EQUATIONS, start=1)},
    "Algorithm 1: the dual search": {
        "Algorithm 1": "the search as a whole",
        **{f"Algorithm 1 line {number}": says for number, says in enumerate(LINES, start=1)},
    },
    "Table 1: the loss search space": {
        "Table 1": "the candidate losses as a whole",
        **{f"Table 1 row {number}": says for number, says in enumerate(ROWS, start=1)},
    },
    "Table 2: comparison by eight metrics": {
        "Table 2": "ten methods on two data sets: the published numbers",
        **{f"Table 2 {name}": says for name, says in METRICS.items()},
    },
    "Table 3: ablations": {"Table 3": "seven conditions: settings and published numbers"},
}
"""What each item of the paper says, by group and by how docstrings, marks and cells name it."""
ITEMS = {item: says for group in GROUPS.values() for item, says in group.items()}

_AND = r"(?:, and |, | and )"
_NUMBERS = rf"\d+(?:[-–]\d+)?(?:{_AND}\d+(?:[-–]\d+)?)*"
_CITATION = re.compile(
    rf"\b(?P<kind>Eq\.|Tables|(?:Algorithm|Table) \d+ (?:lines?|rows?)) (?P<numbers>{_NUMBERS})"
    rf"|\b(?P<whole>(?:Algorithm|Table) \d+)(?: (?P<names>[A-Z][\w-]*(?:{_AND}(?:{'|'.join(METRICS)})\b)*))?"
)
_OTHERWISE = re.compile(
    r"\bEq(?!\. \d)\W{0,3}\d|\bEqs\.?\W?\d|\b(?:Alg|Tab)\b\.? ?\d"
    r"|\b(?:Algorithm|Table) \d+(?:,| \() ?(?:lines?|rows?|l\.|r\.) ?\d|\b[Ll]ines? [\d–-]+ of Algorithm"
)
_HEADING = re.compile(r"^#{1,6}[ \t]+(\S.*)$", re.MULTILINE)
_TAG = re.compile(r"\\tag\{(\d+)\}")  # the number of a displayed equation
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


class CitationError(ValueError):
    """Items of the paper that do not exist or are not written as the index reads them; one line for each place."""


def citations(text: str) -> list[str]:
    """Items of the paper that a text names, each once; a list or range of lines or rows names each of them.

    Raises CitationError for an item that does not exist, or one in another notation than the index's.
    """
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        words = " ".join(paragraph.split())
        if other := _OTHERWISE.search(words):
            raise CitationError(f"'{other.group()}' is not read; write as in 'Eq. 3' or 'Algorithm 1 lines 8-13'")
        for match in _CITATION.finditer(words):
            found += _keys(match)
    if unknown := [key for key in found if key not in ITEMS]:
        raise CitationError(f"the paper has no '{unknown[0]}'; notebooks/tools/index.py lists what it has")
    return list(dict.fromkeys(found))


def _keys(match: re.Match[str]) -> Iterator[str]:
    for part in re.split(_AND, match["numbers"] or ""):
        first, _, last = part.replace("–", "-").partition("-")
        for number in range(int(first), int(last or first) + 1) if part else ():
            yield f"{match['kind'].removesuffix('s')} {number}"
    for name in re.split(_AND, match["names"] or ""):
        if match["whole"]:
            yield f"{match['whole']} {name}".strip()


class Mention(NamedTuple):
    """A text that may name items, and where it stands; one that is not ``listed`` is only checked."""

    text: str
    label: str
    target: str  # relative to the folder of the notebooks
    listed: bool = True


Places = Mapping[str, Sequence[tuple[str, str]]]
"""Item to the label and target of each place that names it."""


def in_functions(library: Path) -> Iterator[Mention]:
    """Docstrings of a package; what comes after their first paragraph tells of items in passing, as do modules'."""
    for path in sorted(library.rglob("*.py")):
        target = f"../{path.relative_to(library.parent).as_posix()}"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield Mention(ast.get_docstring(tree) or "", "the module", target, listed=False)
        for name, docstring in _documented(tree):
            summary, _, rest = docstring.partition("\n\n")
            yield Mention(summary, f"`{path.stem}.{name}`", target)
            yield Mention(rest, f"`{path.stem}.{name}`", target, listed=False)


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


def in_tests(tests: Path) -> Iterator[Mention]:
    """The marks ``pytest.mark.paper(...)`` of test functions and, as ``pytestmark``, of whole modules."""
    for path in sorted(tests.rglob("test_*.py")):
        target = f"../{path.relative_to(tests.parent).as_posix()}"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = [node for node in tree.body if isinstance(node, ast.Assign) and "pytestmark" in ast.unparse(node)]
        carried: set[ast.Call] = set()
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                marks = _marks([*module, *node.decorator_list])
                carried |= set(marks)
                for argument in (argument for mark in marks for argument in mark.args):
                    text = argument.value if isinstance(argument, ast.Constant) else None
                    if not isinstance(text, str) or not _CITATION.search(text):
                        raise CitationError(f"{target}, `{node.name}`: the mark names nothing of the paper")
                    yield Mention(text, f"`{node.name}`", target)
        for mark in set(_marks([tree])) - carried:
            raise CitationError(f"{target}, line {mark.lineno}: no test carries this mark")


def _marks(nodes: Iterable[ast.AST]) -> list[ast.Call]:
    calls = (call for node in nodes for call in ast.walk(node) if isinstance(call, ast.Call))
    return [call for call in calls if ast.unparse(call.func).endswith("mark.paper")]


def in_cells(notebooks: Path) -> Iterator[Mention]:
    """The cells of the notebooks' sources; each is linked by the heading above it."""
    for path in sorted((notebooks / "src").glob("*.py")):
        heading = ""
        for number, cell in enumerate(read_source(path).cells, start=1):
            file = f"{SOLUTIONS}/{path.stem}.ipynb" if "solution" in tags(cell) else f"{path.stem}.ipynb"
            words = _TAG.sub(r"(Eq. \1)", _FENCED.sub("", cell.source)) if cell.cell_type == "markdown" else ""
            # Text, heading, text, heading, ... text; a code cell is one text.
            for position, text in enumerate(_HEADING.split(words) if words else [cell.source]):
                heading = text if position % 2 else heading
                # A title repeats the number of its notebook.
                label = f"{path.stem.split('_')[0]} · {re.sub(r'^[0-9]+ · ', '', heading) or f'cell {number}'}"
                yield Mention(text, label, file + _anchor(heading), listed=path.stem not in OVERVIEWS)


def _anchor(heading: str) -> str:
    """The anchor Jupyter gives a heading; none where it holds formulas or code, whose anchors differ."""
    return f"#{quote(heading.replace(' ', '-'), safe=',')}" if heading and not re.search(r"[$`*\[]", heading) else ""


def places(mentions: Iterable[Mention]) -> Places:
    """Sort mentions by item; raises CitationError that names every place where something is wrong."""
    found: dict[str, dict[tuple[str, str], None]] = {}
    problems = []
    for mention in mentions:
        try:
            keys = citations(mention.text)
        except CitationError as error:
            problems.append(f"{mention.target}, {mention.label}: {error}")
            continue
        for key in keys if mention.listed else []:
            found.setdefault(key, {})[mention.label, mention.target] = None
    if problems:
        raise CitationError("\n".join(problems))
    return {key: list(entries) for key, entries in found.items()}


def scan(root: Path) -> dict[str, Places]:
    """Places in the functions, tests and notebook cells of a checkout; raises CitationError as :func:`places`."""
    return {
        "function": places(in_functions(root / "hsds_lib")),
        "test": places(in_tests(root / "tests")),
        "notebook cell": places(in_cells(root / "notebooks")),
    }


def render(found: Mapping[str, Places]) -> str:
    """Write the index as markdown, a table for each group of items."""
    lines = [
        "# Where each part of the paper is",
        "",
        "Every equation, every line of the algorithm and every row or metric of a table: the functions that realise "
        "it, the tests that prove it, the notebook cells that show it (by number of the notebook and heading). "
        "`make notebooks` writes this file from docstrings, test marks and cells; it is not edited by hand.",
    ]
    for group, members in GROUPS.items():
        lines += ["", f"## {group}", "", "| item | what it says | functions | tests | notebook cells |"]
        lines += ["|---|---|---|---|---|"]
        for item, says in members.items():
            columns = [_links(where.get(item, ()), SERVED_BY.get(item)) for where in found.values()]
            lines.append(f"| {' | '.join([item, says, *columns])} |")
    return "\n".join(lines) + "\n"


def _links(entries: Sequence[tuple[str, str]], served_by: str | None) -> str:
    if entries:
        return "<br>".join(f"[{label}]({target})" for label, target in entries)
    return f"as {served_by.split(maxsplit=2)[-1]}" if served_by else "–"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m notebooks.tools.index", description="Write the paper's index.")
    parser.add_argument("--check", action="store_true", help="only compare the file with what would be written")
    options = parser.parse_args(arguments)
    try:
        notebooks = find_notebooks()
        file, text = notebooks / INDEX, render(scan(notebooks.parent))
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
