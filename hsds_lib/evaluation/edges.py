"""Edges kept: Q^AB/F of Xydeas and Petrovic (2000) on gray levels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from hsds_lib.evaluation.picture import DataRange, Image, Picture, UndefinedMetricError, check_option, pictures

STRENGTH_SIGMOID = (0.9994, -15.0, 0.5)  # height, slope and middle
ORIENTATION_SIGMOID = (0.9879, -22.0, 0.8)
LEFTWARDS = np.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])  # Sobel; its sign matters, as upright edges are +pi/2


@dataclass(frozen=True)
class _Edges:
    """Sobel edges of one image, ``(H, W)``: strength, and orientation in radians (-pi/2..pi/2)."""

    strength: np.ndarray
    orientation: np.ndarray


def qabf(under: Image, over: Image, fused: Image, *, data_range: DataRange = 255) -> float:
    """How well the edges of both sources are kept: Table 2 Qabf.

    Sobel edges (the image continued by 0), compared in strength and orientation, each through a sigmoid; weighted by
    the strength in the source; over the whole image. Where source and fused strength are exactly equal, the published
    code takes the strength itself for their ratio. On 0..255 that does no harm. On 0..1, which the paper's toolbox
    probably used, it takes equal edges for lost ones, and rounding decides which are equal: little of the value where
    fusion changes every pixel, 8 % of a Mertens fusion with large clipped areas, a quarter to more than half where one
    source is the fused image. So the value on 0..255 is the one to report.

    Args:
        under: RGB uint8 ``(H, W, 3)``, any size.
        over: the same size; the two sources may be swapped.
        fused: the same size.
        data_range: 255 for gray levels in 0..255, 1 for gray levels divided by 255.

    Returns:
        A value in 0..1; that of a source itself is about 0.975.

    Raises:
        UndefinedMetricError: if no source has an edge: black images, or single pixels.

    Example:
        >>> import numpy as np
        >>> image = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        >>> round(qabf(image, image, image), 4)
        0.9753
    """
    check_option("data_range", data_range, (1, 255))
    first, second, third = pictures("Qabf", under=under, over=over, fused=fused)
    after = third.once(_edges, data_range)
    kept, there = 0.0, 0.0
    for source in (first, second):
        before = source.once(_edges, data_range)
        kept += float((_preservation(before, after) * before.strength).sum())
        there += float(before.strength.sum())
    if there == 0:
        raise UndefinedMetricError("Qabf got two sources without any edge to be kept (black ones, say); leave it out")
    return kept / there


def _edges(picture: Picture, data_range: int) -> _Edges:
    gray = picture.gray_double / (255 / data_range)
    x, y = _slope(gray, LEFTWARDS), _slope(gray, LEFTWARDS.T[::-1])
    upright = x == 0
    orientation = np.where(upright, np.pi / 2, np.arctan(y / np.where(upright, 1, x)))
    return _Edges(np.sqrt(x**2 + y**2), orientation)


def _slope(gray: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums of 3 x 3 weighted neighbours, the image continued by 0.

    On 0..1 rounding decides which strengths are equal, so the terms are added in the order of the published program:
    column by column from the left, each from below. No library promises an order.
    """
    height, width = gray.shape
    padded, slope = np.pad(gray, 1), np.zeros_like(gray)
    for column, row in product(range(3), reversed(range(3))):
        if weights[row, column]:
            slope += weights[row, column] * padded[row : row + height, column : column + width]
    return slope


def _preservation(before: _Edges, after: _Edges) -> np.ndarray:
    weaker, stronger = np.minimum(before.strength, after.strength), np.maximum(before.strength, after.strength)
    equal = weaker == stronger
    strength = np.where(equal, after.strength, weaker / np.where(equal, 1, stronger))
    orientation = 1 - np.abs(before.orientation - after.orientation) / (np.pi / 2)
    return _sigmoid(strength, *STRENGTH_SIGMOID) * _sigmoid(orientation, *ORIENTATION_SIGMOID)


def _sigmoid(value: np.ndarray, height: float, slope: float, middle: float) -> np.ndarray:
    return height / (1 + np.exp(slope * (value - middle)))
