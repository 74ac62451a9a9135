"""The runs of a sweep: the grid file that they come from, what became of each, and the page that compares them."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import math
import reprlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

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
from hsds_lib.reports.page import render
from hsds_lib.reports.record import duration
from hsds_lib.runtime import atomic_path, provenance, read_json, write_json

FORMAT = 1
"""Version of ``run.json`` and ``summary.json``; a run that was written in another one is done again."""
OUT = "out"
"""The notebook parameter that a sweep sets itself, so that no two runs write into one folder."""
OUT_FOLDER = "results"
"""Its value: a folder within the folder of the run."""
MOST = 10_000
"""Combinations that a grid may have; more are a slip of the pen, and none of them is listed."""


def _listed(value: Any) -> Any:
    """A scalar as a list of one."""
    return value if isinstance(value, list | tuple | dict) else [value]


Value = StrictBool | StrictInt | StrictFloat | StrictStr | None
Values = Annotated[tuple[Value, ...], BeforeValidator(_listed), Field(min_length=1)]
Names = Annotated[tuple[StrictStr, ...], BeforeValidator(_listed), Field(min_length=1)]
Setting = Annotated[dict[str, Value], Field(min_length=1)]


class Grid(BaseModel):
    """A grid of notebook runs, as written in a grid file.

    All combinations of ``parameters`` are run (a scalar is a list of one), and ``runs``, each with just the parameters
    that it names; but those that have all values of an entry of ``exclude``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    notebook: Names
    parameters: dict[str, Values] = {}
    runs: tuple[Setting, ...] = ()
    exclude: tuple[Setting, ...] = ()


@dataclass(frozen=True)
class Run:
    """One notebook with one combination of parameters: those that the grid gives, and the notebook's defaults.

    ``source`` is a hash of the notebook's cells, ``key`` one of name, parameters and source, which names the folder of
    the run; both have 16 hexadecimal digits.
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


@dataclass(frozen=True)
class RunOutcome:
    """What became of one run; ``page`` is the address of its report within the sweep's folder, or empty.

    ``not run`` is what is left when a sweep is stopped; ``commit`` is that of the library that the run was made with.
    """

    run: Run
    status: Literal["ok", "failed", "not run"] = "not run"
    error: str | None = None
    seconds: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    page: str = ""
    commit: str | None = None


def load_grid(path: str | Path) -> Grid:
    """Read a grid file; whether its parameters exist is checked by ``plan``.

    A missing file is a ``FileNotFoundError``. A ``ValueError`` says in a sentence what is not JSON, which key is
    unknown, or which value is not a number, a text, true, false or null.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"there is no grid file {path}; name a JSON file such as notebooks/grids/thresholds.json"
        )
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object; a grid looks like {{'notebook': ..., 'parameters': {{...}}}}")
    try:
        return Grid(**found)
    except ValidationError as error:
        raise ValueError(f"{path}: {_sentence(error)}") from None


def combinations(grid: Grid) -> list[dict[str, Any]]:
    """List the combinations of a grid; the first parameter varies slowest, and what comes twice is still there.

    A ``ValueError`` tells of more than ``MOST``, before any is made, of an entry of ``exclude`` that meets no
    combination, or that nothing is left.
    """
    if max(math.prod(map(len, grid.parameters.values())) + len(grid.runs), len(grid.exclude)) > MOST:
        raise ValueError(f"the grid has more than {MOST} combinations or exclusions; divide it among several files")
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
    """Turn a grid into runs of the notebooks in a folder; equal ones are merged, so that each is there once.

    A parameter goes to the notebooks that know it. An unknown notebook or parameter is a ``ValueError``, and so is
    ``out``, which each run has for itself.
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


def _runs(path: Path, defaults: Mapping[str, Any], found: list[dict[str, Any]]) -> Iterator[Run]:
    cells = nbformat.read(path, as_version=4).cells
    source = _digest([[cell.cell_type, cell.source, tags(cell)] for cell in cells])  # what it does, without outputs
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
    return f"'{place}' is {reprlib.repr(first['input'])}, but must be {wanted}"


def holds_sweep(folder: Path) -> bool:
    """Whether a folder without a marker holds a sweep: its summary says so."""
    try:
        return bool(read_json(folder / "summary.json")["sweep"] == FORMAT)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def find_outcome(run: Run, out: Path) -> RunOutcome:
    """Read what earlier calls, or the workers, left of a run; ``not run`` when there is nothing whole."""
    try:
        record = read_json(out / "runs" / run.key / "run.json")
    except (OSError, ValueError):
        return RunOutcome(run)
    if not isinstance(record, dict) or record.get("sweep") != FORMAT:
        return RunOutcome(run)
    page = f"runs/{run.key}/{run.notebook}.html"
    if not (out / page).is_file():
        if record["status"] == "ok":  # somebody removed it
            return RunOutcome(run)
        page = ""
    kept = {name: record[name] for name in ("status", "error", "seconds", "numbers")}
    return RunOutcome(run, page=page, commit=record.get("commit"), **kept)


def varying(runs: Iterable[Run]) -> list[str]:
    """Name the parameters that differ between runs, those that only some notebooks know included."""
    runs = list(runs)
    names = dict.fromkeys(name for run in runs for name in run.parameters)
    values = {name: {_text(run.parameters[name]) if name in run.parameters else None for run in runs} for name in names}
    return [name for name in names if len(values[name]) > 1]


def described(run: Run, names: Collection[str]) -> str:
    """Name a run in a line by its notebook and these parameters; without any, by those that the grid gives."""
    shown = [name for name in names if name in run.parameters] or ([] if names else list(run.given))
    return ", ".join([run.notebook, *(f"{name} {_text(run.parameters[name])}" for name in shown)])


def write_summary(out: Path, grid: Grid, outcomes: Sequence[RunOutcome]) -> Path:
    """Write ``index.html``, ``summary.csv`` and ``summary.json``, a row for each outcome; returns the page."""
    numbers = list(dict.fromkeys(name for outcome in outcomes for name in outcome.numbers))
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.run.parameters))
    with atomic_path(out / "summary.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")  # a parameter and a number of one name have a column each
        writer.writerow(["run", "notebook", *names, "status", "seconds", *numbers, "error", "report"])
        for one in outcomes:
            given, found = map(one.run.parameters.get, names), map(one.numbers.get, numbers)
            row = [one.run.key, one.run.notebook, *given, one.status, one.seconds, *found, one.error, one.page]
            writer.writerow(row)
    rows = [
        {
            "run": one.run.key,
            "notebook": one.run.notebook,
            "parameters": one.run.parameters,
            "status": one.status,
            "error": one.error,
            "seconds": one.seconds,
            "numbers": dict(one.numbers),
            "report": one.page,
        }
        for one in outcomes
    ]
    summary = {"sweep": FORMAT, "grid": grid.model_dump(mode="json"), "runs": rows, "provenance": provenance()}
    write_json(out / "summary.json", summary)
    with atomic_path(out / "index.html") as temporary:
        temporary.write_text(_summary_page(out, outcomes, numbers), encoding="utf-8")
    return out / "index.html"


def _summary_page(out: Path, outcomes: Sequence[RunOutcome], numbers: Sequence[str]) -> str:
    names = varying(one.run for one in outcomes)
    notebooks = list(dict.fromkeys(one.run.notebook for one in outcomes))
    common = outcomes[0].run.parameters if len(notebooks) == 1 else {}
    fixed = [f"{name} {_text(value)}" for name, value in common.items() if name not in [*names, OUT]]
    count = Counter(one.status for one in outcomes)
    sentence = [f"{count['ok']} of {len(outcomes)} runs ran to the end without an error"]
    sentence += [f"{count['failed']} failed"] if count["failed"] else []
    sentence += [f"{count['not run']} not run yet"] if count["not run"] else []
    total = sum(one.seconds or 0.0 for one in outcomes)
    mine = {one.run.key for one in outcomes}
    others = sum(path.parent.name not in mine for path in out.glob("runs/[!.]*/run.json"))
    templates = files("hsds_lib.reports") / "templates"
    return render(
        "sweep.html.j2",
        title=f"Sweep of {', '.join(notebooks)}",
        sweep_style=(templates / "sweep.css").read_text(encoding="utf-8"),
        sweep_script=(templates / "sweep.js").read_text(encoding="utf-8"),
        sentence=f"{', '.join(sentence)}; {duration(total)} in all, added up over the workers.",
        fixed=f"The same in all runs: {', '.join(fixed)}." if fixed else "",
        others=others,
        several=len(notebooks) > 1,
        names=names,
        numbers=numbers,
        outcomes=outcomes,
        labels=[described(one.run, names) for one in outcomes],
        text=_text,
        duration=duration,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, default=repr)
