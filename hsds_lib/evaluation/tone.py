"""TMQI of Yeganeh and Wang (2013): structural fidelity to a reference, and naturalness."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from hsds_lib.evaluation.picture import (
    DataRange,
    Image,
    Moments,
    Picture,
    UndefinedMetricError,
    check_option,
    gaussian,
    halve,
    pictures,
)

LUMA_WEIGHTS = np.array([0.2126, 0.7152, 0.0722])  # of R, G and B as they are stored
SCALE_WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])  # finest first
FREQUENCIES = (16, 8, 4, 2, 1)  # of the scales, cycles per degree
MINIMUM_SIDE = 161  # pixels; the coarsest of five scales has one window of 11 then
DYNAMIC_RANGE = 2**32 - 1  # to which the reference is stretched
BLOCK = 11  # pixels


def tmqi(ref: Image, fused: Image, *, data_range: DataRange = 255) -> float:
    """Tone-mapped image quality index of a fused image: Table 2 TMQI.

    ``0.8012 S^0.3046 + 0.1988 N^0.7088`` with :func:`tmqi_fidelity` S and :func:`tmqi_naturalness` N. The index is
    made for fused images in 0..255. The paper's values, around 0.21, are those of images in 0..1: N vanishes then, no
    contrast is visible, and the index hardly tells methods apart.

    Args:
        ref: takes the place of the high-dynamic-range image; RGB uint8 ``(H, W, 3)``, at least 161 pixels on each side.
        fused: the same size; not to be swapped with the reference.
        data_range: 255 for the index as it was made, 1 for the paper's value.

    Returns:
        A value in 0..1.

    Raises:
        UndefinedMetricError: if a side is shorter than 161 pixels, or the reference has a single luma.

    Example:
        >>> import numpy as np
        >>> image = np.random.default_rng(0).integers(0, 256, (161, 161, 3), dtype=np.uint8)
        >>> tmqi(image, image) > 0.7 > 0.3 > tmqi(image, image, data_range=1)
        True
    """
    fidelity = tmqi_fidelity(ref, fused, data_range=data_range)
    return 0.8012 * fidelity**0.3046 + (1 - 0.8012) * tmqi_naturalness(fused, data_range=data_range) ** 0.7088


def tmqi_fidelity(ref: Image, fused: Image, *, data_range: DataRange = 255) -> float:
    """Structural fidelity S of TMQI.

    At five scales, the means over 11 x 11 Gaussian windows of a comparison of visible contrast (through a normal
    distribution around the threshold of the eye at that scale) and of structure, as a product of powers.

    Where an image is exactly flat, the stretch turns rounding errors into contrast, in the published program as here.
    S then depends on the order of summation, and so a little on the machine: for a reference with 0.2 % flat windows,
    by 1e-4 of it with ``data_range=255`` and by 0.6 % with 1.

    Args:
        ref: RGB uint8 ``(H, W, 3)``, at least 161 pixels on each side; its luma is stretched to 0..2^32 - 1.
        fused: the same size.
        data_range: 255 or 1, the range of the fused image.

    Returns:
        S in 0..1; a scale whose mean is negative counts as 0, as the power is not real.

    Raises:
        UndefinedMetricError: if a side is shorter than 161 pixels, or the reference has a single luma.

    Example:
        >>> import numpy as np
        >>> image = np.random.default_rng(0).integers(0, 256, (161, 161, 3), dtype=np.uint8)
        >>> tmqi_fidelity(image, image) > 0.95 > tmqi_fidelity(image, 255 - image)
        True
    """
    check_option("data_range", data_range, (1, 255))
    first, second = pictures("TMQI", MINIMUM_SIDE, ref=ref, fused=fused)
    return first.once(_fidelity, second, data_range)


def tmqi_naturalness(fused: Image, *, data_range: DataRange = 255) -> float:
    """Statistical naturalness N of TMQI: how common this brightness and this contrast are.

    The density of the mean luma (normal, 115.94 and 27.99) times that of the mean standard deviation of 11 x 11 blocks
    over 64.29 (beta, 4.4 and 10.1), both with the peak 1. Blocks at the edge are filled up with 0 and count by their
    area inside.

    Args:
        fused: RGB uint8 ``(H, W, 3)``, any size.
        data_range: 255, or 1 for luma divided by 255.

    Returns:
        N in 0..1.

    Example:
        >>> import numpy as np
        >>> tmqi_naturalness(np.full((22, 22, 3), 116, dtype=np.uint8))
        0.0
    """
    check_option("data_range", data_range, (1, 255))
    (picture,) = pictures("TMQI", fused=fused)
    luma = picture.once(_luma, data_range)
    brightness = math.exp(-(((luma.mean() - 115.94) / 27.99) ** 2) / 2)
    return brightness * _beta_density(_block_deviation(luma) / 64.29, 4.4, 10.1)


def _luma(picture: Picture, data_range: int) -> np.ndarray:
    return picture.pixels / (255 / data_range) @ LUMA_WEIGHTS


def _fidelity(ref: Picture, fused: Picture, data_range: int) -> float:
    levels = ref.once(_stretched_levels, data_range), fused.once(_plain_levels, data_range)
    means = []
    for wanted, found, frequency in zip(*levels, FREQUENCIES, strict=True):
        means.append(max(float(_local_fidelity(wanted, found, frequency).mean()), 0.0))
    return float(np.prod(np.array(means) ** SCALE_WEIGHTS))


def _plain_levels(picture: Picture, data_range: int) -> tuple[Moments, ...]:
    return _levels(picture.once(_luma, data_range))


def _stretched_levels(picture: Picture, data_range: int) -> tuple[Moments, ...]:
    luma = picture.once(_luma, data_range)
    lowest, highest = luma.min(), luma.max()
    if lowest == highest:
        raise UndefinedMetricError("TMQI got a reference of one single luma, which has no structure; leave it out")
    return _levels(round(DYNAMIC_RANGE / (highest - lowest)) * (luma - lowest))


def _levels(luma: np.ndarray) -> tuple[Moments, ...]:
    levels = []
    for scale in range(len(FREQUENCIES)):
        if scale:
            luma = halve(luma)
        levels.append(Moments.of(luma, gaussian(11, 1.5)))
    return tuple(levels)


def _local_fidelity(wanted: Moments, found: Moments, frequency: float) -> np.ndarray:
    sensitivity = 260 * (0.0192 + 0.114 * frequency) * math.exp(-((0.114 * frequency) ** 1.1))
    threshold = 128 / (1.4 * sensitivity)
    deviations = np.sqrt(wanted.variance), np.sqrt(found.variance)
    first, second = (ndtr((deviation - threshold) / (threshold / 3)) for deviation in deviations)
    contrast = (2 * first * second + 0.01) / (first**2 + second**2 + 0.01)
    return contrast * (wanted.covariance(found) + 10) / (deviations[0] * deviations[1] + 10)


def _block_deviation(luma: np.ndarray) -> float:
    height, width = luma.shape
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    filled = np.zeros((rows * BLOCK, columns * BLOCK))
    filled[:height, :width] = luma
    deviations = filled.reshape(rows, BLOCK, columns, BLOCK).std(axis=(1, 3), ddof=1)
    inside = [np.minimum(BLOCK, side - BLOCK * np.arange(-(-side // BLOCK))) for side in (height, width)]
    return float(np.average(deviations, weights=np.outer(*inside)))


def _beta_density(value: float, a: float, b: float) -> float:
    """Density of the beta distribution over its own peak; 0 outside 0..1."""
    if not 0 < value < 1:
        return 0.0
    mode = (a - 1) / (a + b - 2)
    return (value / mode) ** (a - 1) * ((1 - value) / (1 - mode)) ** (b - 1)
