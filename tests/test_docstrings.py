"""Every public function and class says what it is for and which errors to expect; private ones are brief.

Docstrings are read from the sources, so a module is not imported to be looked at. Whether the examples give what
they say is tested where they are run: ``pytest hsds_lib --doctest-modules``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLACES = [*sorted((ROOT / "hsds_lib").rglob("*.py")), *sorted((ROOT / "data_scripts").glob("*.py"))]
SAID_TO_USERS = {"Exit", "UsageError"}  # how a command ends; its help is its docstring
Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def definitions(tree: ast.Module) -> Iterator[Definition]:
    """The functions and classes of a module."""
    yield from (node for node in tree.body if isinstance(node, Definition))


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a function's body, but not those of functions inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Function | ast.Lambda | ast.ClassDef):
            yield child
            yield from own_nodes(child)


def raised(node: Function) -> set[str]:
    """Names of the exceptions raised in the body itself; a bare ``raise`` or a caught error passes another one on."""
    errors = [
        child.exc for child in own_nodes(node) if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call)
    ]
    names = {ast.unparse(error.func).split(".")[-1] for error in errors}
    return {name for name in names if not name.startswith("_")} - SAID_TO_USERS


def problems(node: Definition) -> list[str]:
    """Say all that is wrong with the docstring of one function, method or class."""
    doc = ast.get_docstring(node)
    if node.name.startswith("__"):
        return []
    if node.name.startswith("_"):
        return ["is private; one paragraph is enough"] if doc and "\n\n" in doc else []
    if not doc:
        return ["no docstring"]
    unsaid = sorted(raised(node) - set(re.findall(r"\w+", doc))) if isinstance(node, Function) else []
    return [f"does not name {', '.join(unsaid)}"] if unsaid else []


@pytest.mark.parametrize("path", PLACES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_say_what_is_needed(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [f"{node.name}, line {node.lineno}: {problem}" for node in definitions(tree) for problem in problems(node)]
    found += [] if ast.get_docstring(tree) else ["the module has no docstring"]
    assert found == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('def scale(x):\n    """Double ``x``; ValueError if negative."""\n    raise ValueError("x")', []),
        ('def scale(x):\n    """Double ``x``."""\n    raise ValueError("x")', ["does not name ValueError"]),
        ('def scale(x):\n    """Double ``x``."""\n    def inner():\n        raise ValueError("x")', []),
        ("def scale(x):\n    return 2 * x", ["no docstring"]),
        ("def _scale(x):\n    return 2 * x", []),
        (
            'def _scale(x):\n    """Double.\n\n    Args:\n        x: it.\n    """',
            ["is private; one paragraph is enough"],
        ),
    ],
)
def test_what_is_wrong_with_a_docstring_is_named(source: str, found: list[str]) -> None:
    assert problems(ast.parse(source).body[0]) == found  # type: ignore[arg-type]
