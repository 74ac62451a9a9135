"""What metrics are computed on: 8-bit pixels, their gray image, and whatever was worked out of them before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
from scipy.ndimage import correlate1d
from torch import Tensor

GRAY_WEIGHTS = (298_936, 587_043, 114_021)  # of R, G and B in millionths, as in MATLAB's rgb2gray
_MILLION = 1_000_000

_Result = TypeVar("_Result")


class UndefinedMetricError(ValueError):
    """A metric has no value for these images; the message says why and what to do."""


class Picture:
    """One 8-bit RGB image, uint8 ``(H, W, 3)`` and not to be changed, that remembers what was worked out of it.

    Every metric takes arrays or pictures. Make pictures yourself to compute several metrics of the same images: gray
    images, local means and the like are then worked out once. A ValueError refuses any other type or shape; see
    :func:`to_pixels` for tensors.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        pixels = np.asarray(pixels)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise ValueError(
                f"an image of type {pixels.dtype} and shape {pixels.shape} was given; metrics take 8-bit RGB: convert "
                "it to uint8 of shape (H, W, 3)"
            )
        self.pixels = np.ascontiguousarray(pixels)  # sums are rounded by the layout
        self._known: dict[tuple[object, ...], object] = {}

    @cached_property
    def gray(self) -> np.ndarray:
        """The gray image of :func:`rgb2gray`, uint8 ``(H, W)``."""
        return rgb2gray(self.pixels)

    @cached_property
    def gray_double(self) -> np.ndarray:
        """The same gray image, float64 ``(H, W)`` in 0..255."""
        return self.gray.astype(np.float64)

    @property
    def flat(self) -> bool:
        """Whether all pixels have the same gray level."""
        return bool((self.gray == self.gray[0, 0]).all())

    def once(self, work: Callable[..., _Result], *details: object) -> _Result:
        """Give ``work(self, *details)``, computed at the first call: details are hashable, work is no lambda."""
        key = (work, *details)
        if key not in self._known:
            self._known[key] = work(self, *details)
        return self._known[key]  # type: ignore[return-value]

    def forget(self) -> None:
        """Forget everything but the gray images, which gives the memory back."""
        self._known = {}


Arithmetic = Literal["double", "uint8"]
"""``double`` is correct; ``uint8`` rounds and saturates to 0..255 after every operation, as MATLAB's integers do."""

DataRange = Literal[1, 255]
"""The range of an image whose pixels are 8-bit levels over 255, or the levels themselves."""

Image = np.ndarray | Picture
"""What a metric takes: RGB uint8 ``(H, W, 3)``, or a :class:`Picture` of it."""


def pictures(metric: str, minimum: int = 1, **images: Image) -> tuple[Picture, ...]:
    """Make pictures of the images of a metric, named for messages; a picture is given back as it is.

    UndefinedMetricError if a side has fewer pixels than ``minimum``; ValueError if the sizes differ.
    """
    made = tuple(image if isinstance(image, Picture) else Picture(image) for image in images.values())
    sizes = [f"{picture.gray.shape[1]} x {picture.gray.shape[0]}" for picture in made]
    if len(set(sizes)) > 1:
        given = ", ".join(f"{name} {size}" for name, size in zip(images, sizes, strict=True))
        raise ValueError(f"{metric} got images of different sizes ({given} pixels); give images of one size")
    if min(made[0].gray.shape) < minimum:
        raise UndefinedMetricError(
            f"{metric} got images of {sizes[0]} pixels, but needs at least {minimum} on each side; give larger images"
        )
    return made


def check_option(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse, with a ValueError, an option that is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; choose {' or '.join(map(repr, choices))}")


def rgb2gray(pixels: np.ndarray) -> np.ndarray:
    """Convert uint8 ``(H, W, 3)`` to gray ``(H, W)`` as MATLAB does, halves rounded up.

    The sum 0.298936 R + 0.587043 G + 0.114021 B is taken in integers, so that it is the same on every machine.

    Example:
        >>> rgb2gray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], dtype=np.uint8)).tolist()
        [[76, 150, 29, 9]]
    """
    red, green, blue = (pixels[..., channel].astype(np.int32) * GRAY_WEIGHTS[channel] for channel in range(3))
    return ((red + green + blue + _MILLION // 2) // _MILLION).astype(np.uint8)


def to_pixels(image: Tensor) -> np.ndarray:
    """Convert RGB ``(3, H, W)`` in [0, 1] to the pixels that a file of it would hold, uint8 ``(H, W, 3)``.

    Values are clamped and rounded to the nearest level, which undoes :func:`hsds_lib.images.io.read_rgb` exactly.
    """
    levels = (image.detach().cpu().double().clamp(0, 1) * 255).round()
    return levels.permute(1, 2, 0).numpy().astype(np.uint8)


def gaussian(size: int, sigma: float) -> np.ndarray:
    """Give a one-dimensional Gaussian window of ``size`` pixels (odd) with the sum 1; a square one is its product."""
    offsets = np.arange(size) - size // 2
    window = np.exp(-(offsets**2) / (2 * sigma**2))
    return window / window.sum()


def window_means(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Weighted means over every window inside: float64 ``(H, W)`` and ``(n,)``, n odd, to ``(H - n + 1, W - n + 1)``.

    Example:
        >>> window_means(np.arange(12.0).reshape(3, 4), gaussian(3, 0.6)).round(9).tolist()
        [[5.0, 6.0]]
    """
    radius = len(window) // 2
    # The border rule does not matter: what it touches is cut off.
    rows = correlate1d(image, window, axis=0, mode="nearest")[radius : len(image) - radius]
    return correlate1d(rows, window, axis=1, mode="nearest")[:, radius : image.shape[1] - radius]


def halve(image: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels of ``(H, W)``; the last row or column of an odd size is repeated.

    Example:
        >>> halve(np.array([[0.0, 2.0, 8.0], [4.0, 6.0, 8.0]])).tolist()
        [[3.0, 8.0]]
    """
    even = np.pad(image, [(0, side % 2) for side in image.shape], mode="edge")
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


@dataclass(frozen=True)
class Moments:
    """An image ``(H, W)``, and its mean and variance (never negative) in each window inside, as ``window_means``."""

    image: np.ndarray
    window: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray, window: np.ndarray) -> Moments:
        """Take the moments of a float64 image."""
        mean = window_means(image, window)
        return cls(image, window, mean, np.maximum(window_means(image * image, window) - mean**2, 0))

    def covariance(self, other: Moments) -> np.ndarray:
        """Covariance with another image of the same size, in each window."""
        return window_means(self.image * other.image, self.window) - self.mean * other.mean
