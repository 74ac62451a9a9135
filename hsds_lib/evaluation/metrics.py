"""The metrics of exposure fusion: those of single pixels, and the table of all, which are computed at once.

Images are RGB uint8 ``(H, W, 3)`` or a :class:`Picture` of it, of one size: sources or reference first, the fused image
last; the two sources may be swapped. What is too small for a metric, or flat, raises UndefinedMetricError. Everything
is computed on the gray image of :func:`rgb2gray`, but for TMQI (on luma) and what is called ``rgb``. The paper's SD,
VIF (most likely) and TMQI are artefacts of integer arithmetic and of a wrong range, so each has its correct form
beside it; what the paper calls MS-SSIM is most likely MEF-SSIM at three scales. Qabf is on 0..255; the paper's toolbox
may have used 0..1, which is ``Qabf_01``: the two are close unless pixels of a source are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from skimage.measure import shannon_entropy
from skimage.metrics import peak_signal_noise_ratio

from hsds_lib.evaluation.fidelity import qabf, vif, vif_sum, viff
from hsds_lib.evaluation.fidelity import viff_rgb as viff_rgb
from hsds_lib.evaluation.picture import Arithmetic, Image, Picture, UndefinedMetricError, check_option, pictures
from hsds_lib.evaluation.picture import rgb2gray as rgb2gray
from hsds_lib.evaluation.picture import to_pixels as to_pixels
from hsds_lib.evaluation.structure import (
    mef_ssim,
    ms_ssim,
    ms_ssim_wang,
    ms_ssim_wang_sources,
    ssim,
    tmqi,
    tmqi_fidelity,
    tmqi_naturalness,
)


def sd(fused: Image, *, arithmetic: Arithmetic = "double") -> float:
    """Standard deviation of the gray levels, 0..127.5: Table 2 SD.

    With ``double``, the population standard deviation. The paper's values are those of ``uint8``, which an older
    toolbox computed, 0..15.97: levels below the mean count as 0, squares stop at 255. That mostly says how many pixels
    are 16 levels above the mean.
    """
    check_option("arithmetic", arithmetic, ("double", "uint8"))
    (picture,) = pictures("SD", fused=fused)
    if arithmetic == "double":
        return float(np.std(picture.gray_double))
    # Integers round halves up and have no negative values.
    above = np.maximum(np.floor(picture.gray_double - picture.gray_double.mean() + 0.5), 0)
    return float(np.sqrt(np.minimum(above**2, 255).mean()))


def sd_rgb(fused: Image) -> float:
    """Mean over R, G and B of the population standard deviation, 0..127.5: the form of the MEFB benchmark."""
    (picture,) = pictures("SD", fused=fused)
    return float(np.std(picture.pixels.reshape(-1, 3).astype(np.float64), axis=0).mean())


def en(fused: Image) -> float:
    """Entropy of the histogram of the 256 gray levels, 0..8 bits: Table 2 EN."""
    (picture,) = pictures("EN", fused=fused)
    return abs(float(shannon_entropy(picture.gray, base=2)))  # no -0.0


def cc(ref: Image, fused: Image) -> float:
    """Correlation of the gray levels of a fused image and its reference, -1..1: Table 2 CC.

    UndefinedMetricError if one of them has a single gray level.
    """
    first, second = pictures("CC", ref=ref, fused=fused)
    if first.flat or second.flat:
        raise UndefinedMetricError("CC got an image of one single gray level, which correlates with nothing; leave out")
    return float(np.corrcoef(first.gray_double.ravel(), second.gray_double.ravel())[0, 1])


def cc_sources(under: Image, over: Image, fused: Image) -> float:
    """Mean of the correlations of a fused image with its two sources, -1..1: the toolbox's CC, not the paper's."""
    under, over, fused = pictures("CC", under=under, over=over, fused=fused)
    return (cc(under, fused) + cc(over, fused)) / 2


def psnr(ref: Image, fused: Image) -> float:
    """Peak signal-to-noise ratio of the gray images in dB, 0 or more, for the peak 255.

    UndefinedMetricError if the gray images are equal, as the ratio is infinite then.
    """
    first, second = pictures("PSNR", ref=ref, fused=fused)
    if np.array_equal(first.gray, second.gray):
        raise UndefinedMetricError("PSNR got two equal gray images, for which it is infinite; leave it out")
    return float(peak_signal_noise_ratio(first.gray_double, second.gray_double, data_range=255))


@dataclass(frozen=True)
class Metric:
    """How one number of :func:`all_metrics` is computed: which function, of which images, with which options."""

    compute: Callable[..., float]
    takes: Literal["fused", "sources", "ref"]  # (fused), (under, over, fused) or (ref, fused)
    options: Mapping[str, Any] = field(default_factory=dict)


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "SD": Metric(sd, "fused", {"arithmetic": "uint8"}),
        "VIF": Metric(vif_sum, "sources", {"arithmetic": "uint8"}),
        "CC": Metric(cc, "ref"),
        "TMQI": Metric(tmqi, "ref", {"data_range": 1}),
        "MS-SSIM": Metric(ms_ssim, "sources"),
        "MEF-SSIM": Metric(mef_ssim, "sources"),
        "EN": Metric(en, "fused"),
        "Qabf": Metric(qabf, "sources"),
        "SD_double": Metric(sd, "fused"),
        "VIF_double": Metric(vif_sum, "sources"),
        "TMQI_255": Metric(tmqi, "ref"),
        "TMQI_255_S": Metric(tmqi_fidelity, "ref"),
        "TMQI_255_N": Metric(tmqi_naturalness, "fused"),
        "SD_rgb": Metric(sd_rgb, "fused"),
        "VIFF": Metric(viff, "sources"),
        "Qabf_01": Metric(qabf, "sources", {"data_range": 1}),
        "CC_sources": Metric(cc_sources, "sources"),
        "MS-SSIM_wang": Metric(ms_ssim_wang_sources, "sources"),
        "VIF_ref": Metric(vif, "ref"),
        "MS-SSIM_wang_ref": Metric(ms_ssim_wang, "ref"),
        "SSIM": Metric(ssim, "ref"),
        "PSNR": Metric(psnr, "ref"),
    }
)
"""What :func:`all_metrics` computes, in its order: the paper's eight as the paper computes them, then the others."""

PAPER_METRICS = ("SD", "VIF", "CC", "TMQI", "MS-SSIM", "MEF-SSIM", "EN", "Qabf")
CORRECT_FORM: Mapping[str, str] = MappingProxyType({"SD": "SD_double", "VIF": "VIF_double", "TMQI": "TMQI_255"})
"""The three metrics of the paper that it computes wrongly, and where their correct values are."""


def all_metrics(under: Image, over: Image, fused: Image, ref: Image | None = None) -> dict[str, float | None]:
    """Compute every metric of a fused image, in the order of ``METRICS``; what several need is worked out once.

    SD, VIF and TMQI are the paper's (saturating uint8 arithmetic; fused image in 0..1), SD_double, VIF_double and
    TMQI_255 the correct ones; TMQI_255_S and TMQI_255_N are the fidelity and the naturalness of the latter. A metric
    that has no value is None: it needs a reference and none was given, or the images are too small for it (41 pixels
    for VIF and VIFF, 44 for MS-SSIM, 11 for MEF-SSIM and SSIM, 161 for TMQI, 176 for MS-SSIM_wang), flat (VIF, CC,
    TMQI, Qabf), or equal (PSNR). ValueError if the sizes differ, or one is no 8-bit RGB image.

    Example:
        >>> over = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
        >>> scores = all_metrics(over // 3, over, over // 3 + over // 2)
        >>> round(scores["MEF-SSIM"], 2), scores["MS-SSIM_wang"], scores["CC"]
        (0.98, None, None)
    """
    under, over, fused = pictures("scoring", under=under, over=over, fused=fused)
    images: dict[str, tuple[Picture, ...]] = {"fused": (fused,), "sources": (under, over, fused)}
    if ref is not None:
        images["ref"] = pictures("scoring", ref=ref, fused=fused)
    names = [name for name in METRICS if METRICS[name].takes in images]
    scores: dict[str, float | None] = {}
    for _, family in groupby(sorted(names, key=_family), key=_family):
        for name in family:
            scores[name] = _value(METRICS[name], images[METRICS[name].takes])
        # Metrics of one module share what they remember; those of others have no use for it.
        for picture in {picture for group in images.values() for picture in group}:
            picture.forget()
    return {name: scores.get(name) for name in METRICS}


def _family(name: str) -> str:
    return METRICS[name].compute.__module__


def _value(metric: Metric, images: tuple[Picture, ...]) -> float | None:
    try:
        return metric.compute(*images, **metric.options)
    except UndefinedMetricError:
        return None
