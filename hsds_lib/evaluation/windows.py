"""What several metrics do with windows: means, variances and covariances in each, and images of half the size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import correlate1d


def gaussian(size: int, sigma: float) -> np.ndarray:
    """Give a one-dimensional Gaussian window with the sum 1; a square window is its outer product.

    Args:
        size: pixels, odd.
        sigma: pixels.

    Returns:
        float64 ``(size,)``.

    Example:
        >>> gaussian(3, 0.6).round(4).tolist()
        [0.1664, 0.6672, 0.1664]
    """
    offsets = np.arange(size) - size // 2
    window = np.exp(-(offsets**2) / (2 * sigma**2))
    return window / window.sum()


def window_means(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Weighted means over every window that lies inside the image.

    Args:
        image: float64 ``(H, W)``.
        window: one-dimensional, of odd size n, used in both directions.

    Returns:
        float64 ``(H - n + 1, W - n + 1)``.

    Example:
        >>> window_means(np.arange(12.0).reshape(3, 4), gaussian(3, 0.6)).round(9).tolist()
        [[5.0, 6.0]]
    """
    radius = len(window) // 2
    # The border rule does not matter: what it touches is cut off.
    rows = correlate1d(image, window, axis=0, mode="nearest")[radius : len(image) - radius]
    return correlate1d(rows, window, axis=1, mode="nearest")[:, radius : image.shape[1] - radius]


def halve(image: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels; the last row or column of an odd size is repeated.

    Args:
        image: float64 ``(H, W)``.

    Returns:
        float64 ``(ceil(H / 2), ceil(W / 2))``.

    Example:
        >>> halve(np.array([[0.0, 2.0, 8.0], [4.0, 6.0, 8.0]])).tolist()
        [[3.0, 8.0]]
    """
    even = np.pad(image, [(0, side % 2) for side in image.shape], mode="edge")
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


@dataclass(frozen=True)
class Moments:
    """An image ``(H, W)``, and its mean and variance (never negative) in each window inside, as ``window_means``.

    Example:
        >>> row = Moments.of(np.tile([0.0, 1.0, 2.0], (3, 1)), np.ones(3) / 3)
        >>> row.mean.round(9).tolist(), row.variance.round(4).tolist()
        ([[1.0]], [[0.6667]])
    """

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
