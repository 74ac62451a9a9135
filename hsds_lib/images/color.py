"""Brightness and colour apart: the network fuses Y, the chroma of the two exposures is fused by a formula.

Everything here works pixel by pixel, so tiles of an image can be processed one at a time, and is
differentiable with respect to the brightness.
"""

from __future__ import annotations

import torch
from kornia.color import rgb_to_ycbcr
from torch import Tensor

from hsds_lib.config import Variant, is_released
from hsds_lib.released import color as released

# The value of Cb and Cr of a gray pixel. (In 8-bit files it would be 128/255; here nothing is quantised.)
NEUTRAL = 0.5

# The numbers of kornia's forward conversion (BT.601, rounded to three digits).
_RED_IN_Y, _BLUE_IN_Y = 0.299, 0.114
_CB_PER_BLUE, _CR_PER_RED = 0.564, 0.713

_LEAST_COLOUR = 1e-6  # below it a pixel counts as gray


def split_luma(rgb: Tensor, *, variant: Variant = "paper") -> tuple[Tensor, Tensor]:
    """Split RGB into BT.601 brightness and chroma.

    Args:
        rgb: ``(B, 3, H, W)`` in [0, 1].
        variant: this step is the same in both; named so that the three steps can be called alike.

    Returns:
        Y ``(B, 1, H, W)`` in [0, 1] and CbCr ``(B, 2, H, W)`` in [0, 1], 0.5 for gray.

    Example:
        >>> y, cbcr = split_luma(torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1))  # red
        >>> y.flatten(), cbcr.flatten()
        (tensor([0.2990]), tensor([0.3314, 0.9998]))
    """
    is_released(variant)
    ycbcr = rgb_to_ycbcr(rgb)
    return ycbcr[:, :1], ycbcr[:, 1:]


def merge_luma(y: Tensor, cbcr: Tensor, *, variant: Variant = "paper") -> Tensor:
    """Join brightness and chroma into RGB: the inverse of ``split_luma``.

    Args:
        y: ``(B, 1, H, W)``.
        cbcr: ``(B, 2, H, W)``, 0.5 for gray.
        variant: ``"released"`` rounds the coefficients to three digits, as the released code does.

    Returns:
        RGB ``(B, 3, H, W)``, not clamped: a Y that was not made with this chroma can leave [0, 1].

    Example:
        >>> rgb = torch.tensor([0.2, 0.4, 0.6]).reshape(1, 3, 1, 1)
        >>> merge_luma(*split_luma(rgb)).flatten()
        tensor([0.2000, 0.4000, 0.6000])
    """
    if is_released(variant):
        return released.merge_luma(y, cbcr)
    # kornia's own inverse clamps, and with that stops the gradient of every colour out of range.
    blue_less_y = (cbcr[:, :1] - NEUTRAL) / _CB_PER_BLUE
    red_less_y = (cbcr[:, 1:] - NEUTRAL) / _CR_PER_RED
    green_less_y = -(_RED_IN_Y * red_less_y + _BLUE_IN_Y * blue_less_y) / (1 - _RED_IN_Y - _BLUE_IN_Y)
    return torch.cat([y + red_less_y, y + green_less_y, y + blue_less_y], dim=1)


def fuse_chroma(cbcr_under: Tensor, cbcr_over: Tensor, *, variant: Variant = "paper") -> Tensor:
    """Average the chroma of two exposures, each weighted by its distance from neutral.

    With ``d = c - 0.5``: fused ``d = (|d_u| d_u + |d_o| d_o) / (|d_u| + |d_o|)``, for Cb and Cr
    separately. A clipped (colourless) pixel so takes its colour from the other exposure; where both are
    neutral the result is.

    Args:
        cbcr_under: ``(B, 2, H, W)``, or any shape.
        cbcr_over: the same shape.
        variant: ``"released"`` works in 8 bits with 128 as neutral and truncates; it carries no gradient.

    Returns:
        The same shape and type; with the paper's variant between the two inputs everywhere.

    Example:
        >>> fuse_chroma(torch.tensor([0.5, 0.4]), torch.tensor([0.8, 0.8]))
        tensor([0.8000, 0.7000])
    """
    if is_released(variant):
        return released.fuse_chroma(cbcr_under, cbcr_over)
    under, over = cbcr_under - NEUTRAL, cbcr_over - NEUTRAL
    weight_under, weight_over = under.abs(), over.abs()
    total = weight_under + weight_over
    neutral = total == 0
    # The first `where` keeps 0/0 out of the graph, the second gives the neutral pixels their value.
    safe_total = torch.where(neutral, torch.ones_like(total), total)
    fused = (weight_under / safe_total) * under + (weight_over / safe_total) * over
    return torch.where(neutral, torch.zeros_like(fused), fused) + NEUTRAL


def within_gamut(y: Tensor, cbcr: Tensor) -> Tensor:
    """Join brightness and chroma into RGB, as pale as it takes to stay in [0, 1]: brightness and hue are kept.

    The chroma of one exposure may not fit the brightness that both gave. Clipping the channels, as the released code
    does, would change the brightness that the network chose.

    Args:
        y: ``(B, 1, H, W)``, clamped to [0, 1].
        cbcr: ``(B, 2, H, W)``, 0.5 for gray.

    Returns:
        RGB ``(B, 3, H, W)`` in [0, 1].

    Example:
        >>> blue = split_luma(torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1))[1]
        >>> pale = within_gamut(torch.full((1, 1, 1, 1), 0.9), blue)
        >>> pale.flatten(), split_luma(pale)[0].flatten()
        (tensor([0.8871, 0.8871, 1.0000]), tensor([0.9000]))
    """
    y = y.clamp(0, 1)
    colour = merge_luma(y, cbcr) - y
    room = torch.where(colour > 0, 1 - y, y)
    share = (room / colour.abs().clamp_min(_LEAST_COLOUR)).clamp(max=1).amin(dim=1, keepdim=True)
    return (y + share * colour).clamp(0, 1)


def colourise(fused_y: Tensor, under: Tensor, over: Tensor) -> Tensor:
    """Give a fused brightness the fused colour of its two exposures.

    Args:
        fused_y: ``(B, 1, H, W)``.
        under: RGB ``(B, 3, H, W)`` in [0, 1].
        over: RGB ``(B, 3, H, W)`` in [0, 1].

    Returns:
        RGB ``(B, 3, H, W)`` in [0, 1], paler where the colour would not fit; see :func:`within_gamut`.

    Example:
        >>> gray, red = torch.full((1, 3, 1, 1), 0.9), torch.tensor([0.6, 0.2, 0.2]).reshape(1, 3, 1, 1)
        >>> colourise(torch.full((1, 1, 1, 1), 0.5), gray, red).flatten()
        tensor([0.7804, 0.3804, 0.3804])
    """
    chroma = fuse_chroma(split_luma(under)[1], split_luma(over)[1])
    return within_gamut(fused_y, chroma)
