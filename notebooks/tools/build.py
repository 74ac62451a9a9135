"""Build the notebooks: ``python -m notebooks.tools.build [--check] [NAME ...]``.

Every ``notebooks/src/NAME.py`` is executed with its default parameters and becomes ``notebooks/NAME.ipynb``, with only
those outputs stored that are the same on every machine. ``--check`` executes nothing: it compares stored notebooks with
their sources.
"""

from __future__ import annotations

import argparse
import copy
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from hsds_lib.reports.notebook import KERNEL_NAME, find_notebooks, first_error, kernel_environment, kernel_manager, tags
from hsds_lib.runtime import atomic_path
from notebooks.tools.outputs import OutputError, normalise_outputs
from notebooks.tools.source import SOLUTIONS, SourceError, sources, versions

CELL_TIMEOUT = 120
"""Seconds a cell may take with the default parameters, as in the tests."""
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class BuildError(RuntimeError):
    """A notebook that could not be built; the message names notebook and cell, and holds the traceback."""


def build(names: Iterable[str] | None = None, *, notebooks: Path | None = None) -> list[Path]:
    """Execute all sources, or those named, and write the notebooks; returns the files written.

    Raises BuildError when cells failed, after all notebooks were tried; a failed one keeps the content it had.
    """
    notebooks = notebooks or find_notebooks()
    written, failures = [], []
    wanted = [item for source in sources(notebooks, names) for item in versions(source, notebooks).items()]
    for target, notebook in wanted:
        label, start = _label(target, notebooks), time.perf_counter()
        try:
            _execute(notebook, label=label)
        except BuildError as error:
            failures.append(str(error))
            print(f"failed {label} ({time.perf_counter() - start:.1f} s)", flush=True)
            continue
        with atomic_path(target) as temporary:
            # Bytes: the same line ends on every system.
            temporary.write_bytes((nbformat.writes(notebook) + "\n").encode())
        written.append(target)
        print(f"built {label} ({time.perf_counter() - start:.1f} s)", flush=True)
    if failures:
        raise BuildError("\n".join(failures))
    return written


def _execute(notebook: NotebookNode, *, label: str) -> None:
    # Running adds the interpreter's version and the state of widgets, which differ between machines.
    metadata = copy.deepcopy(notebook.metadata)
    with tempfile.TemporaryDirectory(prefix="hsds-build-") as folder:
        # An empty working folder: a cell that reads or leaves a file beside the notebook is noticed.
        work = Path(folder) / "work"
        work.mkdir()
        environment = kernel_environment(Path(folder) / "ipython", **_plain_machine(Path(folder)))
        started = [0]
        client = NotebookClient(
            notebook,
            on_cell_start=lambda cell, cell_index: started.append(cell_index),
            timeout=CELL_TIMEOUT,
            record_timing=False,
            kernel_name=KERNEL_NAME,
            kernel_manager_class=kernel_manager(environment),
            resources={"metadata": {"path": str(work)}},
        )
        try:
            client.execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise BuildError(_failure(notebook, error, last=started[-1], label=label)) from None
    notebook.metadata = metadata
    try:
        normalise_outputs(notebook)
    except OutputError as error:
        raise BuildError(f"{label}, {error}") from None


def _plain_machine(folder: Path) -> dict[str, str | None]:
    """Variables that make a notebook come out as on a machine with nothing but the course on it."""
    import matplotlib  # not at the top: --check does without it, and is quick

    return {
        **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")},
        "PYTHONHASHSEED": "0",
        "HSDS_DATA": None,
        "HSDS_FIXTURES": None,
        "CUDA_VISIBLE_DEVICES": "",
        # Downloaded weights and photographs lie in the cache; matplotlib keeps its own, which is slow to make,
        # and reads no personal settings there.
        "XDG_CACHE_HOME": str(folder / "cache"),
        "MPLCONFIGDIR": matplotlib.get_cachedir(),
    }


def _failure(notebook: NotebookNode, error: Exception, *, last: int, label: str) -> str:
    found = first_error(notebook)
    # A kernel that died leaves no error output: then the cell started last is the one.
    place = found[0] if found else last
    reason = f"took longer than {CELL_TIMEOUT} s" if isinstance(error, CellTimeoutError) else "failed"
    trace = "\n".join(found[1].traceback) if found else f"{type(error).__name__}: {error}"
    source = "\n".join(f"    {line}" for line in notebook.cells[place].source.splitlines())
    return f"{label}, cell {place + 1} {reason}:\n{source}\n{_ANSI.sub('', trace)}"


def check(names: Iterable[str] | None = None, *, notebooks: Path | None = None) -> list[str]:
    """Compare stored notebooks with their sources, executing nothing; one sentence for each finding.

    Without names, files without a source are findings, too.
    """
    notebooks = notebooks or find_notebooks()
    findings, expected = [], set()
    for source in sources(notebooks, names):
        try:
            found = versions(source, notebooks)
        except SourceError as error:
            findings.append(str(error))
            expected |= {notebooks / f"{source.stem}.ipynb", notebooks / SOLUTIONS / f"{source.stem}.ipynb"}
            continue
        for target, wanted in found.items():
            expected.add(target)
            findings += [f"{_label(target, notebooks)}: {finding}" for finding in _differences(target, wanted)]
    if names is None:
        present = {*notebooks.glob("*.ipynb"), *(notebooks / SOLUTIONS).glob("*.ipynb")}
        findings += [f"{_label(path, notebooks)}: no source in src makes it" for path in sorted(present - expected)]
    return findings


def _differences(target: Path, wanted: NotebookNode) -> list[str]:
    if not target.is_file():
        return ["is missing"]
    try:
        stored = nbformat.reads(target.read_text(encoding="utf-8"), as_version=nbformat.NO_CONVERT)
    except (ValueError, nbformat.reader.NotJSONError) as error:
        return [f"is no notebook ({error})"]
    if stored.get("metadata") != wanted.metadata or stored.get("nbformat_minor") != wanted.nbformat_minor:
        return ["its metadata are not what the builder writes"]
    if len(stored.cells) != len(wanted.cells):
        return [f"has {len(stored.cells)} cells, its source has {len(wanted.cells)}"]
    findings, count = [], 0
    for number, (have, want) in enumerate(zip(stored.cells, wanted.cells, strict=True), start=1):
        count += want.cell_type == "code"
        parts = [part for part in ("cell_type", "source", "id", "metadata") if have.get(part) != want.get(part)]
        if parts:
            findings.append(f"cell {number} differs from its source ({', '.join(parts)})")
        elif want.cell_type == "code":
            findings += [f"cell {number} {problem}" for problem in _output_problems(have, count)]
    return findings


def _output_problems(cell: NotebookNode, count: int) -> list[str]:
    problems = []
    if cell.execution_count is None:
        problems.append("was not executed")
    elif cell.execution_count != count:
        problems.append(f"has execution count {cell.execution_count} instead of {count}")
    if any(output.output_type == "error" for output in cell.outputs):
        problems.append("holds an error")
    if "verdict" in tags(cell) and not cell.outputs:
        problems.append("is a verdict without stored text")
    if not {"verdict", "hero"} & set(tags(cell)) and cell.outputs:
        problems.append("stores an output, though it is neither verdict nor hero")
    return problems


def _label(path: Path, notebooks: Path) -> str:
    return path.relative_to(notebooks.parent).as_posix()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m notebooks.tools.build", description="Build the notebooks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 05_dual_search; default: all")
    parser.add_argument("--check", action="store_true", help="only compare notebooks with their sources")
    options = parser.parse_args(arguments)
    names = options.names or None
    try:
        if not options.check:
            build(names)
            return 0
        findings = check(names)
    except (BuildError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for finding in findings:
        print(finding, file=sys.stderr)
    if findings:
        print("the notebooks are not what notebooks/src says; run `make notebooks`", file=sys.stderr)
        return 1
    print("notebooks and sources agree")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
