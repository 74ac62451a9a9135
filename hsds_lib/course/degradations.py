"""Ways to spoil a picture, each with a strength from 0 (not at all) to 1: what metrics are asked about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from types import MappingProxyType

import numpy as np
import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

Degradation = Callable[[Tensor, float, torch.Generator], Tensor]


def blur(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Gaussian blur, sigma up to 4 pixels."""
    sigma = 4 * strength
    size = 2 * min(round(3 * sigma), (min(image.shape[-2:]) - 1) // 2) + 1
    return gaussian_blur2d(image, (size, size), (sigma, sigma), border_type="reflect") if size > 1 else image


def noise(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """White noise in all channels, standard deviation up to 0.15."""
    return image + 0.15 * strength * torch.randn(image.shape, generator=generator)


def darken(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Multiply by down to 0.3: what no metric of local structure should mind."""
    return image * (1 - 0.7 * strength)


def gamma(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Lift the shadows by an exponent down to 0.4."""
    return image.clamp(0, 1) ** (1 - 0.6 * strength)


def stretch(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """More global contrast about the mean, up to threefold, clipped."""
    mean = image.mean(dim=(-2, -1), keepdim=True)
    return image + 2 * strength * (image - mean)


def haze(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Mix with white, up to 70 %."""
    return image + 0.7 * strength * (1 - image)


def sharpen(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Unsharp mask, up to three times the detail: halos and crisp noise."""
    return image + 3 * strength * (image - blur(image, 0.4, generator))


def jpeg(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """JPEG of quality 100 down to 4; strength 0 does not compress."""
    from PIL import Image

    if strength == 0:
        return image
    pixels = image.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
    spoiled = []
    for item in pixels:
        buffer = BytesIO()
        Image.fromarray(item).save(buffer, format="JPEG", quality=round(100 - 96 * strength))
        spoiled.append(torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1))
    return torch.stack(spoiled).to(image.dtype) / 255


DEGRADATIONS: Mapping[str, Degradation] = MappingProxyType(
    {
        "blur": blur,
        "noise": noise,
        "darken": darken,
        "lift shadows": gamma,
        "stretch contrast": stretch,
        "haze": haze,
        "sharpen": sharpen,
        "JPEG": jpeg,
    }
)
"""Every degradation by its name."""


def degrade(name: str, image: Tensor, strength: float, *, seed: int = 0) -> Tensor:
    """Spoil RGB pictures ``(B, 3, H, W)`` by one of ``DEGRADATIONS``; the result is clipped to [0, 1].

    Strength 0 changes nothing, 1 most; ``seed`` is that of the noise. An unknown name or strength is a ``ValueError``.
    """
    if name not in DEGRADATIONS:
        raise ValueError(f"there is no degradation '{name}'; choose one of {', '.join(DEGRADATIONS)}")
    if not 0 <= strength <= 1:
        raise ValueError(f"the strength is {strength}; give a number from 0 to 1")
    return DEGRADATIONS[name](image, strength, torch.Generator().manual_seed(seed)).clamp(0, 1)
