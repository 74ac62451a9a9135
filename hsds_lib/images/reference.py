"""References for pairs that have none.

SICE's references are the best of 13 classical fusions of each scene, chosen by people. Where a data set
has no references (MEFB), the same is done here with fewer candidates and a score in the place of the
people.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from hsds_lib.images.classical import average, mertens
from hsds_lib.images.color import split_luma
from hsds_lib.images.pairs import Scene

Score = Callable[[Tensor, Tensor, Tensor], float]

# Exponents of contrast, saturation and well-exposedness.
_MERTENS_WEIGHTS: tuple[tuple[float, float, float], ...] = (
    (1.0, 1.0, 0.0),  # OpenCV's default
    (1.0, 1.0, 1.0),  # the paper of Mertens et al.
    (1.0, 0.0, 0.5),
    (0.5, 0.5, 1.0),
    (0.0, 0.0, 1.0),
)


def candidate_references(scene: Scene) -> dict[str, Tensor]:
    """Fuse a scene in every classical way considered.

    Args:
        scene: a pair with RGB exposures ``(3, H, W)`` in [0, 1].

    Returns:
        Name to RGB ``(3, H, W)`` in [0, 1]: OpenCV's Mertens fusion with several weightings, and the average.

    Raises:
        ImageError: the exposures are not of one size, or not finite.

    Example:
        >>> import torch
        >>> scene = Scene("step", torch.zeros(3, 8, 8), torch.ones(3, 8, 8))
        >>> candidates = candidate_references(scene)
        >>> len(candidates), list(candidates)[0], list(candidates)[-1]
        (6, 'mertens(1, 1, 0)', 'average')
    """
    fusions = {
        f"mertens({contrast:g}, {saturation:g}, {exposedness:g})": mertens(
            scene.under, scene.over, contrast=contrast, saturation=saturation, exposedness=exposedness
        )
        for contrast, saturation, exposedness in _MERTENS_WEIGHTS
    }
    return fusions | {"average": average(scene.under, scene.over)}


def attach_references(scenes: Sequence[Scene], score: Score) -> list[Scene]:
    """Give every scene without a reference the classical fusion that scores best.

    Deviation from the paper, which trains on SICE's own references: these are made by a metric, not by
    people, and a network trained on them learns what that metric prefers. ``ref_origin`` says which
    fusion won.

    Args:
        scenes: scenes with or without references; those with one are passed on unchanged.
        score: ``score(fused_y, under_y, over_y)`` on Y ``(1, 1, H, W)`` in [0, 1], higher is better
            (three-scale MEF-SSIM of the pair is meant).

    Returns:
        The scenes in the same order, each with a reference. The same input gives the same result; of equal
        scores the first candidate wins.

    Raises:
        ImageError: the exposures of a scene are not of one size, or not finite.
        ValueError: a score is not a finite number.

    Example:
        >>> import torch
        >>> ramp = torch.linspace(0, 1, 64).expand(3, 64, 64)
        >>> scene = Scene("ramp", (2 * ramp - 1).clamp(0, 1), (2 * ramp).clamp(0, 1))
        >>> def contrast(fused_y, under_y, over_y):
        ...     return float(fused_y.std())
        >>> attach_references([scene], contrast)[0].ref_origin
        'mertens(0, 0, 1)'
    """
    return [scene if scene.ref is not None else _with_best(scene, score) for scene in scenes]


def _with_best(scene: Scene, score: Score) -> Scene:
    under_y, over_y = split_luma(scene.under[None])[0], split_luma(scene.over[None])[0]
    candidates = candidate_references(scene)
    scores = {name: float(score(split_luma(rgb[None])[0], under_y, over_y)) for name, rgb in candidates.items()}
    if not all(math.isfinite(value) for value in scores.values()):
        raise ValueError(f"scene '{scene.name}' has scores that are not finite ({scores}); give another score")
    best = max(scores, key=lambda name: scores[name])
    return replace(scene, ref=candidates[best], ref_origin=best)
