"""What a sweep runs: a grid file, checked before anything is executed, and the runs that it stands for."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import nbformat
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)

from hsds_lib.reports.execute import known_parameters, select_notebooks
from hsds_lib.reports.notebook import tags

OUT = "out"
"""The notebook parameter that a sweep sets itself, so that no two runs write into one folder."""
OUT_FOLDER = "results"
"""Its value: a folder within the folder of the run."""


def _listed(value: Any) -> Any:
    """A scalar as a list of one."""
    return value if isinstance(value, list | tuple | dict) else [value]


Value = StrictBool | StrictInt | StrictFloat | StrictStr | None
Values = Annotated[tuple[Value, ...], BeforeValidator(_listed), Field(min_length=1)]
Names = Annotated[tuple[StrictStr, ...], BeforeValidator(_listed), Field(min_length=1)]
Setting = Annotated[dict[str, Value], Field(min_length=1)]


class Grid(BaseModel):
    """A grid of notebook runs, as written in a grid file.

    Attributes:
        notebook: one name or several.
        parameters: values for each parameter, a scalar being a list of one; all combinations are run.
        runs: further runs, each with just the parameters that it names.
        exclude: combinations to leave out: those that have all values of one of these.

    Example:
        >>> grid = Grid(notebook="03_wsras", parameters={"seed": [0, 1], "preset": "tiny"}, runs=[{"seed": 7}])
        >>> grid.notebook
        ('03_wsras',)
        >>> for combination in combinations(grid):
        ...     print(combination)
        {'seed': 0, 'preset': 'tiny'}
        {'seed': 1, 'preset': 'tiny'}
        {'seed': 7}
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    notebook: Names
    parameters: dict[str, Values] = {}
    runs: tuple[Setting, ...] = ()
    exclude: tuple[Setting, ...] = ()


@dataclass(frozen=True)
class Run:
    """One notebook with one combination of parameters.

    Attributes:
        notebook: its name.
        path: the built notebook.
        source: hash of the notebook's source, 16 hexadecimal digits.
        key: hash of name, parameters and source, 16 hexadecimal digits; the name of the run's folder.
        given: the parameters that the grid gives and the notebook knows.
        defaults: all parameters of the notebook, with their defaults.

    Example:
        >>> run = Run("03_wsras", Path("03_wsras.ipynb"), "5e", "a0", {"seed": 1}, {"seed": 0, "preset": "tiny"})
        >>> run.parameters
        {'seed': 1, 'preset': 'tiny'}
    """

    notebook: str
    path: Path
    source: str
    key: str
    given: dict[str, Any]
    defaults: dict[str, Any]

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters with the values they have in this run."""
        return self.defaults | self.given


def load_grid(path: str | Path) -> Grid:
    """Read a grid file.

    Args:
        path: a JSON file; see ``Grid`` for what it may hold.

    Returns:
        The grid; whether its parameters exist is checked by ``plan``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, has an unknown key, or a value that is not a number, a text, true, false or null.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "grid.json"
        ...     _ = file.write_text('{"notebook": "03_wsras", "parameters": {"steps": [4, 8]}}')
        ...     load_grid(file).parameters
        {'steps': (4, 8)}
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"there is no grid file {path}; name a JSON file such as notebooks/grids/thresholds.json"
        )
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object; a grid looks like {{'notebook': ..., 'parameters': {{...}}}}")
    try:
        return Grid(**found)
    except ValidationError as error:
        raise ValueError(f"{path}: {_sentence(error)}") from None


def combinations(grid: Grid) -> list[dict[str, Any]]:
    """List the combinations of a grid: the full product, then the explicit runs, without what is excluded.

    Args:
        grid: as read from its file.

    Returns:
        One dictionary for each; the first parameter varies slowest. Combinations that come twice are still there.

    Raises:
        ValueError: an entry of ``exclude`` meets no combination, or nothing is left.

    Example:
        >>> both = {"seed": [0, 1], "theta": [0.0, 0.1]}
        >>> combinations(Grid(notebook="03_wsras", parameters=both, exclude=[{"seed": 1, "theta": 0}]))
        [{'seed': 0, 'theta': 0.0}, {'seed': 0, 'theta': 0.1}, {'seed': 1, 'theta': 0.1}]
    """
    product = [
        dict(zip(grid.parameters, values, strict=True)) for values in itertools.product(*grid.parameters.values())
    ]
    found = [*(product if grid.parameters or not grid.runs else []), *map(dict, grid.runs)]
    for left_out in grid.exclude:
        if not any(_meets(combination, left_out) for combination in found):
            raise ValueError(
                f"exclude {json.dumps(left_out)} meets no combination of the grid; correct it or take it out"
            )
    found = [one for one in found if not any(_meets(one, left_out) for left_out in grid.exclude)]
    if not found:
        raise ValueError("the grid excludes all its combinations; nothing is left to run")
    return found


def plan(grid: Grid, notebooks: Path) -> list[Run]:
    """Turn a grid into runs; equal ones are merged, so that each is there once.

    Args:
        grid: as read from its file.
        notebooks: the folder with the built notebooks.

    Returns:
        The runs, notebook by notebook. A parameter goes to the notebooks that know it.

    Raises:
        ValueError: a notebook or a parameter is unknown, or the grid sets ``out``.

    Example:
        >>> from hsds_lib.reports.notebook import find_notebooks
        >>> runs = plan(Grid(notebook="03_wsras", parameters={"seed": [0, 0, 1]}), find_notebooks())
        >>> [run.given for run in runs]
        [{'seed': 0}, {'seed': 1}]
    """
    paths = select_notebooks(notebooks, grid.notebook)
    defaults = {path: known_parameters(path) for path in paths}
    named = set(grid.parameters).union(*grid.runs, *grid.exclude)
    known = sorted({name for found in defaults.values() for name in found} - {OUT})
    if OUT in named:
        raise ValueError(f"a grid cannot set '{OUT}': each run of a sweep keeps its results in a folder of its own")
    if named - set(known):
        unknown = ", ".join(sorted(named - set(known)))
        raise ValueError(f"unknown parameter {unknown}; the notebooks of the grid know {', '.join(known) or 'none'}")
    found = combinations(grid)
    runs: dict[str, Run] = {}
    for path in paths:
        for run in _runs(path, defaults[path], found):
            runs.setdefault(run.key, run)
    return list(runs.values())


def source_hash(path: Path) -> str:
    """Hash what a notebook does: its cells and their tags, not its outputs.

    Args:
        path: the notebook.

    Returns:
        16 hexadecimal digits.

    Example:
        >>> from hsds_lib.reports.notebook import find_notebooks
        >>> len(source_hash(find_notebooks() / "03_wsras.ipynb"))
        16
    """
    cells = nbformat.read(path, as_version=4).cells
    return _digest([[cell.cell_type, cell.source, tags(cell)] for cell in cells])


def _runs(path: Path, defaults: Mapping[str, Any], found: list[dict[str, Any]]) -> Iterator[Run]:
    source = source_hash(path)
    kept = {name: value for name, value in defaults.items() if name != OUT}
    for combination in found:
        given = {name: value for name, value in combination.items() if name in kept}
        # A parameter that is given its default value makes no other run.
        key = _digest([path.stem, sorted((kept | given).items()), source])
        own = {OUT: OUT_FOLDER} if OUT in defaults else {}
        yield Run(path.stem, path, source, key, given, kept | own)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _meets(combination: Mapping[str, Any], left_out: Mapping[str, Any]) -> bool:
    return all(name in combination and _equal(combination[name], value) for name, value in left_out.items())


def _equal(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)  # 0 is 0.0, but not false


def _sentence(error: ValidationError) -> str:
    """The first mistake, by the place where it was made."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][:2])
    if first["type"] == "extra_forbidden":
        return f"unknown key '{place}'; a grid has {', '.join(Grid.model_fields)}"
    if first["type"] == "missing":
        return f"the key '{place}' is missing; name the notebook, such as 05_dual_search"
    if first["type"] == "too_short":
        return f"'{place}' is empty; give at least one entry or take it out"
    shape = {"tuple_type": "a list or a single value", "dict_type": "an object with parameters by name"}
    wanted = shape.get(first["type"], "a number, a text, true, false or null")
    return f"'{place}' is {first['input']!r}, but must be {wanted}"
