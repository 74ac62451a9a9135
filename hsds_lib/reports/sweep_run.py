"""One run of a sweep: what a worker does, and the folder in which it leaves the result."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hsds_lib.reports.execute import Job, cell_limit, execute_report
from hsds_lib.reports.sweep_grid import OUT, Run
from hsds_lib.reports.sweep_share import SweepError, library_hash, sees_folder
from hsds_lib.runtime import atomic_path, read_json, write_json

FORMAT = 1
"""Version of ``run.json``; a run that was written in another one is done again."""
RECORD = "run.json"
_INDEX = "../../index.html"


@dataclass(frozen=True)
class Order:
    """What a worker is told to do; all paths are within the folder of the sweep.

    Attributes:
        out: the folder of the sweep.
        token: what the file written by ``share_folder`` says, by which a worker knows that it sees the same folder.
        library: ``library_hash`` of the process that made the order.
        key: names the run and its folder.
        notebook: where the notebook lies, relative to ``out``.
        given: parameters.
        defaults: the notebook's parameters with their defaults.

    Example:
        >>> order = Order("sweeps/first", "0", library_hash(), "a0", "source/5e/toy.ipynb", {"seed": 1}, {"seed": 0})
        >>> order.given
        {'seed': 1}
    """

    out: str
    token: str
    library: str
    key: str
    notebook: str
    given: dict[str, Any]
    defaults: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of one run.

    Attributes:
        run: the run.
        status: ``ok``, ``failed``, or ``not run``, which is what is left when a sweep is stopped.
        error: one sentence, for a failed run.
        seconds: of the execution; None where it is not known.
        numbers: what the notebook shows as its headline.
        page: address of the report relative to the sweep's folder; empty where there is none.
        library: hash of the library that it was made with.

    Example:
        >>> Outcome(Run("toy", Path("toy.ipynb"), "5e", "a0", {}, {})).status
        'not run'
    """

    run: Run
    status: Literal["ok", "failed", "not run"] = "not run"
    error: str | None = None
    seconds: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    page: str = ""
    library: str = ""


def make_order(run: Run, out: Path, token: str) -> Order:
    """Copy the run's notebook into the sweep's folder, where workers find it, and write down what to do.

    Args:
        run: the run.
        out: the folder of the sweep.
        token: as ``share_folder`` gave it.

    Returns:
        The order.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "toy.ipynb"
        ...     _ = path.write_text("{}")
        ...     make_order(Run("toy", path, "5e", "a0", {}, {}), Path(folder), "0").notebook
        'source/5e/toy.ipynb'
    """
    kept = Path("source", run.source, f"{run.notebook}.ipynb")
    if not (out / kept).is_file():
        with atomic_path(out / kept) as temporary:
            shutil.copyfile(run.path, temporary)
    own = {OUT: run.defaults[OUT]} if OUT in run.defaults else {}
    return Order(str(out), token, library_hash(), run.key, kept.as_posix(), run.given | own, run.defaults)


def carry_out(order: Order) -> None:
    """Execute one run and put its folder in place at the end, so that there is a whole result or none.

    Args:
        order: as ``make_order`` gave it.

    Raises:
        SweepError: this process does not see the sweep's folder, or runs another library.

    Example:
        >>> carry_out(Order("elsewhere", "0", library_hash(), "a0", "source/5e/toy.ipynb", {}, {}))
        Traceback (most recent call last):
        hsds_lib.reports.sweep_share.SweepError: ... does not see the folder elsewhere; ...
    """
    if not sees_folder(order.out, order.token):
        raise SweepError(
            f"the worker on {platform.node()} does not see the folder {order.out}; share it with all workers"
        )
    if library_hash() != order.library:
        raise SweepError(f"the worker on {platform.node()} runs another hsds_lib; install the same on all workers")
    out, path = Path(order.out), Path(order.out) / order.notebook
    with _new_folder(out, order.key) as folder:
        execute_report(
            Job(path, order.defaults, order.given),
            folder,
            pages={path.stem},
            timeout=cell_limit(order.given),
            index=_INDEX,
        )
        report = read_json(folder / f"{path.stem}.json")
        kept = {name: report[name] for name in ("status", "error", "seconds", "numbers")}
        _write_record(folder, order.key, path.stem, order.given, kept | {"library": order.library})


def record_failure(run: Run, out: Path, error: str) -> None:
    """Leave a failed run without a page, for one whose worker could not write anything.

    Args:
        run: the run.
        out: the folder of the sweep.
        error: one sentence.

    Example:
        >>> import tempfile
        >>> run = Run("toy", Path("toy.ipynb"), "5e", "a0", {}, {})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     record_failure(run, Path(folder), "its worker died")
        ...     outcome = find_outcome(run, Path(folder))
        >>> outcome.status, outcome.error, outcome.page
        ('failed', 'its worker died', '')
    """
    with _new_folder(out, run.key) as folder:
        kept: dict[str, Any] = {"status": "failed", "error": error, "seconds": None, "numbers": {}}
        _write_record(folder, run.key, run.notebook, run.given, kept | {"library": library_hash()})


def find_outcome(run: Run, out: Path) -> Outcome:
    """Read what earlier calls, or the workers, left of a run.

    Args:
        run: the run.
        out: the folder of the sweep.

    Returns:
        Its outcome; ``not run`` when there is nothing whole.

    Example:
        >>> find_outcome(Run("toy", Path("toy.ipynb"), "5e", "a0", {}, {}), Path("elsewhere")).status
        'not run'
    """
    folder = out / "runs" / run.key
    try:
        record = read_json(folder / RECORD)
    except (OSError, ValueError):
        return Outcome(run)
    if not isinstance(record, dict) or record.get("sweep") != FORMAT:
        return Outcome(run)
    page = f"runs/{run.key}/{run.notebook}.html"
    if not (out / page).is_file():
        if record["status"] == "ok":  # somebody removed it
            return Outcome(run)
        page = ""
    kept = {name: record[name] for name in ("status", "error", "seconds", "numbers", "library")}
    return Outcome(run, page=page, **kept)


def forget(run: Run, out: Path) -> None:
    """Remove a run, so that it counts as not done.

    Args:
        run: the run.
        out: the folder of the sweep.

    Example:
        >>> import tempfile
        >>> run = Run("toy", Path("toy.ipynb"), "5e", "a0", {}, {})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     record_failure(run, Path(folder), "its worker died")
        ...     forget(run, Path(folder))
        ...     find_outcome(run, Path(folder)).status
        'not run'
    """
    (out / "runs" / run.key / RECORD).unlink(missing_ok=True)  # what counts, and gone at once
    shutil.rmtree(out / "runs" / run.key, ignore_errors=True)


def clear_away(run: Run, out: Path) -> None:
    """Remove what dead workers left of a run: folders that were never put in place.

    Args:
        run: the run.
        out: the folder of the sweep.

    Example:
        >>> clear_away(Run("toy", Path("toy.ipynb"), "5e", "a0", {}, {}), Path("elsewhere")) is None
        True
    """
    for folder in (out / "runs").glob(f".{run.key}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _write_record(folder: Path, key: str, notebook: str, given: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    facts: dict[str, Any] = {
        "sweep": FORMAT,
        "key": key,
        "notebook": notebook,
        "parameters": given,
        "host": platform.node(),
    }
    write_json(folder / RECORD, facts | dict(kept))


@contextmanager
def _new_folder(out: Path, key: str) -> Iterator[Path]:
    """A folder to write a run into, moved to its place when the block ends well and removed when it does not."""
    final, folder = out / "runs" / key, out / "runs" / f".{key}-{secrets.token_hex(4)}"
    old = folder.with_name(f"{folder.name}-old")
    folder.mkdir(parents=True)
    try:
        yield folder
        if final.exists():  # a failed run, or one to be done again
            os.replace(final, old)
        os.replace(folder, final)
    finally:
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
