"""Execute notebooks with papermill and write each as a page that says how it came about."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from hsds_lib.course.tables import headline_numbers
from hsds_lib.outputs import own_folder
from hsds_lib.reports.notebook import (
    KERNEL_NAME,
    find_notebooks,
    first_error,
    join_streams,
    kernel_environment,
    kernel_manager,
    tags,
)
from hsds_lib.reports.page import report_page
from hsds_lib.reports.record import (
    FORMAT,
    data_facts,
    duration,
    holds_reports,
    machine_facts,
    page_facts,
    write_index,
    write_thumbnail,
)
from hsds_lib.runtime import atomic_path, provenance, write_json

CELL_TIMEOUT = 600.0
"""Seconds that a cell may take unless the preset is ``paper``."""
_PAPERMILL_MARKER = "papermill-error-cell-tag"
_FIGURE = re.compile(r"\d\d+\.(svg|pdf|png)")  # as show() numbers them


@dataclass(frozen=True)
class ReportResult:
    """What became of one notebook."""

    name: str
    title: str
    html: Path
    seconds: float  # of the execution
    error: str | None  # one sentence; None when every cell ran

    @property
    def ok(self) -> bool:
        """Whether every cell ran."""
        return self.error is None


@dataclass(frozen=True)
class ReportJob:
    """A notebook, the defaults of its ``parameters`` cell, and the values that are given instead."""

    path: Path
    defaults: dict[str, Any]
    given: dict[str, Any]


def run_reports(
    names: Sequence[str] | None = None,
    *,
    parameters: Mapping[str, Any] | None = None,
    out: str | Path = "reports",
    notebooks: Path | None = None,
    timeout: float | Literal["auto"] | None = "auto",
    figures: bool = False,
) -> list[ReportResult]:
    """Execute notebooks and write ``NAME.html``, ``NAME.json``, ``NAME.ipynb`` and ``index.html`` into ``out``.

    A failing notebook gets its page too, up to the cell that failed, and the others still run; reports of earlier runs
    stay on the index. Each parameter goes to the notebooks that know it; a notebook or parameter that is unknown, or a
    folder that holds anything but reports, is a ``ValueError`` before anything is executed. ``timeout`` is in seconds
    for a cell; "auto" is ten minutes, and no limit for the preset ``paper``. With ``figures``, each is in
    ``NAME_figures`` as SVG, PDF and PNG as well.
    """
    parameters = dict(parameters or {})
    notebooks = notebooks or find_notebooks()
    jobs = _jobs(select_notebooks(notebooks, names), parameters)
    if timeout == "auto":
        timeout = cell_limit(parameters)
    out = own_folder(out, "hsds report", notebooks, *(job.path for job in jobs), adopt=holds_reports)
    pages = {job.path.stem for job in jobs} | {page.stem for page in out.glob("*.html")}
    results = []
    for job in jobs:
        print(f"{job.path.stem} ... ", end="", flush=True)
        result = execute_report(job, out, pages=pages, timeout=timeout, figures=figures)
        results.append(result)
        print(f"{'ok' if result.ok else 'FAILED'}, {duration(result.seconds)}", flush=True)
        if result.error:
            print(f"    {result.error}", flush=True)
        # After each one, so that an interrupted run leaves an index over what it finished.
        write_index(out)
    return results


def known_parameters(path: Path) -> dict[str, Any]:
    """Parameters of a notebook and their default values, as papermill reads them from its ``parameters`` cell."""
    return {name: _value(found["default"]) for name, found in papermill.inspect_notebook(_literal(path)).items()}


def cell_limit(parameters: Mapping[str, Any]) -> float | None:
    """Seconds that a cell may take with these parameters; None for no limit."""
    return None if parameters.get("preset") == "paper" else CELL_TIMEOUT


def select_notebooks(notebooks: Path, names: Sequence[str] | None) -> list[Path]:
    """Paths of the built notebooks in a folder, those of the given names or all.

    None at all is a ``FileNotFoundError``, an unknown name a ``ValueError`` with the known ones.
    """
    known = {path.stem: path for path in sorted(notebooks.resolve().glob("*.ipynb"))}
    if not known:
        raise FileNotFoundError(f"there are no notebooks in {notebooks}; build them with `make notebooks`")
    if names is None:
        return list(known.values())
    wanted = [Path(name).stem for name in names]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"no notebook is called {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(wanted)]


def _jobs(paths: Iterable[Path], parameters: Mapping[str, Any]) -> list[ReportJob]:
    found = {path: known_parameters(path) for path in paths}
    known = sorted({name for defaults in found.values() for name in defaults})
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(
            f"unknown parameter {', '.join(unknown)}; the notebooks asked for know {', '.join(known) or 'none'}"
        )
    return [
        ReportJob(path, defaults, {name: value for name, value in parameters.items() if name in defaults})
        for path, defaults in found.items()
    ]


def execute_report(
    job: ReportJob,
    out: Path,
    *,
    pages: set[str],
    timeout: float | None,
    figures: bool = False,
    index: str = "index.html",
) -> ReportResult:
    """Execute one notebook and write its page, its record and itself into a folder that exists.

    Links may lead to ``pages``, notebooks whose pages lie beside this one; ``index`` is where this one finds the
    overview. A notebook that fails is a result too.
    """
    name = job.path.stem
    executed = out / f"{name}.ipynb"
    executed.unlink(missing_ok=True)
    start = time.perf_counter()
    folder = out / f"{name}_figures" if figures else None
    if folder is not None:
        folder.mkdir(exist_ok=True)
        for old in () if folder.is_symlink() else folder.iterdir():
            if _FIGURE.fullmatch(old.name):
                old.unlink()
    raised = _execute(job, executed, timeout=timeout, figures=folder)
    seconds = time.perf_counter() - start
    notebook = _executed(executed if executed.is_file() else job.path, executed)
    error, failed_cell = _failure(notebook, raised, timeout)
    record: dict[str, Any] = {
        "report": FORMAT,
        "name": name,
        "title": _title(notebook, name),
        "status": "failed" if error else "ok",
        "error": error,
        "seconds": round(seconds, 3),
        "cell_seconds": _cell_seconds(notebook),
        "slowest_cells": _slowest(notebook),
        "parameters": job.defaults | job.given,
        "given": job.given,
        "numbers": headline_numbers(notebook),
        "notebook_sha256": hashlib.sha256(job.path.read_bytes()).hexdigest(),
        "thumbnail_alt": write_thumbnail(notebook, out / f"{name}.jpg"),
        "data": data_facts((job.defaults | job.given).get("data")),
        "provenance": provenance(HSDS_DATA=os.environ.get("HSDS_DATA"), **machine_facts()),
    }
    html = out / f"{name}.html"
    page = report_page(notebook, page_facts(record, failed_cell=failed_cell, index=index), pages=pages)
    with atomic_path(html) as temporary:
        temporary.write_text(page, encoding="utf-8")
    write_json(out / f"{name}.json", record)
    return ReportResult(name, record["title"], html, seconds, error)


def _execute(job: ReportJob, executed: Path, *, timeout: float | None, figures: Path | None) -> Exception | None:
    """Run one notebook; what stopped it is returned, so that the report can still be written."""
    # Whatever a cell writes without saying where lies here, and is kept.
    work = executed.with_name(f"{job.path.stem}_files")
    work.mkdir(exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="hsds-report-") as folder:
            papermill.execute_notebook(
                _literal(job.path),
                _literal(executed),
                parameters=job.given,
                kernel_name=KERNEL_NAME,
                kernel_manager_class=kernel_manager(
                    kernel_environment(folder, HSDS_FIGURES=str(figures) if figures else None)
                ),
                execution_timeout=timeout,
                cwd=str(work),
                progress_bar=False,
            )
    except Exception as error:  # a dead kernel, a time limit, a failing cell: all end up in the report
        return error
    finally:
        for place in filter(None, (work, figures)):
            if not any(place.iterdir()):
                place.rmdir()
    return None


def _literal(path: Path) -> str:
    """A path for papermill, which would take what stands in braces for parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _executed(found: Path, executed: Path) -> NotebookNode:
    """The notebook as it was left, without papermill's own remarks and with its prints in one piece; written back."""
    notebook = nbformat.read(found, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if _PAPERMILL_MARKER not in tags(cell)]
    join_streams(notebook)
    with atomic_path(executed) as temporary:
        nbformat.write(notebook, temporary)
    return notebook


def _failure(notebook: NotebookNode, raised: Exception | None, timeout: float | None) -> tuple[str | None, str | None]:
    """Sentence and id of the failing cell; by the outputs, since papermill does not mark a cell that timed out."""
    found = first_error(notebook)
    # papermill also complains at the end of errors in cells that may raise.
    meant = isinstance(raised, PapermillExecutionError) and any(
        output.output_type == "error" for cell in notebook.cells for output in cell.get("outputs", [])
    )
    if found is None and (raised is None or meant):
        return None, None
    if found is not None:
        cell, output = notebook.cells[found[0]], found[1]
        # All that an interrupted kernel says of a time limit is KeyboardInterrupt.
        interrupted = output.ename == "KeyboardInterrupt" and raised is not None
        reason = (
            f"time limit of {timeout:.0f} s for a cell reached"
            if interrupted and timeout
            else f"{output.ename}: {output.evalue.strip()}"
        )
    else:
        # The kernel died, or never started: the last cell that was begun is the one.
        begun = (cell for cell in reversed(notebook.cells) if cell.cell_type == "code" and _begun(cell))
        cell = next(begun, None)
        if isinstance(raised, DeadKernelError):
            reason = "the kernel died (out of memory, for example)"
        else:
            reason = f"{type(raised).__name__}: {' '.join(str(raised).split())[:300]}"
    if cell is None:
        return reason, None
    return f"{reason}, in the cell that starts with {cell.source.splitlines()[0]!r}", cell.get("id")


def _begun(cell: NotebookNode) -> bool:
    return cell.metadata.get("papermill", {}).get("start_time") is not None


def _title(notebook: NotebookNode, name: str) -> str:
    lines = (line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines())
    # Titles are shown as plain text: without the marks for emphasis, code and formulas.
    return next((re.sub(r"[*`$]", "", line[2:]).strip() for line in lines if line.startswith("# ")), name)


def _cell_seconds(notebook: NotebookNode) -> list[float]:
    timings = (cell.metadata.get("papermill", {}).get("duration") for cell in notebook.cells)
    return [round(seconds, 3) for seconds in timings if seconds is not None]


def _slowest(notebook: NotebookNode, count: int = 5) -> list[tuple[float, str, str]]:
    """Seconds, first line and id of the cells that took longest."""
    timed = [
        (cell.metadata.get("papermill", {}).get("duration") or 0.0, cell.source.partition("\n")[0], cell.get("id", ""))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    slowest = sorted(timed, key=lambda entry: -entry[0])[:count]
    return [(round(seconds, 1), line, cell) for seconds, line, cell in slowest if seconds >= 0.1]


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
