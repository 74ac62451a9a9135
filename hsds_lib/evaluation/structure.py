"""Structure in windows of gray images: SSIM, MS-SSIM, MEF-SSIM and TMQI.

MEF-SSIM is the loss of ``hsds_lib.losses.mef_ssim`` in float64; SSIM is scikit-image's. The five scales of MS-SSIM and
TMQI are on numpy: scipy takes a tenth of the time of a float64 convolution of torch for the means of 11 x 11 windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from scipy.special import ndtr
from skimage.metrics import structural_similarity

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
from hsds_lib.losses.mef_ssim import SCALE_WEIGHTS, SIGMA, WINDOW, combine_scales, mef_ssim_pair

FIVE_SCALES = np.array([*SCALE_WEIGHTS, 0.2363, 0.1333])  # weights of MS-SSIM and TMQI, finest first
WANG_MINIMUM_SIDE = 176  # pixels: 11 * 2^4, below which the published code refuses
TMQI_MINIMUM_SIDE = 161  # pixels; the coarsest of five scales has one window of 11 then
STRIP_PIXELS = 2**15  # that MEF-SSIM is computed on at once, unless a strip would have few rows
_FREQUENCIES = (16, 8, 4, 2, 1)  # of the scales of TMQI, cycles per degree
_DYNAMIC_RANGE = 2**32 - 1  # to which TMQI stretches the reference
_LUMA_WEIGHTS = np.array([0.2126, 0.7152, 0.0722])  # of R, G and B as they are stored
_BLOCK = 11  # pixels


def ssim(ref: Image, fused: Image) -> float:
    """SSIM of Wang et al. (2004) of the gray images: -1..1, 1 when equal; at least 11 pixels on each side.

    Gaussian window of 11 pixels with sigma 1.5, only windows inside the image, constants 0.01 and 0.03, range 255.
    """
    first, second = pictures("SSIM", WINDOW, ref=ref, fused=fused)
    value = structural_similarity(
        first.gray_double,
        second.gray_double,
        data_range=255,
        gaussian_weights=True,
        sigma=SIGMA,
        use_sample_covariance=False,
    )
    return float(value)


def ms_ssim_wang(image: Image, fused: Image) -> float:
    """Five-scale MS-SSIM of Wang, Simoncelli and Bovik (2003) against one image, 0..1; not the paper's :func:`ms_ssim`.

    Contrast and structure at five scales, each half the size of the one before, and luminance at the coarsest, as a
    product of powers. Windows as in :func:`ssim`; at least 176 pixels on each side.
    """
    first, second = pictures("MS-SSIM", WANG_MINIMUM_SIDE, image=image, fused=fused)
    levels = list(zip(first.once(_gray_levels), second.once(_gray_levels), strict=True))
    maps = [_similarity(a.covariance(b), a.variance, b.variance, 0.03 * 255) for a, b in levels]
    a, b = levels[-1]
    maps[-1] = maps[-1] * _similarity(a.mean * b.mean, a.mean**2, b.mean**2, 0.01 * 255)
    return _product(maps)


def ms_ssim_wang_sources(under: Image, over: Image, fused: Image) -> float:
    """Mean of :func:`ms_ssim_wang` over the two sources."""
    under, over, fused = pictures("MS-SSIM", WANG_MINIMUM_SIDE, under=under, over=over, fused=fused)
    return (ms_ssim_wang(under, fused) + ms_ssim_wang(over, fused)) / 2


def ms_ssim(under: Image, over: Image, fused: Image) -> float:
    """Three-scale MEF-SSIM of Ma, Zeng and Wang (2015), at most 1: Table 2 MS-SSIM.

    It is :func:`hsds_lib.losses.mef_ssim.mef_ssim_pair`; at least 44 pixels on each side.
    """
    first, second, third = pictures("MS-SSIM", WINDOW * 4, under=under, over=over, fused=fused)
    scores = [third.once(_mef_ssim, first, second, scale) for scale in (1, 2, 3)]
    return float(combine_scales(torch.tensor([scores], dtype=torch.float64)))


def mef_ssim(under: Image, over: Image, fused: Image, *, scale: int = 1) -> float:
    """One scale of MEF-SSIM (Ma, Zeng and Wang, 2015), at most 1; at full resolution: Table 2 MEF-SSIM.

    Scale 1 is full resolution, 2 and 3 are half and a quarter; at least ``11 * 2**(scale - 1)`` pixels on each side.
    """
    check_option("scale", scale, (1, 2, 3))
    minimum = WINDOW * 2 ** (scale - 1)
    first, second, third = pictures("MEF-SSIM", minimum, under=under, over=over, fused=fused)
    return third.once(_mef_ssim, first, second, scale)


def tmqi(ref: Image, fused: Image, *, data_range: DataRange = 255) -> float:
    """Tone-mapped image quality index of Yeganeh and Wang (2013), 0..1: Table 2 TMQI.

    ``0.8012 S^0.3046 + 0.1988 N^0.7088`` with :func:`tmqi_fidelity` S and :func:`tmqi_naturalness` N. The reference
    takes the place of the high-dynamic-range image; the two may not be swapped. The index is made for fused images in
    0..255. The paper's values, around 0.21, are those of images in 0..1 (``data_range=1``): N vanishes then, no
    contrast is visible, and the index hardly tells methods apart.
    """
    fidelity = tmqi_fidelity(ref, fused, data_range=data_range)
    return 0.8012 * fidelity**0.3046 + (1 - 0.8012) * tmqi_naturalness(fused, data_range=data_range) ** 0.7088


def tmqi_fidelity(ref: Image, fused: Image, *, data_range: DataRange = 255) -> float:
    """Structural fidelity S of TMQI, 0..1: visible contrast and structure at five scales, as a product of powers.

    At least 161 pixels on each side. Where an image is exactly flat, stretching the reference to 0..2^32 - 1 turns
    rounding errors into contrast, in the published program as here. S then depends on the order of summation, and so a
    little on the machine: for a reference with 0.2 % flat windows, by 1e-4 of it with ``data_range=255`` and by 0.6 %
    with 1. UndefinedMetricError for a reference of a single luma.
    """
    check_option("data_range", data_range, (1, 255))
    first, second = pictures("TMQI", TMQI_MINIMUM_SIDE, ref=ref, fused=fused)
    return first.once(_fidelity, second, data_range)


def tmqi_naturalness(fused: Image, *, data_range: DataRange = 255) -> float:
    """Statistical naturalness N of TMQI, 0..1: how common this brightness and this contrast are.

    The density of the mean luma (normal, 115.94 and 27.99) times that of the mean standard deviation of 11 x 11 blocks
    over 64.29 (beta, 4.4 and 10.1), both with the peak 1. Blocks at the edge are filled up with 0 and count by their
    area inside.
    """
    check_option("data_range", data_range, (1, 255))
    (picture,) = pictures("TMQI", fused=fused)
    luma = picture.once(_luma, data_range)
    brightness = math.exp(-(((luma.mean() - 115.94) / 27.99) ** 2) / 2)
    return brightness * _beta_density(_block_deviation(luma) / 64.29, 4.4, 10.1)


def _levels(image: np.ndarray) -> Iterator[Moments]:
    """Moments in Gaussian windows at five scales, each half the size of the one before."""
    for scale in range(len(FIVE_SCALES)):
        image = halve(image) if scale else image
        yield Moments.of(image, gaussian(WINDOW, SIGMA))


def _gray_levels(picture: Picture) -> tuple[Moments, ...]:
    return tuple(_levels(picture.gray_double))


def _similarity(product: np.ndarray, first: np.ndarray, second: np.ndarray, constant: float) -> np.ndarray:
    return (2 * product + constant**2) / (first + second + constant**2)


def _product(maps: Iterable[np.ndarray]) -> float:
    """Product of the scales' means, each to its power; a negative mean counts as 0, as its power is not real."""
    means = np.array([max(float(values.mean()), 0.0) for values in maps])
    return float(np.prod(means**FIVE_SCALES))


def _mef_ssim(fused: Picture, under: Picture, over: Picture, scale: int) -> float:
    """One scale of MEF-SSIM, in strips: a large photograph takes no more memory than a small one, and less time."""
    images = [picture.gray_double / 255 for picture in (fused, under, over)]
    for _ in range(scale - 1):
        images = [halve(image) for image in images]
    height, width = images[0].shape
    windows, rows = height - WINDOW + 1, max(3 * WINDOW, STRIP_PIXELS // width)
    total = 0.0
    for top in range(0, windows, rows):
        bottom = min(top + rows, windows)
        strips = (torch.from_numpy(image[top : bottom + WINDOW - 1])[None, None] for image in images)
        total += mef_ssim_pair(*strips, scales=1).item() * (bottom - top)
    return total / windows


def _luma(picture: Picture, data_range: int) -> np.ndarray:
    return picture.pixels / (255 / data_range) @ _LUMA_WEIGHTS


def _fidelity(ref: Picture, fused: Picture, data_range: int) -> float:
    luma = ref.once(_luma, data_range)
    lowest, highest = luma.min(), luma.max()
    if lowest == highest:
        raise UndefinedMetricError("TMQI got a reference of one single luma, which has no structure; leave it out")
    stretched = round(_DYNAMIC_RANGE / (highest - lowest)) * (luma - lowest)
    levels = zip(_levels(stretched), _levels(fused.once(_luma, data_range)), _FREQUENCIES, strict=True)
    return _product(_local_fidelity(*level) for level in levels)


def _local_fidelity(wanted: Moments, found: Moments, frequency: float) -> np.ndarray:
    """Compare the contrasts, as far as the eye sees them at this frequency, and the structure in each window."""
    sensitivity = 260 * (0.0192 + 0.114 * frequency) * math.exp(-((0.114 * frequency) ** 1.1))
    threshold = 128 / (1.4 * sensitivity)
    deviations = np.sqrt(wanted.variance), np.sqrt(found.variance)
    first, second = (ndtr((deviation - threshold) / (threshold / 3)) for deviation in deviations)
    contrast = (2 * first * second + 0.01) / (first**2 + second**2 + 0.01)
    return contrast * (wanted.covariance(found) + 10) / (deviations[0] * deviations[1] + 10)


def _block_deviation(luma: np.ndarray) -> float:
    height, width = luma.shape
    rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
    filled = np.zeros((rows * _BLOCK, columns * _BLOCK))
    filled[:height, :width] = luma
    deviations = filled.reshape(rows, _BLOCK, columns, _BLOCK).std(axis=(1, 3), ddof=1)
    inside = [np.minimum(_BLOCK, side - _BLOCK * np.arange(-(-side // _BLOCK))) for side in (height, width)]
    return float(np.average(deviations, weights=np.outer(*inside)))


def _beta_density(value: float, a: float, b: float) -> float:
    """Density of the beta distribution over its own peak; 0 outside 0..1."""
    if not 0 < value < 1:
        return 0.0
    mode = (a - 1) / (a + b - 2)
    return (value / mode) ** (a - 1) * ((1 - value) / (1 - mode)) ** (b - 1)
