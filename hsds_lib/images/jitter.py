"""Pairs that were never taken: scenes at other scales, lying on their side, and with other exposures."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

LEAST_SCALE = 0.4  # of the pixels' side; a crop of a scene reduced to this shows more of it
GAMMA = 0.3  # half width of the range of log gamma, for each exposure alone
GAIN_OVER = (-0.2, 0.4)  # log gain: the bright exposure is brightened and clipped more often than darkened
GAIN_UNDER = (-0.5, 0.2)
EXPOSED_ANEW = 0.6  # share of the pairs


def draw_side(height: int, width: int, crop: int, generator: torch.Generator) -> int:
    """Draw the side of a square that is to be reduced to ``crop`` pixels.

    Args:
        height: of the scene, pixels, at least ``crop``.
        width: of the scene, at least ``crop``.
        crop: side of what comes out.
        generator: on the CPU.

    Returns:
        Pixels, from ``crop`` to the shorter side of the scene; log-uniform.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> sides = [draw_side(300, 400, 100, generator) for _ in range(100)]
        >>> 100 <= min(sides) < 110, 220 < max(sides) <= 250
        (True, True)
    """
    longest = min(min(height, width), crop / LEAST_SCALE)
    return min(height, width, round(crop * math.exp(_between(0, math.log(longest / crop), generator))))


def resized(images: list[Tensor], crop: int) -> list[Tensor]:
    """Reduce square images to ``crop`` pixels by means of areas.

    Args:
        images: ``(C, S, S)`` each, ``S`` at least ``crop``.
        crop: side of what comes out.

    Returns:
        ``(C, crop, crop)`` each.

    Example:
        >>> resized([torch.arange(16.0).reshape(1, 4, 4)], 2)[0].flatten().tolist()
        [2.5, 4.5, 10.5, 12.5]
    """
    if images[0].shape[-1] == crop:
        return images
    return [functional.interpolate(image[None], size=(crop, crop), mode="area")[0] for image in images]


def expose_anew(under: Tensor, over: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Give both exposures another gamma and gain, in 60 % of the cases.

    Args:
        under: RGB ``(3, H, W)`` in [0, 1].
        over: same shape.
        generator: on the CPU; it advances alike in all cases.

    Returns:
        Both, in [0, 1]; a reference made for the old exposures stays a natural picture of the scene.

    Example:
        >>> generator = torch.Generator().manual_seed(1)
        >>> gray = torch.full((3, 1, 1), 0.5)
        >>> pairs = [expose_anew(gray, gray, generator) for _ in range(200)]
        >>> round(sum(bool((under == gray).all()) for under, _ in pairs) / 200, 1)  # left as they were
        0.4
    """
    chosen = _between(0, 1, generator) < EXPOSED_ANEW
    exposures = []
    for image, gains in ((under, GAIN_UNDER), (over, GAIN_OVER)):
        gamma, gain = math.exp(_between(-GAMMA, GAMMA, generator)), math.exp(_between(*gains, generator))
        exposures.append((gain * image**gamma).clamp(0, 1) if chosen else image)
    return exposures[0], exposures[1]


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
