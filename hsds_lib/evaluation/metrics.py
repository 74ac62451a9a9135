"""The metrics of exposure fusion one by one, and all of them at once.

Images are 8-bit RGB arrays, sources and reference first, the fused image last. Everything is computed on the gray
image of :func:`hsds_lib.evaluation.picture.rgb2gray`, but for TMQI (on luma) and what is called ``rgb``. The paper's
SD, VIF (most likely) and TMQI are artefacts of integer arithmetic and of a wrong range, so each has its correct form
beside it; what the paper calls MS-SSIM is most likely MEF-SSIM at three scales. Qabf is on 0..255; the paper's toolbox
may have used 0..1, which is ``Qabf_01``: the two are close unless pixels of a source are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from types import MappingProxyType
from typing import Any, Literal

from hsds_lib.evaluation.edges import qabf
from hsds_lib.evaluation.fidelity import vif, vif_sum, viff, viff_rgb
from hsds_lib.evaluation.first_order import cc, cc_sources, en, psnr, sd, sd_rgb
from hsds_lib.evaluation.picture import Image, Picture, UndefinedMetricError, pictures, rgb2gray, to_pixels
from hsds_lib.evaluation.structure import mef_ssim, ms_ssim, ms_ssim_wang, ms_ssim_wang_sources, ssim
from hsds_lib.evaluation.tone import tmqi, tmqi_fidelity, tmqi_naturalness

__all__ = [
    "CORRECT_FORM",
    "METRICS",
    "PAPER_METRICS",
    "Metric",
    "Picture",
    "UndefinedMetricError",
    "all_metrics",
    "cc",
    "cc_sources",
    "en",
    "mef_ssim",
    "ms_ssim",
    "ms_ssim_wang",
    "ms_ssim_wang_sources",
    "psnr",
    "qabf",
    "rgb2gray",
    "sd",
    "sd_rgb",
    "ssim",
    "tmqi",
    "tmqi_fidelity",
    "tmqi_naturalness",
    "to_pixels",
    "vif",
    "vif_sum",
    "viff",
    "viff_rgb",
]


@dataclass(frozen=True)
class Metric:
    """How one number of :func:`all_metrics` is computed: which function, of which images, with which options.

    Example:
        >>> METRICS["TMQI"].compute.__name__, METRICS["TMQI"].takes, METRICS["TMQI"].options
        ('tmqi', 'ref', {'data_range': 1})
    """

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
    """Compute every metric of a fused image; what several of them need is worked out once.

    SD, VIF and TMQI are the paper's (saturating uint8 arithmetic; fused image in 0..1), SD_double, VIF_double and
    TMQI_255 the correct ones; TMQI_255_S and TMQI_255_N are the fidelity and the naturalness of the latter. MS-SSIM and
    MEF-SSIM are MEF-SSIM at three scales and at full resolution only. CC, VIF_ref, MS-SSIM_wang_ref, SSIM and PSNR (dB)
    compare with the reference; CC_sources and MS-SSIM_wang are means over the two sources. SD_rgb is that of the MEFB
    benchmark. Each is described at its function, see ``METRICS``.

    Args:
        under: the darker exposure, RGB uint8 ``(H, W, 3)``, or a :class:`Picture`.
        over: the brighter exposure, the same size.
        fused: the fused image, the same size.
        ref: the reference, the same size, if there is one.

    Returns:
        Values by name, always the same names in the order of ``METRICS``, ready for JSON. A metric that has no value is
        None: it needs a reference and none was given (CC, TMQI, TMQI_255, TMQI_255_S, VIF_ref, MS-SSIM_wang_ref, SSIM
        and PSNR), or the images are too small for it (41 pixels for VIF and VIFF, 44 for MS-SSIM, 11 for MEF-SSIM and
        SSIM, 161 for TMQI, 176 for MS-SSIM_wang), flat (VIF, CC, TMQI, Qabf), or equal (PSNR).

    Raises:
        ValueError: if the sizes differ, or one is no 8-bit RGB image.

    Example:
        >>> import numpy as np
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
