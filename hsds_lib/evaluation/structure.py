"""Structural similarity of gray images: SSIM and MS-SSIM of Wang et al. to one image, MEF-SSIM to an exposure pair."""

from __future__ import annotations

import numpy as np
import torch
from skimage.metrics import structural_similarity

from hsds_lib.evaluation.picture import Image, Moments, Picture, check_option, gaussian, halve, pictures
from hsds_lib.losses.mef_ssim import SIGMA, WINDOW, combine_scales, mef_ssim_pair

WANG_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first
WANG_MINIMUM_SIDE = 176  # pixels: 11 * 2^4, below which the published code refuses
LUMINANCE_CONSTANT = (0.01 * 255) ** 2
CONTRAST_CONSTANT = (0.03 * 255) ** 2
STRIP_PIXELS = 2**15  # that MEF-SSIM is computed on at once, unless a strip would have few rows


def ssim(ref: Image, fused: Image) -> float:
    """SSIM of Wang et al. (2004) of the gray images, by scikit-image.

    Gaussian window of 11 pixels with sigma 1.5, only windows inside the image, constants 0.01 and 0.03, range 255.

    Args:
        ref: RGB uint8 ``(H, W, 3)``, at least 11 pixels on each side.
        fused: the same size; the two may be swapped.

    Returns:
        A value in -1..1, 1 when equal.

    Raises:
        UndefinedMetricError: if a side is shorter than 11 pixels.

    Example:
        >>> import numpy as np
        >>> image = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        >>> float(ssim(image, image))
        1.0
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
    """Five-scale MS-SSIM of Wang, Simoncelli and Bovik (2003) against one image.

    It is not what the paper's tables have as MS-SSIM, see :func:`ms_ssim`. Contrast and structure at five scales, each
    half the size of the one before (2 x 2 means, edges repeated), and luminance at the coarsest, as a product of
    powers. Windows as in :func:`ssim`.

    Args:
        image: a source or the reference, RGB uint8 ``(H, W, 3)``, at least 176 pixels on each side.
        fused: the same size; the two may be swapped.

    Returns:
        A value in 0..1, 1 when equal. A scale whose mean is negative counts as 0: the power is not real.

    Raises:
        UndefinedMetricError: if a side is shorter than 176 pixels.

    Example:
        >>> import numpy as np
        >>> image = np.random.default_rng(0).integers(0, 256, (176, 176, 3), dtype=np.uint8)
        >>> round(ms_ssim_wang(image, image), 9)
        1.0
    """
    first, second = pictures("MS-SSIM", WANG_MINIMUM_SIDE, image=image, fused=fused)
    levels = list(zip(first.once(_levels), second.once(_levels), strict=True))
    maps = [_contrast_structure(a, b) for a, b in levels]
    maps[-1] = maps[-1] * _luminance(*levels[-1])
    means = np.array([max(float(values.mean()), 0.0) for values in maps])
    return float(np.prod(means ** np.array(WANG_WEIGHTS)))


def ms_ssim_wang_sources(under: Image, over: Image, fused: Image) -> float:
    """Mean of :func:`ms_ssim_wang` over the two sources.

    Args:
        under: RGB uint8 ``(H, W, 3)``, at least 176 pixels on each side.
        over: the same size; the two sources may be swapped.
        fused: the same size.

    Returns:
        A value in 0..1.

    Raises:
        UndefinedMetricError: if a side is shorter than 176 pixels.

    Example:
        >>> import numpy as np
        >>> image = np.random.default_rng(0).integers(0, 256, (176, 176, 3), dtype=np.uint8)
        >>> round(ms_ssim_wang_sources(image, image, image), 9)
        1.0
    """
    under, over, fused = pictures("MS-SSIM", WANG_MINIMUM_SIDE, under=under, over=over, fused=fused)
    return (ms_ssim_wang(under, fused) + ms_ssim_wang(over, fused)) / 2


def ms_ssim(under: Image, over: Image, fused: Image) -> float:
    """Three-scale MEF-SSIM of Ma, Zeng and Wang (2015): Table 2 MS-SSIM.

    See :func:`hsds_lib.losses.mef_ssim.mef_ssim_pair`, which this is in float64 on the gray images.

    Args:
        under: RGB uint8 ``(H, W, 3)``, at least 44 pixels on each side.
        over: the same size; the two sources may be swapped.
        fused: the same size.

    Returns:
        A value of at most 1.

    Raises:
        UndefinedMetricError: if a side is shorter than 44 pixels.

    Example:
        >>> import numpy as np
        >>> image = np.random.default_rng(0).integers(0, 256, (44, 44, 3), dtype=np.uint8)
        >>> round(ms_ssim(image, image, image), 4)
        1.0
    """
    first, second, third = pictures("MS-SSIM", WINDOW * 4, under=under, over=over, fused=fused)
    scores = [third.once(_mef_ssim, first, second, scale) for scale in (1, 2, 3)]
    return float(combine_scales(torch.tensor([scores], dtype=torch.float64)))


def mef_ssim(under: Image, over: Image, fused: Image, *, scale: int = 1) -> float:
    """One scale of MEF-SSIM (Ma, Zeng and Wang, 2015); at full resolution: Table 2 MEF-SSIM.

    Args:
        under: RGB uint8 ``(H, W, 3)``, at least ``11 * 2**(scale - 1)`` pixels on each side.
        over: the same size; the two sources may be swapped.
        fused: the same size.
        scale: 1 for full resolution, 2 and 3 for images of half and of a quarter of the size.

    Returns:
        A value of at most 1.

    Raises:
        UndefinedMetricError: if a side is too short.

    Example:
        >>> import numpy as np
        >>> image = np.random.default_rng(0).integers(0, 256, (11, 11, 3), dtype=np.uint8)
        >>> round(mef_ssim(image, image, image), 4)
        1.0
    """
    check_option("scale", scale, (1, 2, 3))
    minimum = WINDOW * 2 ** (scale - 1)
    first, second, third = pictures("MEF-SSIM", minimum, under=under, over=over, fused=fused)
    return third.once(_mef_ssim, first, second, scale)


def _levels(picture: Picture) -> tuple[Moments, ...]:
    image, levels = picture.gray_double, []
    for scale in range(len(WANG_WEIGHTS)):
        if scale:
            image = halve(image)
        levels.append(Moments.of(image, gaussian(WINDOW, SIGMA)))
    return tuple(levels)


def _contrast_structure(first: Moments, second: Moments) -> np.ndarray:
    total = first.variance + second.variance
    return (2 * first.covariance(second) + CONTRAST_CONSTANT) / (total + CONTRAST_CONSTANT)


def _luminance(first: Moments, second: Moments) -> np.ndarray:
    return (2 * first.mean * second.mean + LUMINANCE_CONSTANT) / (first.mean**2 + second.mean**2 + LUMINANCE_CONSTANT)


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
