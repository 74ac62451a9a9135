"""Scores that outlive an evaluation: a small file for each picture, found again by what it was computed from."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from hsds_lib.evaluation.metrics import METRICS
from hsds_lib.evaluation.scoring import Scores, score_files
from hsds_lib.images.datasets import SceneFiles
from hsds_lib.runtime import file_hash, read_json, write_json

METRIC_MODULES = (
    *(f"hsds_lib.evaluation.{name}" for name in ("metrics", "picture", "windows", "first_order", "fidelity", "edges")),
    *("hsds_lib.evaluation.structure", "hsds_lib.evaluation.tone", "hsds_lib.losses.mef_ssim", "hsds_lib.images.io"),
)
"""The modules whose sources decide on a score; another version of one of them makes all scores be computed anew."""
_PACKAGES = ("numpy", "scipy", "torch", "pillow")


@dataclass(frozen=True)
class Job:
    """One picture to score.

    Example:
        >>> scene = SceneFiles("hall", Path("hall/under.png"), Path("hall/over.png"), ref=None)
        >>> Job("ours", scene, Path("ours/hall.png"), key="0f").scene.name
        'hall'
    """

    method: str
    scene: SceneFiles
    fused: Path
    key: str  # of its file in the cache


def joined_hash(parts: Iterable[str | None]) -> str:
    """Give SHA-256 over several texts, their order and None included.

    Args:
        parts: hashes, names, versions.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> joined_hash(["a", None]) == joined_hash(["a", ""])
        False
    """
    return hashlib.sha256(repr(list(parts)).encode()).hexdigest()


def code_hash(modules: Sequence[str], packages: Sequence[str]) -> str:
    """Give SHA-256 over the sources of some modules and the versions of some packages.

    Args:
        modules: full names.
        packages: names of distributions.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> code_hash(["hsds_lib.evaluation.edges"], ["numpy"]) == code_hash(["hsds_lib.evaluation.tone"], ["numpy"])
        False
    """
    sources = [str(importlib.import_module(name).__file__) for name in modules]
    return joined_hash([*map(file_hash, sources), *map(version, packages)])


@cache
def metric_version() -> str:
    """Say which version of the metrics this is.

    Returns:
        64 hexadecimal digits, over ``METRIC_MODULES`` and the packages that they compute with.

    Example:
        >>> len(metric_version())
        64
    """
    return code_hash(METRIC_MODULES, _PACKAGES)


def score_key(under: str, over: str, ref: str | None, fused: str) -> str:
    """Name the scores of a picture by all that they depend on.

    Args:
        under: SHA-256 of the darker exposure's file.
        over: that of the brighter one.
        ref: that of the reference, if there is one.
        fused: that of the fused picture.

    Returns:
        64 hexadecimal digits, which change with any of the files and with the code of the metrics.

    Example:
        >>> score_key("1", "2", None, "3") == score_key("1", "2", "4", "3")
        False
    """
    return joined_hash([under, over, ref, fused, metric_version()])


def known_scores(folder: Path, key: str) -> Scores | None:
    """Look scores up.

    Args:
        folder: of the cache.
        key: see :func:`score_key`.

    Returns:
        The scores, or None if they are not there, or damaged.

    Example:
        >>> known_scores(Path("no-cache"), "0f") is None
        True
    """
    try:
        found = read_json(folder / f"{key}.json")["scores"]
        return {name: None if found[name] is None else float(found[name]) for name in METRICS}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def score_job(job: Job, folder: Path) -> Scores:
    """Score a picture and put the scores into the cache; if they are there, take them from it.

    Args:
        job: the picture.
        folder: of the cache.

    Returns:
        What :func:`hsds_lib.evaluation.metrics.all_metrics` gives.

    Raises:
        ValueError: the files cannot be scored.

    Example:
        >>> import tempfile, torch
        >>> from hsds_lib.images.io import write_rgb
        >>> folder = Path(tempfile.mkdtemp())
        >>> for number, role in enumerate(("under", "over", "fused")):
        ...     write_rgb(folder / f"{role}.png", torch.rand(3, 12, 12))
        >>> scene = SceneFiles("hall", folder / "under.png", folder / "over.png", ref=None)
        >>> scores = score_job(Job("ours", scene, folder / "fused.png", key="0f"), folder / "cache")
        >>> known_scores(folder / "cache", "0f") == scores
        True
    """
    known = known_scores(folder, job.key)
    if known is not None:
        return known
    scores = score_files(job.scene.under, job.scene.over, job.fused, job.scene.ref)
    write_json(folder / f"{job.key}.json", {"method": job.method, "scene": job.scene.name, "scores": scores})
    return scores
