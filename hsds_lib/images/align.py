"""How exposures of one scene lie on each other: shifts and turns are measured and mended, and what moved is noticed.

All of it is done on gray pictures whose every small neighbourhood has the mean 0 and the deviation 1, so that neither
exposure nor tone curve matter, and is done on reduced copies. On 52 real pairs (40 of MEFB, 12 of the SICE sample),
turned by up to a degree and moved by up to 12 pixels, places of the corners are found to 0.02 pixels in the median and
0.18 at most, but for one pair that is almost black and white and has too little in common.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsds_lib.images.datasets import ImageError

Gray = NDArray[Any]
"""Luma, float32 ``(H, W)`` in levels of 0 to 255."""
LEAST_SIDE = 32  # pixels; below it nothing is measured
LARGEST_SHIFT = 3.0  # pixels that are not worth a word
_SHIFT_SIDE = 768  # pixels of the longer side at which shifts are measured
_LOOK_SIDE = 256  # likewise turns, at first, and what moved
_AREA = 9  # pixels of a neighbourhood
_LEAST_PEAK = 0.08  # share of the phase correlation below which a shift is not believed; real pairs have 0.2 and more
_LEAST_MATCH = 0.3  # correlation below which a turn is not believed
_MOVED_SHARE = 0.004  # of the picture, in one piece
_LUMA = (0.299, 0.587, 0.114)


def gray_of(image: Tensor) -> Gray:
    """Give the luma of RGB ``(3, H, W)`` in [0, 1] in levels of 0 to 255, ``(H, W)``."""
    weights = 255 * torch.tensor(_LUMA)
    return (weights @ image.detach().cpu().float().flatten(1)).view(image.shape[1:]).numpy()


def shift_between(one: Gray, other: Gray) -> tuple[float, float]:
    """Say how far ``other`` is shifted against ``one``, to the right and down, whatever their exposures; pixels.

    Both are of one size, at least ``LEAST_SIDE`` on a side. NaN where they have too little in common to say. By phase
    correlation at no more than 768 pixels on a side.

    Example:
        >>> scene = np.random.default_rng(0).random((96, 128), dtype=np.float32) * 255
        >>> under, over = scene[4:, 7:] / 4, scene[:-4, :-7]
        >>> [round(pixels) for pixels in shift_between(under, over)]
        [7, 4]
    """
    scale, pair = _reduced((one, other), _SHIFT_SIDE)
    # Of even sides that OpenCV need not pad, which would move the peak by half a pixel.
    height, width = (_dft_size(side) for side in pair[0].shape)
    still, moved = (_evened(gray)[:height, :width] for gray in pair)
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    (right, down), peak = cv2.phaseCorrelate(still, moved, window)
    return (right * scale, down * scale) if peak >= _LEAST_PEAK else (math.nan, math.nan)


def disagreements(images: Sequence[Tensor], *, aligned: bool = False) -> list[str]:
    """Say in sentences what keeps exposures of one scene, dark to bright, RGB ``(3, H, W)``, from lying on each other.

    Shifts from 3 pixels on, turns from a third of a degree, and else what moved: the correlation of the two in some
    place is below 0.1 although both have detail there. On the 52 real pairs, said to be static, no shift of 3 pixels
    and no turn is found, and movement in two: one has clouds, the other is shifted by 1.7 pixels.
    """
    if min(images[0].shape[1:]) < LEAST_SIDE:
        return []
    grays = [gray_of(image) for image in images]
    shift = max((math.hypot(*shift_between(one, other)) for one, other in pairwise(grays)), key=np.nan_to_num)
    still, mend = (" still", "") if aligned else ("", "; --align mends shifts and small turns")
    if shift >= LARGEST_SHIFT:
        return [f"the exposures are{still} shifted by {shift:.1f} pixels, so edges may be double{mend}"]
    turn = max(abs(_degrees(_turned(one, other))) for one, other in pairwise(grays))
    if turn >= math.degrees(1 / (_LOOK_SIDE * 0.6)):
        return [f"the exposures are{still} turned by {turn:.1f} degrees, so edges may be double{mend}"]
    moved = max(_moved_share(one, other) for one, other in pairwise(grays))
    if moved >= _MOVED_SHARE:
        return [f"something moved between the exposures, in about {moved:.1%} of the picture; it may be seen twice"]
    return []


def aligned(images: Sequence[Tensor]) -> tuple[list[Tensor], str]:
    """Lay exposures of one scene, dark to bright, RGB ``(3, H, W)``, on each other; crop them to what all show.

    Shifts are mended by whole pixels, so that nothing is blurred, turns by cubic interpolation. The sentence says what
    was done. ImageError if the pictures are too small, have too little in common, or hardly overlap.
    """
    height, width = images[0].shape[1:]
    if min(height, width) < LEAST_SIDE:
        raise ImageError(f"pictures of {width} x {height} pixels are too small to be aligned; leave out --align")
    grays, middle = [gray_of(image) for image in images], len(images) // 2
    # From the coordinates of the middle exposure to those of each: neighbours in brightness have most in common.
    places = {middle: np.eye(3)}
    for number in (*range(middle - 1, -1, -1), *range(middle + 1, len(images))):
        near = number + 1 if number < middle else number - 1
        places[number] = _place(grays[near], grays[number]) @ places[near]
    corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]]).T
    moves = [(places[number] @ corners - corners)[:2] for number in range(len(images))]
    largest = max(float(np.hypot(*move).max()) for move in moves)
    if largest < 0.5:
        return list(images), "the exposures lie on each other already; nothing was moved"
    turn = max(abs(_degrees(place)) for place in places.values())
    if max(float(np.ptp(move, axis=1).max()) for move in moves) < 1:
        for number, move in enumerate(moves):
            places[number] = np.array([[1, 0, round(move[0].mean())], [0, 1, round(move[1].mean())], [0, 0, 1]])
    # Where the corners of each lie in the middle one: upper left, upper right, lower left, lower right.
    x, y = np.stack([(np.linalg.inv(places[number]) @ corners)[:2] for number in range(len(images))], axis=1)
    left, right = math.ceil(max(0, x[:, [0, 2]].max())), math.floor(min(width - 1, x[:, [1, 3]].min()))
    top, bottom = math.ceil(max(0, y[:, :2].max())), math.floor(min(height - 1, y[:, 2:].min()))
    if 2 * (right - left) < width or 2 * (bottom - top) < height:
        raise ImageError("the exposures share less than half of what they show, so they cannot be aligned")
    corner, size = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]]), (right - left + 1, bottom - top + 1)
    said = f"moved by up to {largest:.1f} pixels and turned by {turn:.2f} degrees"
    laid = [_moved(image, places[number] @ corner, size) for number, image in enumerate(images)]
    return laid, f"the exposures were {said}; {size[0]} x {size[1]} pixels of {width} x {height} are left"


def _place(one: Gray, other: Gray) -> NDArray[np.float64]:
    """Where the pixels of ``one`` are in ``other``: 3 x 3, a turn and a shift."""
    start, shift = np.eye(3), shift_between(one, other)
    start[:2, 2] = np.nan_to_num(shift)
    coarse = _turned(one, other, start)
    if coarse is start and math.isnan(shift[0]):
        raise ImageError("the exposures have too little in common to be aligned; leave out --align")
    return _turned(one, other, coarse, side=_SHIFT_SIDE)


def _turned(
    one: Gray, other: Gray, start: NDArray[np.float64] | None = None, side: int = _LOOK_SIDE
) -> NDArray[np.float64]:
    """The same by OpenCV's ECC, from ``start``, which is kept where no turn is found that fits better."""
    start = np.eye(3) if start is None else start
    scale, pair = _reduced((one, other), side)
    # Between pixels of the whole and of the reduced pictures, whose centres lie half a pixel from their edges.
    reduce = np.array([[1 / scale, 0, 0.5 / scale - 0.5], [0, 1 / scale, 0.5 / scale - 0.5], [0, 0, 1]])
    warp = (reduce @ start @ np.linalg.inv(reduce))[:2].astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-4)
    still, moved = (_evened(gray) for gray in pair)
    everywhere = np.ones(still.shape, np.uint8)
    try:
        match, found = cv2.findTransformECC(still, moved, warp, cv2.MOTION_EUCLIDEAN, criteria, everywhere, 5)
    except cv2.error:  # it did not converge
        return start
    return np.linalg.inv(reduce) @ np.vstack([found, [0, 0, 1]]) @ reduce if match >= _LEAST_MATCH else start


def _moved(image: Tensor, place: NDArray[np.float64], size: tuple[int, int]) -> Tensor:
    """A picture of ``size`` (width, height) whose pixels are where ``place`` says."""
    if np.array_equal(place, np.round(place)):
        left, top = int(place[0, 2]), int(place[1, 2])
        return image[:, top : top + size[1], left : left + size[0]].contiguous()
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    moved = [cv2.warpAffine(one.cpu().numpy(), place[:2], size, flags=flags, borderMode=1) for one in image]
    return torch.from_numpy(np.stack(moved)).clamp_(0, 1)


def _moved_share(one: Gray, other: Gray) -> float:
    """The largest piece, as a share of the picture, in which both have detail and are not alike."""
    _, pair = _reduced((one, other), _LOOK_SIDE)
    means = [_mean(gray) for gray in pair]
    deviations = [
        np.sqrt(np.maximum(_mean(gray * gray) - mean * mean, 1e-6)) for gray, mean in zip(pair, means, strict=True)
    ]
    likeness = (_mean(pair[0] * pair[1]) - means[0] * means[1]) / (deviations[0] * deviations[1])
    exposed = np.logical_and(*((gray > 2.5) & (gray < 252.5) for gray in pair)).astype(np.float32)
    detail = (_mean(exposed) > 0.9) & (deviations[0] > 1.5) & (deviations[1] > 1.5)
    unlike = cv2.morphologyEx((detail & (likeness < 0.1)).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    pieces = cv2.connectedComponentsWithStats(unlike)[2][1:, cv2.CC_STAT_AREA]
    return float(pieces.max(initial=0)) / unlike.size


def _evened(gray: Gray) -> Gray:
    """Every neighbourhood with the mean 0 and about the deviation 1, but where nothing but noise is."""
    centred = gray - _mean(gray)
    return centred / np.sqrt(_mean(centred * centred) + 4)


def _mean(gray: Gray) -> Gray:
    return cv2.blur(gray, (_AREA, _AREA))


def _reduced(grays: Sequence[Gray], side: int) -> tuple[float, list[Gray]]:
    """Copies of at most ``side`` pixels, and how many pixels one of theirs is."""
    height, width = grays[0].shape
    scale = max(1.0, max(height, width) / side)
    size = (round(width / scale), round(height / scale))
    return scale, [cv2.resize(gray, size, interpolation=cv2.INTER_AREA) if scale > 1 else gray for gray in grays]


def _dft_size(side: int) -> int:
    """The largest even length up to ``side`` that a Fourier transform likes."""
    return next(size for size in range(side - side % 2, 0, -2) if cv2.getOptimalDFTSize(size) == size)


def _degrees(place: NDArray[np.float64]) -> float:
    return math.degrees(math.atan2(place[1, 0], place[0, 0]))
