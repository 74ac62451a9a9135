"""Metrics of files: one fused image, or a folder of them in several processes; scores are kept once they are known.

Kept scores are JSON, a file a picture, found again by the hashes of all that they depend on.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch

from hsds_lib.evaluation.metrics import CORRECT_FORM, METRICS, PAPER_METRICS, all_metrics
from hsds_lib.evaluation.picture import to_pixels
from hsds_lib.images.datasets import ImageError, require_image
from hsds_lib.images.folders import SceneFiles, look, pair_of, picture_ending
from hsds_lib.images.io import read_rgb
from hsds_lib.outputs import OutputError, require_apart
from hsds_lib.runs.progress import memory_advice
from hsds_lib.runs.sources import code_hash
from hsds_lib.runtime import RunError, atomic_path, read_json, write_json

Scores = Mapping[str, float | None]
"""What :func:`hsds_lib.evaluation.metrics.all_metrics` gives: None where a metric has no value."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class SceneScores:
    """What became of one scene of a folder: ``problem`` is None when it was scored."""

    name: str
    scores: Scores = field(default_factory=dict)
    problem: str | None = None


def score_files(
    under: str | Path, over: str | Path, fused: str | Path, ref: str | Path | None = None
) -> dict[str, float | None]:
    """Compute all metrics of a fused image file, as :func:`hsds_lib.evaluation.metrics.all_metrics` does of arrays.

    A file that cannot be read is an ``ImageError``, different sizes are a ``ValueError``, too little memory a
    ``RunError``.
    """
    with memory_advice("the size of the pictures"):
        first, second, third = (to_pixels(read_rgb(path)) for path in (under, over, fused))
        return all_metrics(first, second, third, None if ref is None else to_pixels(read_rgb(ref)))


def score_folder(pairs: str | Path, fused: str | Path, *, workers: int = 1) -> Iterator[SceneScores]:
    """Score ``fused/<scene>.*``, or ``<scene>_<method>.*``, for every scene of ``pairs``, one result each, in order.

    A scene that cannot be scored is reported and the others go on. ``DataError``: ``pairs`` holds no scenes, as
    :func:`hsds_lib.images.folders.look` finds them; ``ImageError``: ``fused`` is no folder; ``ValueError``: less than 1
    process; ``RunError``: a process ended early.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; give at least 1 process")
    scenes, folder = look(pairs).found, Path(fused)
    if not folder.is_dir():
        raise ImageError(f"'{fused}' is not a folder; give the one that holds <scene>.png of every scene")
    work = partial(_score_scene, fused=folder, ending=picture_ending(folder, scenes))
    yield from in_processes(work, list(scenes.items()), workers=workers)


def in_processes(work: Callable[[_Item], _Result], items: Sequence[_Item], *, workers: int = 1) -> Iterator[_Result]:
    """Do the same work on every item, in several processes of one thread each, and give the results in order.

    ``work`` is a function of a module, or a ``partial`` of one; one worker is this process. ``RunError``: a process
    ended early, for example for want of memory.
    """
    count = min(workers, len(items))
    if count <= 1:
        yield from map(work, items)
        return
    # A forked copy of a process that has used torch may hang, so each worker starts afresh.
    fresh = get_context("spawn")
    try:
        with ProcessPoolExecutor(count, mp_context=fresh, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(work, items)
    except BrokenProcessPool:
        raise RunError("a scoring process ended early, perhaps for want of memory; use fewer workers") from None


def score_once(paths: tuple[SceneFiles, Path, str], folder: Path) -> Scores:
    """Give the scores of ``(scene, fused picture, key)`` from the folder of kept scores, or compute and keep them."""
    scene, fused, key = paths
    try:
        found = read_json(folder / f"{key}.json")["scores"]
        return {name: None if found[name] is None else float(found[name]) for name in METRICS}
    except (OSError, ValueError, KeyError, TypeError):  # not there, or damaged
        scores = score_files(scene.under, scene.over, fused, scene.ref)
        write_json(folder / f"{key}.json", {"fused": fused.as_posix(), "scene": scene.name, "scores": scores})
        return scores


def score_or_say(paths: tuple[SceneFiles, Path, str], folder: Path) -> Scores | str:
    """Do as :func:`score_once`, but say it in words where there is too little memory, so that the others go on."""
    try:
        return score_once(paths, folder)
    except RunError as error:
        return f"{paths[1]} ({error})"


def metric_version() -> str:
    """Say which version of the metrics this is: a hash of their code and of the packages that they compute with."""
    return code_hash("hsds_lib.evaluation.metrics", "hsds_lib.images.io")


def mean_scores(scores: Sequence[Scores]) -> dict[str, float | None]:
    """Average every metric over the scenes in which it has a value; None where no scene has one.

    Example:
        >>> mean_scores([{"EN": 7.0, "CC": None}, {"EN": 6.0, "CC": 0.5}])
        {'CC': 0.5, 'EN': 6.5}
    """
    means: dict[str, float | None] = {}
    for name in _names(scores):
        values = [value for row in scores if (value := row.get(name)) is not None]
        means[name] = sum(values) / len(values) if values else None
    return means


def require_scores_file(path: str | Path, *inputs: str | Path) -> None:
    """Refuse, as ``OutputError``, to write scores over anything but scores: a CSV that :func:`write_scores` wrote."""
    path = Path(path)
    if path.suffix.lower() != ".csv":
        raise OutputError(f"the output {path} is not called .csv; scores are written as CSV")
    require_apart(path, *inputs)
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        header = stream.readline(10_000).strip().split(",")
    if header != [""] and (header[0] != "scene" or not {*header[1:]} <= {*METRICS}):
        raise OutputError(f"{path} is there already, and `hsds metrics` did not write it; name another file")


def write_scores(path: str | Path, scores: Mapping[str, Scores]) -> None:
    """Write one row per scene as CSV, atomically and with all digits; a cell is empty where there is no value.

    Means are not written: a row of them would be taken for a scene.
    """
    names = _names(list(scores.values()))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["scene", *names])
        for scene, row in scores.items():
            writer.writerow([scene, *(row.get(name) for name in names)])


def score_table(scores: Scores) -> str:
    """Lay scores out for reading: the paper's metrics as the paper computes them and correctly, then the others.

    Example:
        >>> print(score_table({"SD": 10.2, "EN": 7.25, "SD_double": 41.5, "VIFF": None}))
                              as in the paper     correct
        SD                            10.2000     41.5000
        EN                             7.2500      7.2500
        VIFF                                            -
    """
    lines = [f"{'':20}{'as in the paper':>17}{'correct':>12}"]
    for name in PAPER_METRICS:
        if name in scores:
            correct = scores.get(CORRECT_FORM.get(name, name))
            lines.append(f"{name:20}{_number(scores[name]):>17}{_number(correct):>12}")
    beside = {*PAPER_METRICS, *CORRECT_FORM.values()}
    lines += [f"{name:20}{'':17}{_number(value):>12}" for name, value in scores.items() if name not in beside]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _names(scores: Sequence[Scores]) -> list[str]:
    """All metrics that some scene has, in the order of ``METRICS``."""
    return [name for name in METRICS if any(name in row for row in scores)]


def _score_scene(item: tuple[str, SceneFiles | str], fused: Path, ending: str) -> SceneScores:
    name, scene = item
    if isinstance(scene, str):
        return SceneScores(name, problem=scene)
    try:
        pair, picture = pair_of(name, scene), require_image(fused, f"{name}{ending}")
        return SceneScores(name, score_files(pair.under, pair.over, picture, pair.ref))
    except (ValueError, OSError, RunError) as error:
        return SceneScores(name, problem=str(error))
