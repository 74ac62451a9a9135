"""The scenes that a search or a training reads: every one with a reference, in halves, in endless batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from hsds_lib.images.batches import Batch, PairBatches, Scene, Split, load_scenes
from hsds_lib.images.classical import average, mertens
from hsds_lib.images.color import split_luma
from hsds_lib.images.datasets import is_called
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


SCORED_SIDE = 160  # pixels; shorter side of the copies on which candidate references are compared


def referenced_scenes(data: str, split: Split, *, seed: int, limit: int | None = None) -> list[Scene]:
    """Load scenes, and give those without a reference the best of several classical fusions by MEF-SSIM.

    Args:
        data: a data set's name or a folder, as for :func:`hsds_lib.images.batches.load_scenes`.
        split: ``train``, ``val`` or ``test``.
        seed: of simulated exposures and drawn splits.
        limit: load the first so many scenes only.

    Returns:
        Scenes that all have a reference; ``ref_origin`` says where it comes from.

    Raises:
        DataError: the data is missing, incomplete or damaged, or the split is empty.

    Example:
        >>> import tempfile
        >>> from hsds_lib.images.io import write_rgb
        >>> shot = load_scenes("embedded", "test", limit=1)[0]
        >>> with tempfile.TemporaryDirectory() as folder:  # a folder of pairs, without references
        ...     for role, image in (("under", shot.under), ("over", shot.over)):
        ...         write_rgb(f"{folder}/hall/{role}.png", image)
        ...     scene = referenced_scenes(folder, "train", seed=0)[0]
        >>> scene.name, scene.ref_origin  # which of the fusions won
        ('hall', 'average')
    """

    def score(*luma: torch.Tensor) -> float:
        # Reduced copies rank the candidates alike and cost a tenth.
        scale = min(1.0, SCORED_SIDE / min(luma[0].shape[-2:]))
        return float(mef_ssim_pair(*(functional.interpolate(y, scale_factor=scale, mode="area") for y in luma)))

    return attach_references(load_scenes(data, split, seed=seed, limit=limit), score)


def shown_split(data: str) -> Split:
    """Say from which split a lesson takes scenes that neither search nor training saw.

    Args:
        data: a data set's name or a folder; it need not exist.

    Returns:
        ``val`` where MEFB takes part, whose test scenes are kept for one final evaluation; else ``test``.

    Example:
        >>> shown_split("embedded"), shown_split("mefb")
        ('test', 'val')
    """
    return "val" if data in {"real", "real+embedded"} or is_called(Path(data), "mefb") else "test"


def halves(scenes: list[Scene], generator: torch.Generator) -> tuple[list[Scene], list[Scene]]:
    """Split the training set at random into a half for omega and a half for alpha and beta (paper).

    Args:
        scenes: at least two.
        generator: on the CPU; decides who goes where.

    Returns:
        Two lists without a common scene; the second has the odd one.

    Raises:
        ValueError: when there are fewer than two scenes.

    Example:
        >>> scenes = load_scenes("embedded", "train", limit=3)
        >>> lower, upper = halves(scenes, torch.Generator().manual_seed(0))
        >>> [scene.name for scene in lower], [scene.name for scene in upper]
        (['rocket-1'], ['motorcycle-1', 'coffee-1'])
    """
    if len(scenes) < 2:
        raise ValueError(f"a search needs at least 2 training scenes, one for each level; given: {len(scenes)}")
    order = torch.randperm(len(scenes), generator=generator).tolist()
    middle = len(scenes) // 2
    return [scenes[i] for i in order[:middle]], [scenes[i] for i in order[middle:]]


class Endless(Iterator[Batch]):
    """Goes over scenes pass after pass, shuffled anew each time; where it stands can be noted down and found again.

    Several processes that go over the same scenes with generators of the same seed draw the same batches in the same
    order and take turns: each keeps one out of ``size``, and their generators stay alike.

    Attributes:
        left: numbers of the scenes that are left in this pass. With the state of the generator, that is all there is to
            remember.

    Example:
        >>> from itertools import islice
        >>> scenes = load_scenes("embedded", "train", limit=3)
        >>> generator = torch.Generator().manual_seed(0)
        >>> batches = Endless(PairBatches(scenes, [scenes[0].ref], crop=16, batch_size=1, generator=generator))
        >>> len(list(islice(batches, 5))), len(batches.left)
        (5, 1)
    """

    def __init__(self, batches: PairBatches, *, rank: int = 0, size: int = 1) -> None:
        """Start before the first pass.

        Args:
            batches: one pass.
            rank: which batch out of ``size`` is taken, counted from 0.
            size: number of processes that take turns.
        """
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


def endless(batches: PairBatches) -> Endless:
    """Go over the scenes pass after pass, shuffled anew each time.

    Args:
        batches: one pass.

    Returns:
        Batches, without end.

    Example:
        >>> from itertools import islice
        >>> scenes = load_scenes("embedded", "val", limit=1)
        >>> generator = torch.Generator().manual_seed(0)
        >>> batches = PairBatches(scenes, [scenes[0].ref], crop=16, batch_size=1, generator=generator)
        >>> len(batches), len(list(islice(endless(batches), 5)))
        (1, 5)
    """
    return Endless(batches)
