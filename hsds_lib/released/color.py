"""Colour as the released code computes it, for comparison only; functions are named as in ``images.color``.

It differs twice. Chroma is fused in 8 bits and truncated, which takes a quarter of a level from it on average.
And RGB is made with rounded coefficients around 0.5, while a neutral 8-bit pixel has the chroma 128/255.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LEVELS = 255.0
_NEUTRAL_LEVEL = 128.0
_RED_PER_CR, _GREEN_PER_CR = 1.403, -0.714
_BLUE_PER_CB, _GREEN_PER_CB = 1.773, -0.344


def mean_chroma_level(under: Tensor, over: Tensor) -> Tensor:
    """Average two 8-bit chroma levels, 0 to 255, each weighted by its distance from 128, before any truncation."""
    weight_under, weight_over = (under - _NEUTRAL_LEVEL).abs(), (over - _NEUTRAL_LEVEL).abs()
    total = weight_under + weight_over
    mean = (under * weight_under + over * weight_over) / total.clamp(min=1)
    return torch.where(total == 0, torch.full_like(mean, _NEUTRAL_LEVEL), mean)


def fuse_chroma(cbcr_under: Tensor, cbcr_over: Tensor) -> Tensor:
    """Fuse chroma in [0, 1] as an 8-bit table: to the nearest level, averaged, truncated; it carries no gradient."""
    under, over = ((cbcr.detach() * _LEVELS).round().clamp(0, _LEVELS) for cbcr in (cbcr_under, cbcr_over))
    # A mean of levels that is no whole number is at least 1/255 away from one, so even float32 truncates exactly.
    return mean_chroma_level(under, over).floor() / _LEVELS


def merge_luma(y: Tensor, cbcr: Tensor) -> Tensor:
    """Join ``(B, 1, H, W)`` and ``(B, 2, H, W)`` into RGB by rounded BT.601 coefficients around 0.5, not clamped."""
    blue, red = cbcr[:, :1] - 0.5, cbcr[:, 1:] - 0.5
    green = _GREEN_PER_CR * red + _GREEN_PER_CB * blue
    return torch.cat([y + _RED_PER_CR * red, y + green, y + _BLUE_PER_CB * blue], dim=1)
