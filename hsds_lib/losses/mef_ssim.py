"""MEF-SSIM on luminance: against one image (Table 1), and of an exposure pair (Ma, Zeng and Wang, 2015).

The published definition is for gray images in 0..255. Here they are in [0, 1], and every constant is scaled to match.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 11  # pixels, both for the plain and for the Gaussian window
SIGMA = 1.5  # pixels
CONTRAST_CONSTANT = 0.03**2  # (0.03 * 255)^2 on 0..255
STRENGTH_OFFSET = 0.001 / 255.0  # added to every patch norm
MAX_POWER = 10.0
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001)  # finest scale first; normalised where they are used
_GRAY_LEVELS = 255.0
_EPS = 2.0**-52
_LOWEST_SCORE = 0.01


def contrast_structure(fused_y: Tensor, sources_y: Tensor) -> Tensor:
    """Compare contrast and structure of one fused image with each of K images (no luminance term).

    Per 11 x 11 Gaussian window (sigma 1.5, only windows inside the image) of luminance in [0, 1]:
    ``(2 s_fr + C) / (s_f^2 + s_r^2 + C)`` with ``C = 0.03^2``; then the mean over the windows. ``(B, 1, H, W)`` and
    ``(B, K, H, W)`` to ``(B, K)`` values, at most 1.
    """
    _check_images(fused_y, sources_y, minimum=WINDOW)
    # Variances do not change with the offset, but rounding does: centred values lose fewer digits.
    fused, sources = fused_y - 0.5, sources_y - 0.5
    fused_mean, fused_variance = _moments(fused)
    mean, variance = _moments(sources)
    covariance = gaussian_means(fused * sources) - fused_mean * mean
    return _ratio(covariance, fused_variance, variance).mean(dim=(2, 3))


def mef_ssim_single(fused_y: Tensor, source_y: Tensor) -> Tensor:
    """Give MEF-SSIM against one image, Table 1 row 2: the desired structure is the image itself.

    Two luminances ``(B, 1, H, W)``, at least 11 pixels on each side, to ``(B,)`` values, 1 when equal.
    """
    _check_images(fused_y, source_y, minimum=WINDOW, channels=1)
    return contrast_structure(fused_y, source_y).squeeze(1)


@dataclass(frozen=True)
class PairScale:
    """What MEF-SSIM desires of a pair at one scale: ``under_gain * under + over_gain * over`` in each patch.

    ``under`` and ``over`` are the centred sources ``(B, 1, h, w)``; the other fields have one value per
    patch, ``(B, 1, h - 10, w - 10)``: gains, and Gaussian mean and variance of the desired patch.
    """

    under: Tensor
    over: Tensor
    under_gain: Tensor
    over_gain: Tensor
    mean: Tensor
    variance: Tensor


def prepare_pair(under_y: Tensor, over_y: Tensor, *, scales: int = 3) -> tuple[PairScale, ...]:
    """Work out what MEF-SSIM wants of a pair, finest scale first; nothing here depends on the fused image.

    Statistics of the luminances ``(B, 1, H, W)`` are taken in float64 (where the device has it), as patch norms of
    nearly flat patches need it. ValueError for other than 1 to 3 scales, or a side too short for them (44 for three).
    """
    if not 1 <= scales <= len(SCALE_WEIGHTS):
        raise ValueError(f"scales is {scales}; MEF-SSIM is defined for 1 to {len(SCALE_WEIGHTS)} scales")
    _check_images(under_y, over_y, minimum=WINDOW * 2 ** (scales - 1), channels=1)
    dtype = under_y.dtype
    exact = dtype if under_y.device.type == "mps" else torch.float64
    under, over = under_y.to(exact) - 0.5, over_y.to(exact) - 0.5
    prepared = []
    for scale in range(scales):
        if scale:
            under, over = _halve(under), _halve(over)
        fields = (under, over, *_desired_structure(under, over))
        prepared.append(PairScale(*(field.to(dtype) for field in fields)))
    return tuple(prepared)


def score_pair(fused_y: Tensor, prepared: tuple[PairScale, ...]) -> Tensor:
    """Score a fused image ``(B, 1, H, W)`` against prepared pairs: MEF-SSIM of Ma, Zeng and Wang (2015), ``(B,)``.

    At most 1. With one scale it may be negative; with more, scores of a scale below 0.01 are continued by an
    exponential, as the published product of powers is not real for negative ones.
    """
    _check_images(fused_y, prepared[0].under, minimum=WINDOW, channels=1)
    fused = fused_y - 0.5
    scores = []
    for scale, pair in enumerate(prepared):
        if scale:
            fused = _halve(fused)
        fused_mean, fused_variance = _moments(fused)
        under, over = gaussian_means(fused * pair.under), gaussian_means(fused * pair.over)
        covariance = pair.under_gain * under + pair.over_gain * over - fused_mean * pair.mean
        scores.append(_ratio(covariance, fused_variance, pair.variance).mean(dim=(1, 2, 3)))
    return scores[0] if len(scores) == 1 else combine_scales(torch.stack(scores, dim=1))


def mef_ssim_pair(fused_y: Tensor, under_y: Tensor, over_y: Tensor, *, scales: int = 3) -> Tensor:
    """Give MEF-SSIM of a fused image for its exposure pair (Ma, Zeng and Wang, 2015): ``(B,)`` values, at most 1.

    Every 11 x 11 patch of the pair defines a desired patch: the stronger contrast of the two, and a structure that
    leans to the stronger source the more the two agree. The fused patch is compared with it in contrast and structure.
    Three scales are multiplied, each to its power: 0.0448, 0.2856 and 0.3001, normalised to the sum 1; one scale is the
    form at full resolution. Luminances ``(B, 1, H, W)`` in [0, 1]; the two sources may be swapped; differentiable in
    all three.
    """
    return score_pair(fused_y, prepare_pair(under_y, over_y, scales=scales))


def _desired_structure(under: Tensor, over: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gains of the two sources in each desired patch, and its Gaussian mean and variance."""
    under_power, over_power, shared_power = _patch_powers(under, over)
    under_norm, over_norm = _root(under_power), _root(over_power)
    sum_norm = _root((under_power + over_power + 2 * shared_power).clamp(min=0))
    total = under_norm + over_norm
    some = total > 0
    consistency = torch.where(some, sum_norm / torch.where(some, total, torch.ones_like(total)), torch.ones_like(total))
    # Limiting the angle before the tangent is the same as limiting the tangent, and keeps its slope finite.
    power = torch.tan(consistency.clamp(max=2 / math.pi * math.atan(MAX_POWER)) * (math.pi / 2))

    under_strength, over_strength = under_norm + STRENGTH_OFFSET, over_norm + STRENGTH_OFFSET
    # In gray levels, since the published tiny offset is.
    under_weight = (_GRAY_LEVELS / WINDOW * under_strength) ** power + _EPS
    over_weight = (_GRAY_LEVELS / WINDOW * over_strength) ** power + _EPS
    both = under_weight + over_weight
    under_gain, over_gain = under_weight / both / under_strength, over_weight / both / over_strength

    mixed = under_gain**2 * under_power + over_gain**2 * over_power + 2 * under_gain * over_gain * shared_power
    # Opposite structures can cancel; what is left below 1e-4 of a unit structure is rounding, not structure.
    norm = _root(torch.where(mixed > 1e-8, mixed, torch.zeros_like(mixed)))
    real = norm > 0
    strongest = torch.maximum(under_strength, over_strength) / torch.where(real, norm, torch.ones_like(norm))
    scale = torch.where(real, strongest, torch.zeros_like(norm))
    under_gain, over_gain = scale * under_gain, scale * over_gain

    under_mean, under_variance = _moments(under)
    over_mean, over_variance = _moments(over)
    covariance = gaussian_means(under * over) - under_mean * over_mean
    mean = under_gain * under_mean + over_gain * over_mean
    variance = under_gain**2 * under_variance + over_gain**2 * over_variance + 2 * under_gain * over_gain * covariance
    return under_gain, over_gain, mean, variance


def _patch_powers(under: Tensor, over: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of squares and products of the mean-removed sources over each patch; exactly 0 where flat."""
    under_mean, over_mean = _box(under), _box(over)
    under_power = WINDOW**2 * (_box(under * under) - under_mean * under_mean)
    over_power = WINDOW**2 * (_box(over * over) - over_mean * over_mean)
    shared_power = WINDOW**2 * (_box(under * over) - under_mean * over_mean)
    floor = 4 * WINDOW**2 * torch.finfo(under.dtype).eps  # rounding of the differences above
    zero = torch.zeros_like(under_power)
    under_real, over_real = under_power > floor, over_power > floor
    return (
        torch.where(under_real, under_power, zero),
        torch.where(over_real, over_power, zero),
        torch.where(under_real & over_real, shared_power, zero),
    )


def combine_scales(scores: Tensor) -> Tensor:
    """Multiply scores ``(B, S)``, finest scale first, each to its power, continued by an exponential below 0.01."""
    weights = scores.new_tensor(SCALE_WEIGHTS[: scores.shape[1]])
    inside = scores.clamp(min=_LOWEST_SCORE)
    logs = torch.log(inside) + (scores - inside) / _LOWEST_SCORE
    return torch.exp((logs * (weights / weights.sum())).sum(dim=1))


def _ratio(covariance: Tensor, first_variance: Tensor, second_variance: Tensor) -> Tensor:
    return (2 * covariance + CONTRAST_CONSTANT) / (first_variance + second_variance + CONTRAST_CONSTANT)


def _moments(image: Tensor) -> tuple[Tensor, Tensor]:
    mean = gaussian_means(image)
    return mean, gaussian_means(image * image) - mean * mean


def gaussian_means(images: Tensor, size: int = WINDOW, sigma: float = SIGMA) -> Tensor:
    """Gaussian means over windows inside, ``(B, K, H, W)`` to ``(B, K, H - size + 1, W - size + 1)``."""
    offsets = torch.arange(size, dtype=images.dtype, device=images.device) - size // 2
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    batch, channels, height, width = images.shape
    flat = images.reshape(batch * channels, 1, height, width)
    flat = F.conv2d(F.conv2d(flat, kernel.view(1, 1, size, 1)), kernel.view(1, 1, 1, size))
    return flat.reshape(batch, channels, height - size + 1, width - size + 1)


def _box(image: Tensor) -> Tensor:
    return F.avg_pool2d(F.avg_pool2d(image, (WINDOW, 1), stride=1), (1, WINDOW), stride=1)


def _halve(image: Tensor) -> Tensor:
    """Mean of 2 x 2 pixels; at an odd edge the mean of the pixels there are, which is symmetric padding."""
    return F.avg_pool2d(image, 2, ceil_mode=True)


def _root(square: Tensor) -> Tensor:
    """Square root whose slope at 0 is 0 and not infinite."""
    positive = square > 0
    return torch.where(positive, torch.sqrt(torch.where(positive, square, torch.ones_like(square))), square * 0)


def _check_images(fused: Tensor, other: Tensor, *, minimum: int, channels: int | None = None) -> None:
    if fused.dim() != 4 or other.dim() != 4 or fused.shape[1] != 1:
        raise ValueError(
            f"MEF-SSIM got images of shape {tuple(fused.shape)} and {tuple(other.shape)}; give luminance (B, 1, H, W)"
        )
    same = fused.shape[0] == other.shape[0] and fused.shape[2:] == other.shape[2:]
    if not same or (channels is not None and other.shape[1] != channels):
        raise ValueError(
            f"MEF-SSIM got images of shape {tuple(fused.shape)} and {tuple(other.shape)}; they must have the same shape"
        )
    if min(fused.shape[2:]) < minimum:
        raise ValueError(
            f"MEF-SSIM got an image of {fused.shape[2]} x {fused.shape[3]} pixels, "
            f"but needs at least {minimum} on each side; give a larger image or use fewer scales"
        )
