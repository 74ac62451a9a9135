"""Imports go one way: down the rooms of the house, never back up, and never in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "hsds_lib"
# From the ground up; a room imports from those before it. Rooms on one line know nothing of each other.
ROOMS: tuple[tuple[str, ...], ...] = (
    ("config", "outputs"),
    ("runtime",),
    ("arguments", "images"),
    ("losses", "network"),
    ("runs",),
    ("fusing",),
    ("search", "training"),
    ("released",),
    ("evaluation",),
    ("check",),
    ("course",),
    ("reports",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}
MODULES = sorted(path for path in LIBRARY.rglob("*.py") if path != LIBRARY / "__init__.py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of everything imported, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def module_of(name: str) -> Path | None:
    """The file of the library in which an imported name lies; None for other packages and for the face itself."""
    for parts in (name.split("."), name.split(".")[:-1]):
        path = LIBRARY.parent.joinpath(*parts)
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if parts[:1] == ["hsds_lib"] and file in MODULES:
                return file
    return None


@cache
def edges() -> dict[Path, set[Path]]:
    found = {
        path: {module_of(name) for name in imported(ast.parse(path.read_text(encoding="utf-8")))} for path in MODULES
    }
    return {path: {target for target in targets if target and target != path} for path, targets in found.items()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(LIBRARY).as_posix())
def test_imports_lead_down(path: Path) -> None:
    here = room_of(path)
    for target in edges()[path]:
        there = room_of(target)
        assert there == here or FLOOR[there] < FLOOR[here], f"{path} imports {target}"


def test_no_circle_of_imports() -> None:
    left = edges()
    while free := [path for path, targets in left.items() if not targets & left.keys()]:
        for path in free:
            del left[path]
    assert sorted(path.relative_to(LIBRARY).as_posix() for path in left) == []


def test_nothing_but_the_command_line_imports_the_data_scripts_and_nothing_the_notebooks() -> None:
    for path in MODULES:
        others = {name.split(".")[0] for name in imported(ast.parse(path.read_text(encoding="utf-8")))}
        assert not others & {"data_scripts", "notebooks", "tests"} or path == LIBRARY / "cli.py", path
