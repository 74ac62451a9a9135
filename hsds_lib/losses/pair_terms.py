"""Two evaluation metrics of an exposure pair as losses: VIF and Q^AB/F, differentiable; terms of the extended space.

The metrics themselves are those of ``hsds_lib.evaluation``; here they are on tensors, per item of a batch, and safe
where crops hold nothing to be kept.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hsds_lib.losses.mef_ssim import PairScale, prepare_pair, score_pair

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
    """Sources at one scale of VIF: images ``(B, 2, h, w)``, and their means and variances in each window.

    Example:
        >>> level = prepare_vif(torch.rand(1, 2, 48, 48, generator=torch.Generator().manual_seed(0)))[0]
        >>> level.images.shape, level.mean.shape
        (torch.Size([1, 2, 48, 48]), torch.Size([1, 2, 32, 32]))
    """

    images: Tensor
    mean: Tensor
    variance: Tensor


def prepare_vif(sources_y: Tensor) -> tuple[Level, ...]:
    """Work out what VIF needs of two sources; nothing here depends on the fused image.

    Args:
        sources_y: luminance in [0, 1], ``(B, 2, H, W)``.

    Returns:
        Four scales, finest first.

    Raises:
        ValueError: if a side is shorter than 41 pixels.

    Example:
        >>> len(prepare_vif(torch.zeros(1, 2, 41, 41)))
        4
    """
    if min(sources_y.shape[-2:]) < VIF_MINIMUM:
        raise ValueError(
            f"VIF got images of {sources_y.shape[-2]} x {sources_y.shape[-1]} pixels, but needs at least "
            f"{VIF_MINIMUM} on each side; give a larger crop"
        )
    levels, images = [], sources_y
    for scale, size in enumerate(VIF_WINDOWS):
        if scale:
            images = _window_means(images, size)[:, :, ::2, ::2]
        mean = _window_means(images, size)
        variance = (_window_means(images * images, size) - mean * mean).clamp_min(0)
        levels.append(Level(images, mean, variance))
    return tuple(levels)


def vif_pair(fused_y: Tensor, levels: tuple[Level, ...]) -> Tensor:
    """Mean over the two sources of the information about each that is seen in the fused image: VIF of Table 2, halved.

    In every window and on both sides of the ratio ``VIF_OFFSET`` is added, so that a crop of a clipped area, which
    holds no information, gives 1 and not 0/0. Whole pictures come out within some hundredths of the metric.

    Args:
        fused_y: luminance in [0, 1], ``(B, 1, H, W)``.
        levels: of the two sources, from ``prepare_vif``.

    Returns:
        ``(B,)`` values, 0 or more; 1 for a fused image that equals both sources.

    Example:
        >>> image = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(0))
        >>> bool((vif_pair(image, prepare_vif(torch.cat([image, image], dim=1))) - 1).abs() < 1e-3)
        True
    """
    seen = there = fused_y.new_zeros(fused_y.shape[0], 2)
    fused = fused_y
    for scale, (level, size) in enumerate(zip(levels, VIF_WINDOWS, strict=True)):
        if scale:
            fused = _window_means(fused, size)[:, :, ::2, ::2]
        mean = _window_means(fused, size)
        variance = (_window_means(fused * fused, size) - mean * mean).clamp_min(0)
        covariance = (_window_means(fused * level.images, size) - mean * level.mean).clamp_min(0)
        gain = covariance / (level.variance + _SMALL)
        residual = (variance - gain * covariance).clamp_min(0)
        seen = seen + (torch.log10(1 + gain**2 * level.variance / (residual + VIF_NOISE)) + VIF_OFFSET).sum((2, 3))
        there = there + (torch.log10(1 + level.variance / VIF_NOISE) + VIF_OFFSET).sum((2, 3))
    return (seen / there).mean(dim=1)


def qabf_pair(fused_y: Tensor, sources_y: Tensor) -> Tensor:
    """How well the edges of both sources are kept: Q^AB/F of Table 2, with a slope everywhere.

    Edges of the fused image of less than about one gray level have no orientation yet, and the border of the image,
    where the metric continues it by 0, is left out.

    Args:
        fused_y: luminance in [0, 1], ``(B, 1, H, W)``, at least 3 pixels on each side.
        sources_y: the two sources, ``(B, 2, H, W)``.

    Returns:
        ``(B,)`` values in 0..1; 1 where the sources have no edge.

    Example:
        >>> image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> round(float(qabf_pair(image, torch.cat([image, image], dim=1))), 2)
        0.97
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


def _window_means(images: Tensor, size: int) -> Tensor:
    """Gaussian means over windows inside, ``(B, K, H, W)`` to ``(B, K, H - size + 1, W - size + 1)``."""
    offsets = torch.arange(size, dtype=images.dtype, device=images.device) - size // 2
    kernel = torch.exp(-(offsets**2) / (2 * (size / 5) ** 2))
    kernel = kernel / kernel.sum()
    batch, channels, height, width = images.shape
    flat = images.reshape(batch * channels, 1, height, width)
    flat = F.conv2d(F.conv2d(flat, kernel.view(1, 1, size, 1)), kernel.view(1, 1, 1, size))
    return flat.reshape(batch, channels, height - size + 1, width - size + 1)


PAIR_TERMS = ("mefssim_pair", "mefssim_fine", "vif_pair", "qabf_pair")
"""1 - MEF-SSIM of the pair at three scales and at full resolution alone, 1 - half of VIF, 1 - Q^AB/F."""


@dataclass(frozen=True)
class PairTargets:
    """What the terms of the pair need that does not depend on the fused image.

    Attributes:
        sources: luminance of under and over, ``(B, 2, H, W)``.
        scales: desired structure, for MEF-SSIM; empty where it is not used.
        levels: moments of the sources, for VIF; empty where it is not used.

    Example:
        >>> import torch
        >>> pair = PairTargets.of(torch.rand(1, 2, 48, 48), {"vif_pair"})
        >>> len(pair.scales), len(pair.levels)
        (0, 4)
    """

    sources: Tensor
    scales: tuple[PairScale, ...] = ()
    levels: tuple[Level, ...] = ()

    @classmethod
    def of(cls, sources: Tensor, names: Collection[str]) -> PairTargets | None:
        """Prepare the pair for those of ``names`` that are terms of it; None if none is."""
        wanted = set(names).intersection(PAIR_TERMS)
        if not wanted:
            return None
        count = 3 if "mefssim_pair" in wanted else int("mefssim_fine" in wanted)
        scales = prepare_pair(sources[:, 0:1], sources[:, 1:2], scales=count) if count else ()
        return cls(sources, scales, prepare_vif(sources) if "vif_pair" in wanted else ())


def pair_values(fused_y: Tensor, pair: PairTargets, names: Collection[str]) -> dict[str, Tensor]:
    """Evaluate the terms of the pair that are among ``names``.

    Args:
        fused_y: luminance of the fused image, ``(B, 1, H, W)``.
        pair: prepared for these names.
        names: any names; those of other terms are passed over.

    Returns:
        ``(B,)`` values by name, smaller for a better image.

    Example:
        >>> import torch
        >>> image = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(0))
        >>> pair = PairTargets.of(torch.cat([image, image], dim=1), PAIR_TERMS)
        >>> {name: abs(round(float(value), 2)) for name, value in pair_values(image, pair, PAIR_TERMS).items()}
        {'mefssim_pair': 0.0, 'mefssim_fine': 0.0, 'vif_pair': 0.0, 'qabf_pair': 0.03}
    """
    measures = {
        "mefssim_pair": lambda: score_pair(fused_y, pair.scales),
        "mefssim_fine": lambda: score_pair(fused_y, pair.scales[:1]),
        "vif_pair": lambda: vif_pair(fused_y, pair.levels),
        "qabf_pair": lambda: qabf_pair(fused_y, pair.sources),
    }
    return {name: 1 - measure() for name, measure in measures.items() if name in names}
