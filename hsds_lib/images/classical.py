"""Two fusions that need no training: comparisons for the model, and material for missing references."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from hsds_lib.images.io import check_exposures


def mertens(
    under: Tensor, over: Tensor, *, contrast: float = 1.0, saturation: float = 1.0, exposedness: float = 0.0
) -> Tensor:
    """Fuse two RGB ``(3, H, W)`` in [0, 1] by exposure fusion (Mertens, Kautz, Van Reeth 2007), as OpenCV does.

    The exponents of its three measures are by default OpenCV's; a negative or infinite one is a ValueError. RGB
    float32, clamped to [0, 1]: the pyramids overshoot.

    Example:
        >>> scene = torch.linspace(0, 1, 64).expand(3, 64, 64)
        >>> under, over = (scene * 2 - 1).clamp(0, 1), (scene * 2).clamp(0, 1)  # each loses half of the ramp
        >>> pictures = {"under": under, "over": over, "fused": mertens(under, over)}
        >>> {name: round(float((image.diff(dim=2) > 1e-3).float().mean()), 1) for name, image in pictures.items()}
        {'under': 0.5, 'over': 0.5, 'fused': 1.0}
    """
    return mertens_of([under, over], contrast=contrast, saturation=saturation, exposedness=exposedness)


def mertens_of(
    images: Sequence[Tensor], *, contrast: float = 1.0, saturation: float = 1.0, exposedness: float = 0.0
) -> Tensor:
    """Fuse two or more RGB ``(3, H, W)`` in [0, 1], of one size, as :func:`mertens` does two.

    Other images are an ImageError, exponents below 0 or infinite a ValueError.
    """
    for image in images[1:]:
        check_exposures(images[0], image)
    if not all(0 <= exponent < float("inf") for exponent in (contrast, saturation, exposedness)):
        raise ValueError(
            f"Mertens fusion got the exponents {contrast}, {saturation} and {exposedness}; give numbers from 0 up"
        )
    merger = cv2.createMergeMertens(contrast, saturation, exposedness)
    # OpenCV divides by 255 whatever the type, and takes channels as BGR.
    fused = merger.process([_to_bgr(image) for image in images])
    rgb = torch.from_numpy(np.ascontiguousarray(fused[..., ::-1])).permute(2, 0, 1)
    return rgb.to(torch.float32).clamp(0, 1).contiguous()


def average(under: Tensor, over: Tensor) -> Tensor:
    """Fuse by the mean of the two exposures, RGB ``(3, H, W)`` in [0, 1]."""
    check_exposures(under, over)
    return (under + over) / 2


def _to_bgr(rgb: Tensor) -> np.ndarray:
    pixels = rgb.detach().to("cpu", torch.float32).permute(1, 2, 0).numpy()[..., ::-1]
    return np.ascontiguousarray(pixels) * np.float32(255)
