"""Every public function and class of the library says what it takes, gives and raises, and shows it at work.

Docstrings are read from the sources, so a module is not imported to be looked at. Whether the examples give what
they say is tested where they are run: ``pytest hsds_lib --doctest-modules``.
"""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "hsds_lib"
PACKAGES = ("images", "losses", "network", "search", "evaluation", "runs", "fusing", "training", "released")
MODULES = ("config", "runtime")
# A command of the project itself, not of the mathematical side; and typer commands, whose help is their docstring.
LEFT_OUT: set[str] = set()

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Example", "Examples", "Note")
# What may stand in for sections in one line: a shape, a range or a unit.
SHAPE_OR_UNIT = re.compile(
    r"``\([^)]*,[^)]*\)``|\[-?[\d.]+, -?[\d.]+\]|\b(pixels?|stops?|bits?|seconds?|bytes|scalar)\b", re.IGNORECASE
)

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def sources() -> list[Path]:
    found = [path for package in PACKAGES for path in sorted((LIBRARY / package).rglob("*.py"))]
    found += [LIBRARY / f"{module}.py" for module in MODULES]
    return [
        path for path in found if path.name != "__init__.py" and path.relative_to(LIBRARY).as_posix() not in LEFT_OUT
    ]


def public(tree: ast.Module) -> Iterator[Definition]:
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_") and not is_exception(node):
            yield node


def is_exception(node: Definition) -> bool:
    """Exceptions are made by the library, not by its users: a sentence on when is enough."""
    return isinstance(node, ast.ClassDef) and any(
        ast.unparse(base).endswith(("Error", "Interrupt")) for base in node.bases
    )


def objects() -> list[object]:
    found = []
    for path in sources():
        for node in public(ast.parse(path.read_text(encoding="utf-8"))):
            found.append(pytest.param(node, id=f"{path.relative_to(LIBRARY).as_posix()}:{node.name}"))
    return found


def problems(node: Definition) -> list[str]:
    """Say all that is missing from the docstring of one function or class."""
    doc = ast.get_docstring(node)
    if not doc:
        return ["no docstring"]
    found = [] if shows_a_result(doc) else ["no runnable example with a result (>>>)"]
    if isinstance(node, Function):
        found += signature_problems(node, doc)
    return found


def signature_problems(node: Function, doc: str) -> list[str]:
    parts, parameters = sections(doc), parameters_of(node)
    short = len(parameters) <= 1 and not {"Args", "Returns", "Yields"} & set(parts)
    told_in_a_line = short and SHAPE_OR_UNIT.search(doc.split("\n\n")[0]) is not None
    found = []
    documented = set(re.findall(r"^\*{0,2}(\w+)(?: \([^)]*\))?:", parts.get("Args", ""), flags=re.MULTILINE))
    if documented != set(parameters) and not told_in_a_line:
        missing, unknown = sorted(set(parameters) - documented), sorted(documented - set(parameters))
        found.append(f"Args: missing {missing}, not a parameter {unknown}")
    if gives_something(node) and not {"Returns", "Yields"} & set(parts) and not told_in_a_line:
        found.append("no Returns: or Yields:")
    unsaid = sorted(raised(node) - set(re.findall(r"^(\w+):", parts.get("Raises", ""), flags=re.MULTILINE)))
    return found + ([f"Raises: missing {unsaid}"] if unsaid else [])


def shows_a_result(doc: str) -> bool:
    return any(example.want for example in doctest.DocTestParser().get_examples(doc))


def sections(doc: str) -> dict[str, str]:
    """Sections of a Google docstring by name, without their indentation."""
    pieces = re.split(rf"^({'|'.join(SECTIONS)}):[ \t]*$", doc, flags=re.MULTILINE)
    return {
        name: re.sub(r"^ {4}", "", body, flags=re.MULTILINE)
        for name, body in zip(pieces[1::2], pieces[2::2], strict=True)
    }


def parameters_of(node: Function) -> list[str]:
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    return [argument.arg for argument in given if argument is not None]


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a function's body, but not those of functions inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Function | ast.Lambda | ast.ClassDef):
            yield child
            yield from own_nodes(child)


def gives_something(node: Function) -> bool:
    returns = any(isinstance(child, ast.Return) and child.value is not None for child in own_nodes(node))
    return returns or any(isinstance(child, ast.Yield | ast.YieldFrom) for child in own_nodes(node))


def raised(node: Function) -> set[str]:
    """Names of the exceptions raised in the body itself; a bare ``raise`` passes another one on."""
    errors = [child.exc for child in own_nodes(node) if isinstance(child, ast.Raise) and child.exc is not None]
    return {ast.unparse(error.func if isinstance(error, ast.Call) else error).split(".")[-1] for error in errors}


@pytest.mark.parametrize("node", objects())
def test_docstring_is_complete(node: Definition) -> None:
    found = problems(node)
    assert not found, f"{node.name}, line {node.lineno}: {'; '.join(found)}"


def test_every_listed_place_is_looked_at() -> None:
    found = {path.relative_to(LIBRARY).parts[0].removesuffix(".py") for path in sources()}
    assert found == {*PACKAGES, *(module.partition("/")[0] for module in MODULES)}
    assert all((LIBRARY / path).is_file() for path in LEFT_OUT)


GOOD = '''
def scale(image, *, factor):
    """Scale an image.

    Args:
        image: ``(3, H, W)`` in [0, 1].
        factor: a number
            that may take two lines: here.

    Returns:
        The same shape.

    Raises:
        ValueError: if the factor is negative.

    Example:
        >>> scale(2, factor=3)
        6
    """
    if factor < 0:
        raise ValueError("negative")
    return image * factor
'''


def test_a_complete_docstring_has_no_problem() -> None:
    assert problems(ast.parse(GOOD).body[0]) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "changed", "problem"),
    [
        ("        factor: a number\n", "        number: a number\n", r"missing \['factor'\], not .* \['number'\]"),
        ("    Returns:\n        The same shape.\n", "", "no Returns: or Yields:"),
        ("        ValueError: if", "        TypeError: if", r"Raises: missing \['ValueError'\]"),
        ("        6\n", "", "no runnable example with a result"),
        ('    """Scale', '    f"""Scale', "no docstring"),
    ],
)
def test_what_is_missing_from_a_docstring_is_named(given: str, changed: str, problem: str) -> None:
    assert GOOD.count(given) == 1
    (found,) = problems(ast.parse(GOOD.replace(given, changed)).body[0])  # type: ignore[arg-type]
    assert re.search(problem, found)


@pytest.mark.parametrize(("summary", "enough"), [("Give half the side, pixels.", True), ("Give half the side.", False)])
def test_one_line_is_enough_for_one_parameter_only_with_a_shape_or_unit(summary: str, enough: bool) -> None:
    example = "Example:\n        >>> half(4)\n        2.0"
    source = f'def half(side):\n    """{summary}\n\n    {example}\n    """\n    return side / 2'
    assert (problems(ast.parse(source).body[0]) == []) is enough  # type: ignore[arg-type]
