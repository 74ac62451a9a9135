"""Visual information fidelity on gray levels: VIF of Sheikh and Bovik (2006) in pixels, VIFF of Han et al. (2013)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hsds_lib.evaluation.picture import (
    Arithmetic,
    Image,
    Moments,
    Picture,
    UndefinedMetricError,
    check_option,
    gaussian,
    pictures,
    window_means,
)

WINDOWS = (17, 9, 5, 3)  # pixels, finest scale first; sigma is a fifth of each
MINIMUM_SIDE = 41  # pixels; the coarsest scale has one 3 x 3 window then
VIF_NOISE = 2.0  # variance of the noise in the eye, squared gray levels
VIFF_NOISE = 0.005 * 255**2
VIFF_WEIGHTS = np.array([1, 0, 0.15, 1]) / 2.15  # of the scales
VIFF_OFFSET = 1e-7  # added in every window
_SMALL = 1e-10  # variances below are none


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

    Four scales; statistics in Gaussian windows of 17, 9, 5 and 3 pixels inside the image; before each scale but the
    first, the image is smoothed by the scale's window and every second pixel is taken. The paper's values are those of
    ``uint8``: products of pixels stop at 255, which only concerns the first scale and all but removes it.

    Args:
        source: the image to be kept, RGB uint8 ``(H, W, 3)``, at least 41 pixels on each side.
        fused: the same size; not to be swapped with the source.
        arithmetic: ``uint8`` for the paper's value.

    Returns:
        0 or more; 1 for the source itself, more than 1 for an image that enhances its contrast.

    Raises:
        UndefinedMetricError: if a side is shorter than 41 pixels, or the source is flat.

    Example:
        >>> import numpy as np
        >>> image = np.random.default_rng(0).integers(0, 200, (48, 48, 3), dtype=np.uint8)
        >>> round(vif(image, image), 6)
        1.0
    """
    check_option("arithmetic", arithmetic, ("double", "uint8"))
    first, second = pictures("VIF", MINIMUM_SIDE, source=source, fused=fused)
    channels = first.once(_channels, second)
    if arithmetic == "uint8":
        channels = (first.once(_saturated_channel, second), *channels[1:])
    there = sum(channel.there(VIF_NOISE).sum() for channel in channels)
    if first.flat or there <= 0:
        raise UndefinedMetricError("VIF got a flat source, which holds no information to be kept; leave it out")
    return float(sum(channel.seen(VIF_NOISE).sum() for channel in channels) / there)


def vif_sum(under: Image, over: Image, fused: Image, *, arithmetic: Arithmetic = "double") -> float:
    """Sum of :func:`vif` over the two sources: Table 2 VIF.

    It is a sum and not a mean, so it may exceed 1. The paper's values are most likely those of ``uint8``.

    Args:
        under: RGB uint8 ``(H, W, 3)``, at least 41 pixels on each side.
        over: the same size; the two sources may be swapped.
        fused: the same size.
        arithmetic: ``uint8`` for the paper's value.

    Returns:
        0 or more; 2 if both sources are the fused image.

    Raises:
        UndefinedMetricError: if a side is shorter than 41 pixels, or a source is flat.

    Example:
        >>> import numpy as np
        >>> image = np.random.default_rng(0).integers(0, 200, (48, 48, 3), dtype=np.uint8)
        >>> round(vif_sum(image, image, image), 6)
        2.0
    """
    under, over, fused = pictures("VIF", MINIMUM_SIDE, under=under, over=over, fused=fused)
    return vif(under, fused, arithmetic=arithmetic) + vif(over, fused, arithmetic=arithmetic)


def viff(under: Image, over: Image, fused: Image) -> float:
    """VIFF of Han et al. (2013), the form of the MEFB benchmark on gray levels; not what the paper calls VIF.

    The model is that of :func:`vif`. In every window the source with the smaller gain counts (``over`` where both are
    equal). The ratio of what is seen to what is there is taken per scale and weighted by 1, 0, 0.15 and 1 over 2.15.

    Args:
        under: RGB uint8 ``(H, W, 3)``, at least 41 pixels on each side.
        over: the same size.
        fused: the same size.

    Returns:
        0 or more; 1 where there is nothing to be kept.

    Raises:
        UndefinedMetricError: if a side is shorter than 41 pixels.

    Example:
        >>> import numpy as np
        >>> image = np.random.default_rng(0).integers(0, 200, (48, 48, 3), dtype=np.uint8)
        >>> round(viff(image, image, image), 6)
        1.0
    """
    first, second, third = pictures("VIFF", MINIMUM_SIDE, under=under, over=over, fused=fused)
    return _viff(first.once(_channels, third), second.once(_channels, third))


def viff_rgb(under: Image, over: Image, fused: Image) -> float:
    """Mean over R, G and B of :func:`viff` of each colour channel.

    Args:
        under: RGB uint8 ``(H, W, 3)``, at least 41 pixels on each side.
        over: the same size.
        fused: the same size.

    Returns:
        0 or more; 1 where there is nothing to be kept.

    Raises:
        UndefinedMetricError: if a side is shorter than 41 pixels.

    Example:
        >>> import numpy as np
        >>> image = np.random.default_rng(0).integers(0, 200, (48, 48, 3), dtype=np.uint8)
        >>> round(viff_rgb(image, image, image), 6)
        1.0
    """
    trio = pictures("VIFF", MINIMUM_SIDE, under=under, over=over, fused=fused)
    values = []
    for colour in range(3):
        first, second, third = (_levels_of(picture.pixels[..., colour].astype(np.float64)) for picture in trio)
        values.append(_viff(_channels_between(first, third), _channels_between(second, third)))
    return float(np.mean(values))


def _viff(under: tuple[_Channel, ...], over: tuple[_Channel, ...]) -> float:
    ratios = []
    for first, second in zip(under, over, strict=True):
        weaker = first.gain < second.gain
        seen = np.where(weaker, first.seen(VIFF_NOISE), second.seen(VIFF_NOISE)) + VIFF_OFFSET
        there = np.where(weaker, first.there(VIFF_NOISE), second.there(VIFF_NOISE)) + VIFF_OFFSET
        ratios.append(seen.sum() / there.sum())
    return float(VIFF_WEIGHTS @ ratios)


def _levels(picture: Picture) -> tuple[Moments, ...]:
    return _levels_of(picture.gray_double)


def _levels_of(image: np.ndarray) -> tuple[Moments, ...]:
    levels = []
    for scale, size in enumerate(WINDOWS):
        window = gaussian(size, size / 5)
        if scale:
            image = np.ascontiguousarray(window_means(image, window)[::2, ::2])
        levels.append(Moments.of(image, window))
    return tuple(levels)


def _channels(source: Picture, fused: Picture) -> tuple[_Channel, ...]:
    return _channels_between(source.once(_levels), fused.once(_levels))


def _channels_between(source: tuple[Moments, ...], fused: tuple[Moments, ...]) -> tuple[_Channel, ...]:
    pairs = zip(source, fused, strict=True)
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
