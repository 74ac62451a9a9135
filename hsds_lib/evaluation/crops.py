"""Where to look closely: the parts of a scene in which fused pictures disagree most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter

from hsds_lib.evaluation.picture import rgb2gray

SHARE = 0.24  # of the shorter side of the picture: height of a crop
ASPECT = 4 / 3
_LEAST = 16  # pixels


class Crop(NamedTuple):
    """A part of a picture, pixels: left edge, top edge, width and height.

    Example:
        >>> Crop(2, 1, 4, 3).of(np.arange(48).reshape(6, 8)).tolist()
        [[10, 11, 12, 13], [18, 19, 20, 21], [26, 27, 28, 29]]
    """

    x: int
    y: int
    width: int
    height: int

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """Cut the part out of an image ``(H, W, ...)``."""
        return pixels[self.y : self.y + self.height, self.x : self.x + self.width]


def read_crop(text: str) -> tuple[str, Crop]:
    """Read ``SCENE=X,Y,W,H``.

    Args:
        text: what was given.

    Returns:
        The scene and the crop.

    Raises:
        ValueError: for any other form.

    Example:
        >>> read_crop("Cave=10,20,64,48")
        ('Cave', Crop(x=10, y=20, width=64, height=48))
    """
    scene, equals, numbers = text.rpartition("=")
    try:
        x, y, width, height = (int(number) for number in numbers.split(","))
    except ValueError:
        equals = ""
        x = y = width = height = 0
    if not equals or not scene or min(x, y) < 0 or min(width, height) < 2:
        raise ValueError(f"--crop '{text}' is not SCENE=X,Y,W,H in pixels; write for example Cave=10,20,64,48")
    return scene, Crop(x, y, width, height)


def disagreement(fused: Sequence[np.ndarray]) -> np.ndarray:
    """Say how much pictures of one scene differ from each other, pixel by pixel.

    Args:
        fused: one picture per method, RGB uint8 ``(H, W, 3)``, two or more.

    Returns:
        Standard deviation of the gray levels over the methods, float64 ``(H, W)``, in [0, 127.5].

    Raises:
        ValueError: fewer than two, or different sizes.

    Example:
        >>> dark, bright = np.zeros((1, 2, 3), dtype=np.uint8), np.full((1, 2, 3), 20, dtype=np.uint8)
        >>> disagreement([dark, bright]).tolist()
        [[10.0, 10.0]]
    """
    if len({picture.shape for picture in fused}) != 1 or len(fused) < 2:
        raise ValueError(f"{len(fused)} pictures cannot disagree pixel by pixel; give two or more of one size")
    return np.std([rgb2gray(picture).astype(np.float64) for picture in fused], axis=0)


def choose_crops(fused: Sequence[np.ndarray], *, count: int = 2) -> list[Crop]:
    """Find the places with the largest mean disagreement between methods, which do not overlap.

    Args:
        fused: one picture per method, RGB uint8 ``(H, W, 3)``; of a single one, its detail decides.
        count: how many.

    Returns:
        At most ``count`` crops of one size, the one with the largest disagreement first; fewer if no more fit.

    Raises:
        ValueError: different sizes.

    Example:
        >>> dark = np.zeros((60, 80, 3), dtype=np.uint8)
        >>> bright = dark.copy()
        >>> bright[40:56, 50:70] = 200
        >>> choose_crops([dark, bright], count=1)
        [Crop(x=49, y=40, width=21, height=16)]
    """
    rows, columns = fused[0].shape[:2]
    height = min(rows, max(_LEAST, round(SHARE * min(rows, columns))))
    width = min(columns, round(height * ASPECT))
    where = disagreement(fused) if len(fused) > 1 else np.hypot(*np.gradient(rgb2gray(fused[0]).astype(float)))
    # Means of all boxes inside, by their upper left corner.
    means = uniform_filter(where, (height, width), mode="constant")
    means = means[height // 2 : height // 2 + rows - height + 1, width // 2 : width // 2 + columns - width + 1].copy()
    found: list[Crop] = []
    while len(found) < count and np.isfinite(means).any():
        y, x = np.unravel_index(int(np.argmax(means)), means.shape)
        found.append(Crop(int(x), int(y), width, height))
        means[max(0, y - height + 1) : y + height, max(0, x - width + 1) : x + width] = -np.inf
    return found
