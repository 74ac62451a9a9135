"""The summary of a sweep: a page with a table that can be sorted, and the same as CSV and JSON."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from hsds_lib.reports.page import render
from hsds_lib.reports.record import duration
from hsds_lib.reports.sweep_grid import OUT, Grid, Run
from hsds_lib.reports.sweep_run import Outcome
from hsds_lib.runtime import atomic_path, provenance, write_json

FORMAT = 1
"""Version of ``summary.json``."""


def varying(runs: Iterable[Run]) -> list[str]:
    """Find the parameters that differ between runs, those that only some notebooks know included.

    Args:
        runs: the runs of a sweep.

    Returns:
        Names, in the order of the notebooks' parameters cells.

    Example:
        >>> runs = [Run("toy", Path(), "", "", {"seed": seed}, {"preset": "tiny", "seed": 0}) for seed in (0, 1)]
        >>> varying(runs)
        ['seed']
    """
    runs = list(runs)
    names = dict.fromkeys(name for run in runs for name in run.parameters)
    values = {name: {_text(run.parameters[name]) if name in run.parameters else None for run in runs} for name in names}
    return [name for name in names if len(values[name]) > 1]


def described(run: Run, names: Collection[str]) -> str:
    """Name a run by its notebook and some of its parameters.

    Args:
        run: the run.
        names: the parameters to tell; those that the grid gives when there are none.

    Returns:
        One line.

    Example:
        >>> described(Run("toy", Path(), "", "", {"seed": 1}, {"preset": "tiny", "seed": 0}), ["seed"])
        'toy, seed 1'
    """
    shown = [name for name in names if name in run.parameters] or ([] if names else list(run.given))
    return ", ".join([run.notebook, *(f"{name} {_text(run.parameters[name])}" for name in shown)])


def write_summary(out: Path, grid: Grid, outcomes: Sequence[Outcome]) -> Path:
    """Write ``index.html``, ``summary.csv`` and ``summary.json``.

    Args:
        out: the folder of the sweep.
        grid: where the runs come from.
        outcomes: one for each run, in order.

    Returns:
        The page.

    Example:
        >>> import tempfile
        >>> run = Run("toy", Path("toy.ipynb"), "5e", "a0", {"seed": 1}, {"seed": 0})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = write_summary(Path(folder), Grid(notebook="toy"), [Outcome(run)])
        ...     print(page.with_name("summary.csv").read_text())
        run,notebook,seed,status,seconds,error,report
        a0,toy,1,not run,,,
    """
    numbers = list(dict.fromkeys(name for outcome in outcomes for name in outcome.numbers))
    _write_csv(out / "summary.csv", outcomes, numbers)
    write_json(
        out / "summary.json",
        {
            "sweep": FORMAT,
            "grid": grid.model_dump(mode="json"),
            "runs": [_plain(outcome) for outcome in outcomes],
            "provenance": provenance(),
        },
    )
    page = render("sweep.html.j2", **_page_values(out, outcomes, numbers))
    with atomic_path(out / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out / "index.html"


def _plain(outcome: Outcome) -> dict[str, Any]:
    run = outcome.run
    return {
        "run": run.key,
        "notebook": run.notebook,
        "parameters": run.parameters,
        "status": outcome.status,
        "error": outcome.error,
        "seconds": outcome.seconds,
        "numbers": dict(outcome.numbers),
        "report": outcome.page,
    }


def _write_csv(path: Path, outcomes: Sequence[Outcome], numbers: Sequence[str]) -> None:
    """A row for each run; a parameter and a number of the same name have a column each."""
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.run.parameters))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["run", "notebook", *names, "status", "seconds", *numbers, "error", "report"])
        for outcome in outcomes:
            run = outcome.run
            given = [run.parameters.get(name) for name in names]
            found = [outcome.numbers.get(name) for name in numbers]
            state = [outcome.status, outcome.seconds]
            writer.writerow([run.key, run.notebook, *given, *state, *found, outcome.error, outcome.page])


def _page_values(out: Path, outcomes: Sequence[Outcome], numbers: Sequence[str]) -> dict[str, Any]:
    names = varying(outcome.run for outcome in outcomes)
    several = len({outcome.run.notebook for outcome in outcomes}) > 1
    rows: list[dict[str, Any]] = [
        {
            "label": described(outcome.run, names),
            "number": number,
            "title": f"{number} · {outcome.run.notebook}" if several else f"Run {number}",
            "page": outcome.page,
            "status": outcome.status,
            "error": outcome.error,
            "parameters": [_cell(outcome.run.parameters.get(name, "–")) for name in names],
            "numbers": [_cell(outcome.numbers.get(name, "–")) for name in numbers],
            "time": "–" if outcome.seconds is None else duration(outcome.seconds),
            "seconds": outcome.seconds,
        }
        for number, outcome in enumerate(outcomes, start=1)
    ]
    numeric = [all(row["parameters"][column]["number"] for row in rows) for column in range(len(names))]
    common = outcomes[0].run.parameters if outcomes and not several else {}
    fixed = [f"{name} {_text(value)}" for name, value in common.items() if name not in [*names, OUT]]
    notebooks = list(dict.fromkeys(outcome.run.notebook for outcome in outcomes))
    templates = files("hsds_lib.reports") / "templates"
    return {
        "title": f"Sweep of {', '.join(notebooks)}",
        "sweep_style": (templates / "sweep.css").read_text(encoding="utf-8"),
        "sweep_script": (templates / "sweep.js").read_text(encoding="utf-8"),
        "sentence": _sentence(outcomes),
        "fixed": f"The same in all runs: {', '.join(fixed)}." if fixed else "",
        "others": _others(out, outcomes),
        "first": "Notebook" if several else "Run",
        "names": list(zip(names, numeric, strict=True)),
        "numbers": numbers,
        "rows": rows,
    }


def _sentence(outcomes: Sequence[Outcome]) -> str:
    count = Counter(outcome.status for outcome in outcomes)
    parts = [f"{count['ok']} of {len(outcomes)} runs ran to the end without an error"]
    parts += [f"{count['failed']} failed"] if count["failed"] else []
    parts += [f"{count['not run']} not run yet"] if count["not run"] else []
    total = sum(outcome.seconds or 0.0 for outcome in outcomes)
    return f"{', '.join(parts)}; {duration(total)} in all, added up over the workers."


def _others(out: Path, outcomes: Sequence[Outcome]) -> str:
    """Say how many runs lie there that are not of this grid, or of an earlier source of a notebook."""
    mine = {outcome.run.key for outcome in outcomes}
    count = sum(path.parent.name not in mine for path in out.glob("runs/[!.]*/run.json"))
    if not count:
        return ""
    return f"Besides these, the folder runs holds {count} of other grids or of earlier versions of a notebook."


def _cell(value: Any) -> dict[str, Any]:
    """A cell of the table; numbers are aligned and sorted as numbers."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = f"{value:.4g}" if isinstance(value, float) else _text(value)
    return {"text": text, "number": number, "sort": value if number else text}


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, default=repr)
