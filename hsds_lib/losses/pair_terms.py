"""Measures of an exposure pair as losses: MEF-SSIM, VIF and Q^AB/F, differentiable; the terms of the extended space.

VIF and Q^AB/F are metrics of ``hsds_lib.evaluation.fidelity`` as well, in float64 on 8-bit pictures. Here they are on
tensors, per item of a batch, and safe where crops hold nothing to be kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hsds_lib.losses.mef_ssim import SCALE_WEIGHTS, WINDOW, PairScale, gaussian_means, prepare_pair, score_pair

VIF_WINDOWS = (17, 9, 5, 3)  # pixels, finest scale first; sigma is a fifth of each
VIF_MINIMUM = 41  # pixels on each side
VIF_NOISE = 2.0 / 255.0**2  # variance of the noise in the eye
VIF_OFFSET = 0.02  # information (log10) added to each window on both sides; the metric has none
_SMALL = 1e-10
STRENGTH_SIGMOID = (0.9994, -15.0, 0.5)  # height, slope and middle, as published
ORIENTATION_SIGMOID = (0.9879, -22.0, 0.8)
_FAINT = 1.0 / 255.0  # strength of an edge that has no orientation yet: keeps slopes finite


@dataclass(frozen=True)
class Level:
    """Sources at one scale of VIF: images ``(B, 2, h, w)``, and their means and variances in each window."""

    images: Tensor
    mean: Tensor
    variance: Tensor


def prepare_vif(sources_y: Tensor) -> tuple[Level, ...]:
    """Work out what VIF needs of two sources, luminance in [0, 1], ``(B, 2, H, W)``: four scales, finest first.

    ValueError if a side is shorter than 41 pixels.
    """
    if min(sources_y.shape[-2:]) < VIF_MINIMUM:
        raise ValueError(
            f"VIF got images of {sources_y.shape[-2]} x {sources_y.shape[-1]} pixels, but needs at least "
            f"{VIF_MINIMUM} on each side; give a larger crop"
        )
    levels, images = [], sources_y
    for scale, size in enumerate(VIF_WINDOWS):
        if scale:
            images = gaussian_means(images, size, size / 5)[:, :, ::2, ::2]
        mean = gaussian_means(images, size, size / 5)
        variance = (gaussian_means(images * images, size, size / 5) - mean * mean).clamp_min(0)
        levels.append(Level(images, mean, variance))
    return tuple(levels)


def vif_pair(fused_y: Tensor, levels: tuple[Level, ...]) -> Tensor:
    """Mean over the two sources of the information about each that is seen in the fused image: VIF of Table 2, halved.

    Luminance in [0, 1], ``(B, 1, H, W)``, to ``(B,)`` values, 0 or more; 1 for a fused image that equals both sources.
    In every window and on both sides of the ratio ``VIF_OFFSET`` is added, so that a crop of a clipped area, which
    holds no information, gives 1 and not 0/0. Whole pictures come out within some hundredths of the metric.
    """
    seen = there = fused_y.new_zeros(fused_y.shape[0], 2)
    fused = fused_y
    for scale, (level, size) in enumerate(zip(levels, VIF_WINDOWS, strict=True)):
        if scale:
            fused = gaussian_means(fused, size, size / 5)[:, :, ::2, ::2]
        mean = gaussian_means(fused, size, size / 5)
        variance = (gaussian_means(fused * fused, size, size / 5) - mean * mean).clamp_min(0)
        covariance = (gaussian_means(fused * level.images, size, size / 5) - mean * level.mean).clamp_min(0)
        gain = covariance / (level.variance + _SMALL)
        residual = (variance - gain * covariance).clamp_min(0)
        seen = seen + (torch.log10(1 + gain**2 * level.variance / (residual + VIF_NOISE)) + VIF_OFFSET).sum((2, 3))
        there = there + (torch.log10(1 + level.variance / VIF_NOISE) + VIF_OFFSET).sum((2, 3))
    return (seen / there).mean(dim=1)


def qabf_pair(fused_y: Tensor, sources_y: Tensor) -> Tensor:
    """How well the edges of both sources are kept: Q^AB/F of Table 2, with a slope everywhere.

    Edges of the fused image of less than about one gray level have no orientation yet, and the border of the image,
    where the metric continues it by 0, is left out. Luminances ``(B, 1, H, W)`` and ``(B, 2, H, W)``, at least 3 pixels
    on each side, to ``(B,)`` values in 0..1; 1 where the sources have no edge.
    """
    before, angle_before = _edges(sources_y)
    after, angle_after = _edges(fused_y)
    weaker, stronger = torch.minimum(before, after), torch.maximum(before, after)
    strength = _sigmoid(weaker / stronger, *STRENGTH_SIGMOID)
    orientation = _sigmoid(1 - (angle_before - angle_after).abs() / (math.pi / 2), *ORIENTATION_SIGMOID)
    weight = before - _FAINT
    total = weight.sum(dim=(1, 2, 3))
    kept = (strength * orientation * weight).sum(dim=(1, 2, 3))
    return (kept + _SMALL) / (total + _SMALL)


def _edges(images: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel strength, at least ``_FAINT``, and orientation in -pi/2..pi/2, each ``(B, K, H - 2, W - 2)``."""
    smooth = images[:, :, :-2] + 2 * images[:, :, 1:-1] + images[:, :, 2:]
    x = smooth[:, :, :, :-2] - smooth[:, :, :, 2:]
    smooth = images[:, :, :, :-2] + 2 * images[:, :, :, 1:-1] + images[:, :, :, 2:]
    y = smooth[:, :, 2:] - smooth[:, :, :-2]
    square = x * x + y * y
    upright = torch.where(x < 0, -torch.ones_like(x), torch.ones_like(x))
    orientation = torch.atan2(y * upright, x.abs() + _SMALL + _FAINT * torch.exp(-square / _FAINT**2))
    return torch.sqrt(square + _FAINT**2), orientation


def _sigmoid(value: Tensor, height: float, slope: float, middle: float) -> Tensor:
    return height * torch.sigmoid(-slope * (value - middle))


def _mefssim_scales(sources_y: Tensor) -> tuple[PairScale, ...]:
    """As many scales, up to three, as there are pixels for."""
    fitting = sum(min(sources_y.shape[2:]) >= WINDOW * 2**scale for scale in range(len(SCALE_WEIGHTS)))
    return prepare_pair(sources_y[:, 0:1], sources_y[:, 1:2], scales=max(fitting, 1))


def _all_scales(fused_y: Tensor, scales: tuple[PairScale, ...]) -> Tensor:
    if len(scales) < len(SCALE_WEIGHTS):
        prepare_pair(fused_y, fused_y)  # says how many pixels are lacking
    return score_pair(fused_y, scales)


@dataclass(frozen=True)
class PairTerm:
    """A term of the extended space: one minus a measure of the fused image and what is prepared once of its sources.

    The measure gives ``(B,)`` values, 1 at best; what two terms prepare by one function is prepared once.
    """

    prepare: Callable[[Tensor], Any]  # luminance of under and over, (B, 2, H, W)
    measure: Callable[[Tensor, Any], Tensor]  # luminance of the fused image, (B, 1, H, W), and what was prepared


PAIR_TERMS: dict[str, PairTerm] = {
    "mefssim_pair": PairTerm(_mefssim_scales, _all_scales),
    "mefssim_fine": PairTerm(_mefssim_scales, lambda fused_y, scales: score_pair(fused_y, scales[:1])),
    "vif_pair": PairTerm(prepare_vif, vif_pair),
    "qabf_pair": PairTerm(lambda sources_y: sources_y, qabf_pair),
}
"""The terms of the extended space: another one is another entry."""

Prepared = dict[Callable[[Tensor], Any], Any]


def prepare_pair_terms(sources_y: Tensor, names: Collection[str]) -> Prepared:
    """Prepare two sources ``(B, 2, H, W)`` for those of ``names`` that are terms of the pair."""
    functions = dict.fromkeys(term.prepare for name, term in PAIR_TERMS.items() if name in names)
    return {prepare: prepare(sources_y) for prepare in functions}


def pair_values(fused_y: Tensor, sources_y: Tensor, prepared: Prepared, names: Collection[str]) -> dict[str, Tensor]:
    """Evaluate those of ``names`` that are terms of the pair, ``(B,)``; what was not prepared for them is now."""
    terms = {name: term for name, term in PAIR_TERMS.items() if name in names}
    missing = [name for name, term in terms.items() if term.prepare not in prepared]
    prepared = {**prepared, **prepare_pair_terms(sources_y, missing)}
    return {name: 1 - term.measure(fused_y, prepared[term.prepare]) for name, term in terms.items()}
