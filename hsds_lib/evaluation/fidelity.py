"""What a fused image keeps of its sources, on gray levels: VIF, VIFF and Q^AB/F.

``losses.pair_terms`` has VIF and Q^AB/F a second time, because these here must equal the published programs. VIF on
torch in float64 takes 2.9 s for a megapixel where this takes 0.5 s. Of Q^AB/F the published sums have an order and a
rule for equal edges that have no slope; the loss, which smooths both, gives 0.442 where the metric is 0.448.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from hsds_lib.evaluation.picture import (
    Arithmetic,
    DataRange,
    Image,
    Moments,
    Picture,
    UndefinedMetricError,
    check_option,
    gaussian,
    pictures,
    window_means,
)
from hsds_lib.losses.pair_terms import ORIENTATION_SIGMOID, STRENGTH_SIGMOID, VIF_MINIMUM, VIF_WINDOWS

_VIF_NOISE = 2.0  # variance of the noise in the eye, squared gray levels
_VIFF_NOISE = 0.005 * 255**2
_VIFF_WEIGHTS = np.array([1, 0, 0.15, 1]) / 2.15  # of the scales
_VIFF_OFFSET = 1e-7  # added in every window
_SMALL = 1e-10  # variances below are none
_LEFTWARDS = np.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])  # Sobel; its sign matters, as upright edges are +pi/2


@dataclass(frozen=True)
class _Channel:
    """The model of VIF at one scale, per window: ``fused = gain * source + noise of variance residual``."""

    gain: np.ndarray
    residual: np.ndarray
    variance: np.ndarray  # of the source

    def seen(self, noise: float) -> np.ndarray:
        """Information about the source that is seen through the fused image, per window."""
        return np.log10(1 + self.gain**2 * self.variance / (self.residual + noise))

    def there(self, noise: float) -> np.ndarray:
        """Information that is seen in the source itself, per window."""
        return np.log10(1 + self.variance / noise)


def vif(source: Image, fused: Image, *, arithmetic: Arithmetic = "double") -> float:
    """Information about one source that is seen in the fused image, of that seen in the source: part of Table 2 VIF.

    VIF of Sheikh and Bovik (2006) in pixels, 0 or more: 1 for the source itself, more for an image that enhances its
    contrast. Statistics in Gaussian windows of 17, 9, 5 and 3 pixels; before each scale but the first, the image is
    smoothed by the scale's window and every second pixel is taken. The paper's values are those of ``uint8``: products
    of pixels stop at 255, which only concerns the first scale and all but removes it. At least 41 pixels on each side;
    UndefinedMetricError for a flat source.
    """
    check_option("arithmetic", arithmetic, ("double", "uint8"))
    first, second = pictures("VIF", VIF_MINIMUM, source=source, fused=fused)
    channels = first.once(_channels, second)
    if arithmetic == "uint8":
        channels = (first.once(_saturated_channel, second), *channels[1:])
    there = sum(channel.there(_VIF_NOISE).sum() for channel in channels)
    if first.flat or there <= 0:
        raise UndefinedMetricError("VIF got a flat source, which holds no information to be kept; leave it out")
    return float(sum(channel.seen(_VIF_NOISE).sum() for channel in channels) / there)


def vif_sum(under: Image, over: Image, fused: Image, *, arithmetic: Arithmetic = "double") -> float:
    """Sum of :func:`vif` over the two sources, so 2 if both are the fused image: Table 2 VIF.

    The paper's values are most likely those of ``uint8``.
    """
    under, over, fused = pictures("VIF", VIF_MINIMUM, under=under, over=over, fused=fused)
    return vif(under, fused, arithmetic=arithmetic) + vif(over, fused, arithmetic=arithmetic)


def viff(under: Image, over: Image, fused: Image) -> float:
    """VIFF of Han et al. (2013), the form of the MEFB benchmark on gray levels; not what the paper calls VIF.

    The model is that of :func:`vif`. In every window the source with the smaller gain counts (``over`` where both are
    equal). The ratio of what is seen to what is there is taken per scale and weighted by 1, 0, 0.15 and 1 over 2.15;
    it is 1 where there is nothing to be kept.
    """
    first, second, third = pictures("VIFF", VIF_MINIMUM, under=under, over=over, fused=fused)
    ratios = []
    for dark, bright in zip(first.once(_channels, third), second.once(_channels, third), strict=True):
        weaker = dark.gain < bright.gain
        seen = np.where(weaker, dark.seen(_VIFF_NOISE), bright.seen(_VIFF_NOISE)) + _VIFF_OFFSET
        there = np.where(weaker, dark.there(_VIFF_NOISE), bright.there(_VIFF_NOISE)) + _VIFF_OFFSET
        ratios.append(seen.sum() / there.sum())
    return float(_VIFF_WEIGHTS @ ratios)


def viff_rgb(under: Image, over: Image, fused: Image) -> float:
    """Mean over R, G and B of :func:`viff` of each colour channel."""
    trio = pictures("VIFF", VIF_MINIMUM, under=under, over=over, fused=fused)
    planes = [[np.repeat(picture.pixels[..., [c]], 3, axis=2) for picture in trio] for c in range(3)]
    return float(np.mean([viff(*plane) for plane in planes]))


def qabf(under: Image, over: Image, fused: Image, *, data_range: DataRange = 255) -> float:
    """How well the edges of both sources are kept, 0..1: Table 2 Qabf.

    Q^AB/F of Xydeas and Petrovic (2000): Sobel edges (the image continued by 0), compared in strength and orientation,
    each through a sigmoid, weighted by the strength in the source. Where source and fused strength are exactly equal,
    the published code takes the strength itself for their ratio. On 0..255 that does no harm: a source itself has about
    0.975. On 0..1, which the paper's toolbox probably used, it takes equal edges for lost ones, and rounding decides
    which are equal: little of the value where fusion changes every pixel, 8 % of a Mertens fusion with large clipped
    areas, a quarter to more than half where one source is the fused image. So the value on 0..255 is the one to
    report. UndefinedMetricError if no source has an edge: black images, or single pixels.
    """
    check_option("data_range", data_range, (1, 255))
    first, second, third = pictures("Qabf", under=under, over=over, fused=fused)
    after = _edges(third, data_range)
    kept, there = 0.0, 0.0
    for source in (first, second):
        before = _edges(source, data_range)
        kept += float((_preservation(before, after) * before[0]).sum())
        there += float(before[0].sum())
    if there == 0:
        raise UndefinedMetricError("Qabf got two sources without any edge to be kept (black ones, say); leave it out")
    return kept / there


def _levels(picture: Picture) -> tuple[Moments, ...]:
    image, levels = picture.gray_double, []
    for scale, size in enumerate(VIF_WINDOWS):
        window = gaussian(size, size / 5)
        if scale:
            image = np.ascontiguousarray(window_means(image, window)[::2, ::2])
        levels.append(Moments.of(image, window))
    return tuple(levels)


def _channels(source: Picture, fused: Picture) -> tuple[_Channel, ...]:
    pairs = zip(source.once(_levels), fused.once(_levels), strict=True)
    return tuple(_channel(first.covariance(second), first.variance, second.variance) for first, second in pairs)


def _saturated_moment(picture: Picture, other: Picture) -> np.ndarray:
    """Window means of products that stop at 255, at the first scale, less the product of the means."""
    first, second = picture.once(_levels)[0], other.once(_levels)[0]
    return window_means(np.minimum(first.image * second.image, 255), first.window) - first.mean * second.mean


def _saturated_variance(picture: Picture) -> np.ndarray:
    return np.maximum(_saturated_moment(picture, picture), 0)


def _saturated_channel(source: Picture, fused: Picture) -> _Channel:
    variances = source.once(_saturated_variance), fused.once(_saturated_variance)
    return _channel(_saturated_moment(source, fused), *variances)


def _channel(covariance: np.ndarray, source_variance: np.ndarray, fused_variance: np.ndarray) -> _Channel:
    there, seen = source_variance >= _SMALL, fused_variance >= _SMALL
    # A window that has no contrast, keeps none or is seen as its negative has the gain 0: it is all noise.
    gain = covariance / (source_variance + _SMALL) * (there & seen & (covariance > 0))
    residual = np.maximum(fused_variance - gain * covariance, _SMALL)
    return _Channel(gain, residual, source_variance * there)


def _edges(picture: Picture, data_range: int) -> tuple[np.ndarray, np.ndarray]:
    """Sobel edges of one image, ``(H, W)`` each: strength, and orientation in -pi/2..pi/2."""
    gray = picture.gray_double / (255 / data_range)
    x, y = _slope(gray, _LEFTWARDS), _slope(gray, _LEFTWARDS.T[::-1])
    upright = x == 0
    orientation = np.where(upright, np.pi / 2, np.arctan(y / np.where(upright, 1, x)))
    return np.sqrt(x**2 + y**2), orientation


def _slope(gray: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums of 3 x 3 weighted neighbours, the image continued by 0."""
    # On 0..1 rounding decides which strengths are equal, so the terms are added in the order of the published program:
    # column by column from the left, each from below. No library promises an order.
    height, width = gray.shape
    padded, slope = np.pad(gray, 1), np.zeros_like(gray)
    for column, row in product(range(3), reversed(range(3))):
        if weights[row, column]:
            slope += weights[row, column] * padded[row : row + height, column : column + width]
    return slope


def _preservation(before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    weaker, stronger = np.minimum(before[0], after[0]), np.maximum(before[0], after[0])
    equal = weaker == stronger
    strength = np.where(equal, after[0], weaker / np.where(equal, 1, stronger))
    orientation = 1 - np.abs(before[1] - after[1]) / (np.pi / 2)
    return _sigmoid(strength, *STRENGTH_SIGMOID) * _sigmoid(orientation, *ORIENTATION_SIGMOID)


def _sigmoid(value: np.ndarray, height: float, slope: float, middle: float) -> np.ndarray:
    return height / (1 + np.exp(slope * (value - middle)))
