"""The scenes that a search or a training reads: every one with a reference, in halves, in endless batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from hsds_lib.images.batches import Batch, PairBatches, Scene, Split, load_scenes
from hsds_lib.images.classical import average, mertens
from hsds_lib.images.color import split_luma
from hsds_lib.losses.mef_ssim import mef_ssim_pair

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
    """Fuse a scene in every classical way considered: OpenCV's Mertens with several weightings, and the average."""
    fusions = {
        f"mertens({contrast:g}, {saturation:g}, {exposedness:g})": mertens(
            scene.under, scene.over, contrast=contrast, saturation=saturation, exposedness=exposedness
        )
        for contrast, saturation, exposedness in _MERTENS_WEIGHTS
    }
    return fusions | {"average": average(scene.under, scene.over)}


def attach_references(scenes: Sequence[Scene], score: Score) -> list[Scene]:
    """Give every scene without a reference the classical fusion that scores best; those with one are passed on.

    ``score(fused_y, under_y, over_y)`` is of Y ``(1, 1, H, W)`` in [0, 1], higher is better; of equal ones the first
    candidate wins, and one that is not finite is a ValueError. Deviation from the paper, which trains on SICE's own
    references: these are made by a metric, not by people, and a network trained on them learns what that metric
    prefers. ``ref_origin`` says which fusion won.
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


SCORED_SIDE = 160  # pixels; shorter side of the copies on which candidate references are compared


def referenced_scenes(data: str, split: Split, *, seed: int, limit: int | None = None) -> list[Scene]:
    """Load scenes as ``load_scenes`` does, each with a reference: its own, or the best classical fusion by MEF-SSIM."""

    def score(*luma: torch.Tensor) -> float:
        # Reduced copies rank the candidates alike and cost a tenth.
        scale = min(1.0, SCORED_SIDE / min(luma[0].shape[-2:]))
        return float(mef_ssim_pair(*(functional.interpolate(y, scale_factor=scale, mode="area") for y in luma)))

    return attach_references(load_scenes(data, split, seed=seed, limit=limit), score)


def halves(scenes: list[Scene], generator: torch.Generator) -> tuple[list[Scene], list[Scene]]:
    """Split the training set at random into a half for omega and a half for alpha and beta (paper).

    The second has the odd one; fewer than two scenes are a ValueError.
    """
    if len(scenes) < 2:
        raise ValueError(f"a search needs at least 2 training scenes, one for each level; given: {len(scenes)}")
    order = torch.randperm(len(scenes), generator=generator).tolist()
    middle = len(scenes) // 2
    return [scenes[i] for i in order[:middle]], [scenes[i] for i in order[middle:]]


class Endless(Iterator[Batch]):
    """Goes over scenes pass after pass, shuffled anew each time; where it stands can be noted down and found again.

    Several processes that go over the same scenes with generators of the same seed draw the same batches in the same
    order and take turns: each keeps the one of its rank out of ``size``, and their generators stay alike. ``left`` are
    the numbers of the scenes that are left in this pass: with the state of the generator, all there is to remember.

    Example:
        >>> from itertools import islice
        >>> scenes = load_scenes("embedded", "train", limit=3)
        >>> generator = torch.Generator().manual_seed(0)
        >>> batches = Endless(PairBatches(scenes, [scenes[0].ref], crop=16, batch_size=1, generator=generator))
        >>> len(list(islice(batches, 5))), len(batches.left)
        (5, 1)
    """

    def __init__(self, batches: PairBatches, *, rank: int = 0, size: int = 1) -> None:
        """Start before the first pass."""
        self._batches, self._rank, self._size = batches, rank, size
        self.left: list[int] = []

    def __next__(self) -> Batch:
        """Give the next batch; there always is one."""
        turns = [self._draw() for _ in range(self._size)]
        return turns[self._rank]

    def _draw(self) -> Batch:
        if not self.left:
            self.left = self._batches.order()
        size = self._batches.batch_size
        now, self.left = self.left[:size], self.left[size:]
        return self._batches.batch(now)
