"""Brightness and colour apart: the network fuses Y, the chroma of the two exposures is fused by a formula.

Everything here works pixel by pixel, so an image can be processed in tiles, and is differentiable.
"""

from __future__ import annotations

import torch
from kornia.color import rgb_to_ycbcr
from torch import Tensor

# The value of Cb and Cr of a gray pixel. (In 8-bit files it would be 128/255; here nothing is quantised.)
NEUTRAL = 0.5

# The numbers of kornia's forward conversion (BT.601, rounded to three digits).
_RED_IN_Y, _BLUE_IN_Y = 0.299, 0.114
_CB_PER_BLUE, _CR_PER_RED = 0.564, 0.713

_LEAST_COLOUR = 1e-6  # below it a pixel counts as gray


def split_luma(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Split RGB ``(B, 3, H, W)`` in [0, 1] into BT.601 brightness Y ``(B, 1, H, W)`` and CbCr ``(B, 2, H, W)``.

    Both are in [0, 1]; the chroma of gray is 0.5.

    Example:
        >>> y, cbcr = split_luma(torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1))  # red
        >>> y.flatten(), cbcr.flatten()
        (tensor([0.2990]), tensor([0.3314, 0.9998]))
    """
    ycbcr = rgb_to_ycbcr(rgb)
    return ycbcr[:, :1], ycbcr[:, 1:]


def mean_luma(rgb: Tensor) -> float:
    """Give the mean brightness of RGB ``(3, H, W)`` in [0, 1]; luma is linear, so no second picture is needed."""
    return float(split_luma(rgb.mean(dim=(1, 2), keepdim=True)[None])[0])


def merge_luma(y: Tensor, cbcr: Tensor) -> Tensor:
    """Join Y ``(B, 1, H, W)`` and CbCr ``(B, 2, H, W)`` into RGB: the inverse of ``split_luma``.

    Nothing is clamped: a Y that was not made with this chroma can leave [0, 1].
    """
    # kornia's own inverse clamps, and with that stops the gradient of every colour out of range.
    blue_less_y = (cbcr[:, :1] - NEUTRAL) / _CB_PER_BLUE
    red_less_y = (cbcr[:, 1:] - NEUTRAL) / _CR_PER_RED
    green_less_y = -(_RED_IN_Y * red_less_y + _BLUE_IN_Y * blue_less_y) / (1 - _RED_IN_Y - _BLUE_IN_Y)
    return torch.cat([y + red_less_y, y + green_less_y, y + blue_less_y], dim=1)


def fuse_chroma(cbcr_under: Tensor, cbcr_over: Tensor) -> Tensor:
    """Average the chroma of two exposures, each weighted by its distance from neutral; shapes are equal, and any.

    With ``d = c - 0.5``: fused ``d = (|d_u| d_u + |d_o| d_o) / (|d_u| + |d_o|)``, for Cb and Cr separately. A clipped
    (colourless) pixel so takes its colour from the other exposure; where both are neutral the result is.

    Example:
        >>> fuse_chroma(torch.tensor([0.5, 0.4]), torch.tensor([0.8, 0.8]))
        tensor([0.8000, 0.7000])
    """
    under, over = cbcr_under - NEUTRAL, cbcr_over - NEUTRAL
    weight_under, weight_over = under.abs(), over.abs()
    total = weight_under + weight_over
    neutral = total == 0
    # The first `where` keeps 0/0 out of the graph, the second gives the neutral pixels their value.
    safe_total = torch.where(neutral, torch.ones_like(total), total)
    fused = (weight_under / safe_total) * under + (weight_over / safe_total) * over
    return torch.where(neutral, torch.zeros_like(fused), fused) + NEUTRAL


def within_gamut(y: Tensor, cbcr: Tensor) -> Tensor:
    """Join Y and CbCr into RGB in [0, 1], as pale as it takes to fit: brightness and hue are kept.

    The chroma of one exposure may not fit the brightness that both gave. Clipping the channels, as the released code
    does, would change the brightness that the network chose.

    Example:
        >>> blue = split_luma(torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1))[1]
        >>> within_gamut(torch.full((1, 1, 1, 1), 0.9), blue).flatten()
        tensor([0.8871, 0.8871, 1.0000])
    """
    y = y.clamp(0, 1)
    colour = merge_luma(y, cbcr) - y
    room = torch.where(colour > 0, 1 - y, y)
    share = (room / colour.abs().clamp_min(_LEAST_COLOUR)).clamp(max=1).amin(dim=1, keepdim=True)
    return (y + share * colour).clamp(0, 1)


def colourise(fused_y: Tensor, under: Tensor, over: Tensor) -> Tensor:
    """Give a fused brightness ``(B, 1, H, W)`` the fused colour of its two exposures, RGB ``(B, 3, H, W)`` in [0, 1].

    What comes out is RGB in [0, 1], paler where the colour would not fit; see :func:`within_gamut`.
    """
    chroma = fuse_chroma(split_luma(under)[1], split_luma(over)[1])
    return within_gamut(fused_y, chroma)
