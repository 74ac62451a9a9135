"""What two terms of Table 1 compare pixel by pixel: the strength of edges, and the angle between colours."""

from __future__ import annotations

import torch
from kornia.filters import spatial_gradient
from torch import Tensor

_ANGLE_FLOOR = 1e-6


def abs_sobel(image: Tensor) -> Tensor:
    """Give ``|d/dx| + |d/dy|`` by Sobel filters, edges repeated: the gradient of Table 1 row 3.

    The kernels are kornia's normalised ones: a horizontal ramp of slope s per pixel gives s.

    Args:
        image: ``(B, C, H, W)``.

    Returns:
        Same shape, in units of the image per pixel.

    Example:
        >>> ramp = 0.1 * torch.arange(6.0).expand(1, 1, 6, 6)
        >>> round(abs_sobel(ramp)[0, 0, 3, 3].item(), 4)
        0.1
    """
    return spatial_gradient(image, mode="sobel", normalized=True).abs().sum(dim=2)


def colour_angle(first_rgb: Tensor, second_rgb: Tensor) -> Tensor:
    """Give the angle between two colours at each pixel, by the two-argument arctangent: Table 1 row 6.

    The slope is finite everywhere: black has the angle 0 to every colour, and parallel colours the slope 0.

    Args:
        first_rgb: ``(B, 3, H, W)``, values may lie outside [0, 1].
        second_rgb: same shape.

    Returns:
        ``(B, H, W)`` in radians, 0 to pi.

    Example:
        >>> red, green = torch.eye(3)[:2].reshape(2, 1, 3, 1, 1)
        >>> round(colour_angle(red, green).item(), 3), colour_angle(red, 0.2 * red).item()
        (1.571, 0.0)
    """
    sine_square = torch.linalg.cross(first_rgb, second_rgb, dim=1).square().sum(dim=1)
    # Smoothed by the floor, and exactly 0 where the colours are parallel.
    sine = torch.sqrt(sine_square + _ANGLE_FLOOR**2) - _ANGLE_FLOOR
    cosine = (first_rgb * second_rgb).sum(dim=1) + _ANGLE_FLOOR
    # Colours of opposite direction can cancel the floor; the angle has no slope at that one point.
    defined = sine.square() + cosine.square() > 0.25 * _ANGLE_FLOOR**2
    one, zero = torch.ones_like(cosine), torch.zeros_like(cosine)
    return torch.atan2(torch.where(defined, sine, zero), torch.where(defined, cosine, one))
