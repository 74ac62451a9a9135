"""Which code computes: the sources behind some modules and the packages they use, as hashes that can be compared."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

COMPUTING = ("torch", "numpy", "scipy", "scikit-image", "kornia", "opencv-python-headless", "pillow")
"""The packages that networks, pictures and scores are computed with; another version may give other digits."""


def joined_hash(parts: Iterable[str | None]) -> str:
    """Give SHA-256 over several texts, their order and None included, as 64 hexadecimal digits.

    Example:
        >>> joined_hash(["a", None]) == joined_hash(["a", ""])
        False
    """
    return hashlib.sha256(repr(list(parts)).encode()).hexdigest()


@cache
def code_hash(*modules: str) -> str:
    """Give SHA-256 over all that :func:`code_parts` names."""
    return joined_hash([part for item in code_parts(*modules).items() for part in item])


@cache
def code_parts(*modules: str) -> dict[str, str]:
    """Give a hash of each module behind some (themselves, and all that they import of this library), by name.

    With them go the versions of ``COMPUTING``. Comments, docstrings and layout do not count.
    """
    found = {name: joined_hash([_bare(path)])[:16] for name, path in sorted(sources_of(modules).items())}
    return found | {name: version(name) for name in COMPUTING}


def changed_code(before: Any, now: Mapping[str, str]) -> list[str]:
    """Name what differs between two results of :func:`code_parts`; ``before`` is none for what did not note it."""
    if not isinstance(before, dict):
        return ["it was not noted then"]
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [f"{name} {before.get(name)} -> {now.get(name)}" if name in COMPUTING else name for name in names]


def sources_of(modules: Iterable[str]) -> dict[str, Path]:
    """Follow the imports from some modules, and give the files of this library that they lead to, by module."""
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or not name.startswith("hsds_lib."):
            continue
        try:
            spec = find_spec(name)
        except ModuleNotFoundError:  # a name within a module
            spec = None
        if spec is None or spec.origin is None:
            continue
        found[name] = Path(spec.origin)
        for node in ast.walk(ast.parse(found[name].read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def _bare(path: Path) -> str:
    """The source without comments, docstrings and layout."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
