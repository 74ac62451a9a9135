"""Metrics of files: one fused image, or a folder of them in several processes, as a table or a CSV file."""

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
from hsds_lib.fusing.fuse import scene_folders
from hsds_lib.images.io import ImageError, find_image, read_rgb
from hsds_lib.runtime import RunError, atomic_path

Scores = Mapping[str, float | None]
"""What :func:`hsds_lib.evaluation.metrics.all_metrics` gives: None where a metric has no value."""


Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class SceneScores:
    """What became of one scene of a folder: ``problem`` is None when it was scored.

    Example:
        >>> SceneScores("garden", problem="no image named over.* in pairs/garden").scores
        {}
    """

    name: str
    scores: Scores = field(default_factory=dict)
    problem: str | None = None


def score_files(
    under: str | Path, over: str | Path, fused: str | Path, ref: str | Path | None = None
) -> dict[str, float | None]:
    """Compute all metrics of a fused image file; see :func:`hsds_lib.images.io.read_rgb` for formats.

    Args:
        under: the darker exposure.
        over: the brighter exposure.
        fused: the fused image.
        ref: the reference, if there is one.

    Returns:
        What :func:`hsds_lib.evaluation.metrics.all_metrics` gives.

    Raises:
        ImageError: if a file cannot be read as 8-bit RGB.
        ValueError: if the sizes differ.

    Example:
        >>> score_files("under.png", "over.png", "nowhere.png")
        Traceback (most recent call last):
        hsds_lib.images.io.ImageError: under.png does not exist; give an image file (...)
    """
    first, second, third = (to_pixels(read_rgb(path)) for path in (under, over, fused))
    return all_metrics(first, second, third, None if ref is None else to_pixels(read_rgb(ref)))


def score_folder(pairs: str | Path, fused: str | Path, *, workers: int = 1) -> Iterator[SceneScores]:
    """Score ``fused/<scene>.*`` for every ``pairs/<scene>/{under,over[,ref]}.*``, one result per scene, in order.

    A scene that cannot be scored is reported and the others go on.

    Args:
        pairs: a folder of scene folders.
        fused: the folder of fused images, each called as its scene.
        workers: processes to compute in; 1 computes in this one.

    Yields:
        The scores of a scene, or its problem in one sentence.

    Raises:
        ImageError: if ``pairs`` holds no scene folders or ``fused`` is no folder.
        ValueError: if ``workers`` is less than 1.
        RunError: if a process ends early, for example for want of memory.

    Example:
        >>> next(score_folder("nowhere", "."))
        Traceback (most recent call last):
        hsds_lib.images.io.ImageError: 'nowhere' holds no scenes; expected folders <scene>/ with ...
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; give at least 1 process")
    scenes, folder = scene_folders(pairs), Path(fused)
    if not folder.is_dir():
        raise ImageError(f"'{fused}' is not a folder; give the one that holds <scene>.png of every scene")
    yield from in_processes(partial(_score_scene, fused=folder), scenes, workers=workers)


def in_processes(work: Callable[[Item], Result], items: Sequence[Item], *, workers: int = 1) -> Iterator[Result]:
    """Do the same work on every item, in several processes of one thread each, and give the results in order.

    Args:
        work: a function of a module, or a ``partial`` of one.
        items: what to work on; each is copied to its process.
        workers: processes to compute in; 1 computes in this one.

    Yields:
        The result of an item.

    Raises:
        ValueError: if ``workers`` is less than 1.
        RunError: if a process ends early, for example for want of memory.

    Example:
        >>> list(in_processes(len, ["one", "three"]))
        [3, 5]
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; give at least 1 process")
    count = min(workers, len(items))
    if count <= 1:
        yield from map(work, items)
        return
    # A forked copy of a process that has used torch may hang, so each worker starts afresh.
    fresh = get_context("spawn")
    try:
        with ProcessPoolExecutor(count, mp_context=fresh, initializer=_use_one_thread) as pool:
            yield from pool.map(work, items)
    except BrokenProcessPool:
        raise RunError("a scoring process ended early, perhaps for want of memory; use fewer workers") from None


def mean_scores(scores: Sequence[Scores]) -> dict[str, float | None]:
    """Average every metric over the scenes in which it has a value.

    Args:
        scores: the metrics of each scene.

    Returns:
        Means by metric, in the order of ``METRICS``; None where no scene has a value.

    Example:
        >>> mean_scores([{"EN": 7.0, "CC": None}, {"EN": 6.0, "CC": 0.5}])
        {'CC': 0.5, 'EN': 6.5}
    """
    means: dict[str, float | None] = {}
    for name in _names(scores):
        values = [value for row in scores if (value := row.get(name)) is not None]
        means[name] = sum(values) / len(values) if values else None
    return means


def write_scores(path: str | Path, scores: Mapping[str, Scores]) -> None:
    """Write one row per scene as CSV, atomically and with all digits; a cell is empty where there is no value.

    Args:
        path: the file to write.
        scores: the metrics by scene. Means are not written: a row of them would be taken for a scene.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scores.csv"
        >>> write_scores(path, {"garden": {"VIF": None, "EN": 6.5}})
        >>> path.read_text().splitlines()
        ['scene,VIF,EN', 'garden,,6.5']
    """
    names = _names(list(scores.values()))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["scene", *names])
        for scene, row in scores.items():
            writer.writerow([scene, *(row.get(name) for name in names)])


def score_table(scores: Scores) -> str:
    """Lay scores out for reading: the paper's metrics as the paper computes them and correctly, then the others.

    Args:
        scores: the metrics of one image, or means.

    Returns:
        Lines of equal length, with four decimals, and ``-`` where there is no value.

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


def _score_scene(scene: Path, fused: Path) -> SceneScores:
    try:
        under, over, picture = _image(scene, "under"), _image(scene, "over"), _image(fused, scene.name)
        return SceneScores(scene.name, score_files(under, over, picture, find_image(scene, "ref")))
    except (ValueError, OSError) as error:
        return SceneScores(scene.name, problem=str(error))


def _image(folder: Path, stem: str) -> Path:
    path = find_image(folder, stem)
    if path is None:
        raise ImageError(f"no image named {stem}.* in {folder}")
    return path


def _use_one_thread() -> None:
    """Workers share the cores, so each of them uses one."""
    torch.set_num_threads(1)
