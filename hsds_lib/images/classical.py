"""Two fusions that need no training: comparisons for the model, and material for missing references."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor


def mertens(
    under: Tensor, over: Tensor, *, contrast: float = 1.0, saturation: float = 1.0, exposedness: float = 0.0
) -> Tensor:
    """Fuse by exposure fusion (Mertens, Kautz, Van Reeth 2007), as OpenCV implements it.

    Args:
        under: RGB ``(3, H, W)`` in [0, 1].
        over: RGB, the same shape.
        contrast: exponent of the contrast measure.
        saturation: exponent of the saturation measure.
        exposedness: exponent of the well-exposedness measure (the defaults of all three are OpenCV's).

    Returns:
        RGB float32 ``(3, H, W)``, clamped to [0, 1]: the pyramids overshoot.
    """
    merger = cv2.createMergeMertens(contrast, saturation, exposedness)
    # OpenCV divides by 255 whatever the type, and takes channels as BGR.
    fused = merger.process([_to_bgr(under), _to_bgr(over)])
    rgb = torch.from_numpy(np.ascontiguousarray(fused[..., ::-1])).permute(2, 0, 1)
    return rgb.to(torch.float32).clamp(0, 1).contiguous()


def average(under: Tensor, over: Tensor) -> Tensor:
    """Fuse by the mean of the two exposures: RGB ``(3, H, W)`` in [0, 1] each, and the result."""
    return (under + over) / 2


def _to_bgr(rgb: Tensor) -> np.ndarray:
    pixels = rgb.detach().to("cpu", torch.float32).permute(1, 2, 0).numpy()[..., ::-1]
    return np.ascontiguousarray(pixels) * np.float32(255)
