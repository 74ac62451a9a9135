"""Metrics of single pixels: standard deviation, entropy, correlation and PSNR. All but SD of RGB are on gray levels."""

from __future__ import annotations

import numpy as np
from skimage.measure import shannon_entropy
from skimage.metrics import peak_signal_noise_ratio

from hsds_lib.evaluation.picture import Arithmetic, Image, UndefinedMetricError, check_option, pictures


def sd(fused: Image, *, arithmetic: Arithmetic = "double") -> float:
    """Standard deviation of the gray levels: Table 2 SD.

    With ``double``, the population standard deviation. The paper's values are those of ``uint8``, which an older
    toolbox computed: levels below the mean count as 0, squares stop at 255. That mostly says how many pixels are 16
    levels above the mean.

    Args:
        fused: RGB uint8 ``(H, W, 3)``, any size.
        arithmetic: ``uint8`` for the paper's value.

    Returns:
        A value in 0..127.5 gray levels for ``double``, in 0..15.97 for ``uint8``.

    Example:
        >>> import numpy as np
        >>> image = np.repeat(np.array([[[0], [100]]], dtype=np.uint8), 3, axis=2)
        >>> sd(image), sd(image, arithmetic="uint8") == (255 / 2) ** 0.5
        (50.0, True)
    """
    check_option("arithmetic", arithmetic, ("double", "uint8"))
    (picture,) = pictures("SD", fused=fused)
    if arithmetic == "double":
        return float(np.std(picture.gray_double))
    # Integers round halves up and have no negative values.
    above = np.maximum(np.floor(picture.gray_double - picture.gray_double.mean() + 0.5), 0)
    return float(np.sqrt(np.minimum(above**2, 255).mean()))


def sd_rgb(fused: Image) -> float:
    """Mean over R, G and B of the population standard deviation: the form of the MEFB benchmark.

    Args:
        fused: RGB uint8 ``(H, W, 3)``, any size.

    Returns:
        A value in 0..127.5 levels.

    Example:
        >>> import numpy as np
        >>> sd_rgb(np.array([[[0, 5, 9], [12, 5, 9]]], dtype=np.uint8))
        2.0
    """
    (picture,) = pictures("SD", fused=fused)
    return float(np.std(picture.pixels.reshape(-1, 3).astype(np.float64), axis=0).mean())


def en(fused: Image) -> float:
    """Entropy of the histogram of the 256 gray levels: Table 2 EN.

    Args:
        fused: RGB uint8 ``(H, W, 3)``, any size.

    Returns:
        A value in 0..8 bits; 0 for a constant image.

    Example:
        >>> import numpy as np
        >>> en(np.arange(4, dtype=np.uint8).repeat(3).reshape(2, 2, 3))
        2.0
    """
    (picture,) = pictures("EN", fused=fused)
    return abs(float(shannon_entropy(picture.gray, base=2)))  # no -0.0


def cc(ref: Image, fused: Image) -> float:
    """Correlation of the gray levels of a fused image and its reference: Table 2 CC.

    Args:
        ref: RGB uint8 ``(H, W, 3)``, any size.
        fused: the same size; the two may be swapped.

    Returns:
        A value in -1..1.

    Raises:
        UndefinedMetricError: if one of them has a single gray level.

    Example:
        >>> import numpy as np
        >>> image = np.arange(30, dtype=np.uint8).repeat(3).reshape(5, 6, 3)
        >>> round(cc(image, 255 - 2 * image), 9)
        -1.0
    """
    first, second = pictures("CC", ref=ref, fused=fused)
    if first.flat or second.flat:
        raise UndefinedMetricError("CC got an image of one single gray level, which correlates with nothing; leave out")
    return float(np.corrcoef(first.gray_double.ravel(), second.gray_double.ravel())[0, 1])


def cc_sources(under: Image, over: Image, fused: Image) -> float:
    """Mean of the correlations of a fused image with its two sources: the toolbox's CC, not the paper's.

    Args:
        under: RGB uint8 ``(H, W, 3)``, any size.
        over: the same size; the two sources may be swapped.
        fused: the same size.

    Returns:
        A value in -1..1.

    Raises:
        UndefinedMetricError: if one of them has a single gray level.

    Example:
        >>> import numpy as np
        >>> image = np.arange(30, dtype=np.uint8).repeat(3).reshape(5, 6, 3)
        >>> round(abs(cc_sources(image, 255 - image, image)), 9)
        0.0
    """
    under, over, fused = pictures("CC", under=under, over=over, fused=fused)
    return (cc(under, fused) + cc(over, fused)) / 2


def psnr(ref: Image, fused: Image) -> float:
    """Peak signal-to-noise ratio of the gray images, for the peak 255.

    Args:
        ref: RGB uint8 ``(H, W, 3)``, any size.
        fused: the same size; the two may be swapped.

    Returns:
        A value in dB, 0 or more.

    Raises:
        UndefinedMetricError: if the gray images are equal, as the ratio is infinite then.

    Example:
        >>> import numpy as np
        >>> black = np.zeros((2, 2, 3), dtype=np.uint8)
        >>> psnr(black, black + 255)
        0.0
    """
    first, second = pictures("PSNR", ref=ref, fused=fused)
    if np.array_equal(first.gray, second.gray):
        raise UndefinedMetricError("PSNR got two equal gray images, for which it is infinite; leave it out")
    return float(peak_signal_noise_ratio(first.gray_double, second.gray_double, data_range=255))
