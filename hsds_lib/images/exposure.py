"""Under-, over-exposed and reference views of a photograph, made by a camera model in linear light.

A photograph shows a scene whose brightness range the camera could hold. The model gives the scene a range
that it cannot hold, by an illumination of several stops (sun through a window, a lamp, a shadow), and
photographs it twice. All steps but the last are done on linear light, as on a sensor: illumination,
exposure, noise, clipping.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from skimage import data as bundled
from skimage.transform import resize
from torch import Tensor
from torch.nn.functional import interpolate

EMBEDDED_SHORT_SIDE = 256  # pixels; the paper's crop just fits

# What each number of a camera may be. 100 stops are far more than any scene has, and far from overflow.
_RANGES: dict[str, tuple[float, float]] = {
    "stops": (0, 100),
    "keep": (0, 1),
    "ev_under": (-100, 100),
    "ev_over": (-100, 100),
    "ev_jitter": (0, 100),
    "edge": (0, 1),
    "full_well": (1, math.inf),
    "read_noise": (0, 1),
}


@dataclass(frozen=True)
class Camera:
    """A scene's illumination and the two exposures taken of it. One stop is a factor of two in light.

    A number that is not finite or out of its range is a ValueError.
    """

    stops: float = 6.0  # range of the added illumination over the picture [stops]
    keep: float = 0.15  # share of those stops that the reference keeps, in [0, 1]; 0 is the photograph itself
    ev_under: float = -3.3  # exposure of the dark view relative to the photograph's [stops]
    ev_over: float = 2.4  # exposure of the bright view relative to the photograph's [stops]
    ev_jitter: float = 0.4  # each exposure is moved by a uniform draw from plus or minus this [stops]
    edge: float = 0.06  # softness of the border between light and shadow [share of the longer side]
    full_well: float = 20000.0  # electrons at clipping: shot noise is sqrt(signal / full_well) [electrons]
    read_noise: float = 2e-4  # standard deviation of the read noise [share of the clipping level]

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and least <= value <= most):
                raise ValueError(f"the camera's {name} is {value}; give a number from {least:g} to {most:g}")


def embedded_photographs() -> dict[str, Tensor]:
    """Load the colour photographs that come inside the scikit-image package; nothing is downloaded.

    Bundled pictures that are not photographs of a natural scene (microscopy, retina, deep field) are left out. They are
    reduced so that the shorter side has 256 pixels: RGB float32 ``(3, H, W)``, multiples of 1/255. Sources, as
    scikit-image states them: astronaut (NASA) and rocket (SpaceX) are in the public domain, chelsea (S. van der Walt)
    and coffee (R. Michetti) are CC0, motorcycle is from the Middlebury 2014 stereo benchmark (D. Scharstein et al.).

    Example:
        >>> {name: tuple(photo.shape[1:]) for name, photo in embedded_photographs().items()}
        {'astronaut': (256, 256), 'chelsea': (256, 385), 'coffee': (256, 384), 'motorcycle': (256, 379),
         'rocket': (256, 384)}
    """
    return {name: photo.clone() for name, photo in _load_embedded().items()}


@cache
def _load_embedded() -> dict[str, Tensor]:
    photographs = {
        "astronaut": bundled.astronaut(),
        "chelsea": bundled.chelsea(),
        "coffee": bundled.coffee(),
        "motorcycle": bundled.stereo_motorcycle()[0],
        "rocket": bundled.rocket(),
    }
    return {name: _reduce(pixels) for name, pixels in photographs.items()}


def _reduce(pixels: np.ndarray) -> Tensor:
    scale = EMBEDDED_SHORT_SIDE / min(pixels.shape[:2])
    size = (round(pixels.shape[0] * scale), round(pixels.shape[1] * scale))
    small = resize(pixels.astype(np.float64) / 255, size, order=1, anti_aliasing=True)
    return _quantise(torch.from_numpy(small).permute(2, 0, 1).contiguous())


def simulate_triple(photo: Tensor, camera: Camera, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Photograph one scene twice, too dark and too bright, and give what fusion should find: under, over, ref.

    With the photograph's linear light ``L`` and an illumination of ``s`` stops (within plus or minus ``stops / 2``):
    under and over are ``clip(L 2^(s + ev) + noise)``, the reference is ``clip(L 2^(keep s))``, all coded as 8-bit sRGB,
    float32 ``(3, H, W)`` in multiples of 1/255. The reference is so a tone-mapped view: most of the added illumination
    taken away, a trace of it kept. The generator, on the CPU, decides on illumination, exposure jitter and noise.
    ValueError for a photograph of another shape, without pixels, of integers, or of values that are not finite.

    Example:
        >>> photo = torch.full((3, 64, 64), 0.5)
        >>> triple = simulate_triple(photo, Camera(), torch.Generator().manual_seed(0))
        >>> [round(float(image.mean()), 1) for image in triple]  # too dark, too bright, and what fusion should find
        [0.2, 0.8, 0.5]
    """
    if photo.ndim != 3 or 0 in photo.shape or not photo.is_floating_point() or not bool(torch.isfinite(photo).all()):
        raise ValueError(
            f"the photograph is {photo.dtype} of shape {tuple(photo.shape)}; "
            "give finite floating-point values in [0, 1] of shape (3, H, W)"
        )
    light = srgb_to_linear(photo.double())
    stops = camera.stops * illumination(photo.shape[-2], photo.shape[-1], edge=camera.edge, generator=generator)
    jitter = camera.ev_jitter * (2 * torch.rand(2, generator=generator, dtype=torch.float64) - 1)
    under = _expose(light * torch.exp2(stops + camera.ev_under + jitter[0]), camera, generator)
    over = _expose(light * torch.exp2(stops + camera.ev_over + jitter[1]), camera, generator)
    ref = linear_to_srgb((light * torch.exp2(camera.keep * stops)).clamp(0, 1))
    return under, over, _quantise(ref)


def illumination(height: int, width: int, *, edge: float, generator: torch.Generator) -> Tensor:
    """Draw an illumination pattern: a soft-edged lit region on a slowly varying ground.

    float64 ``(H, W)`` from -0.5 (darkest) to 0.5 (brightest); ``edge`` is the softness of the region's border, as a
    share of the longer side.
    """
    longer = max(height, width)
    y = torch.linspace(-0.5, 0.5, height, dtype=torch.float64)[:, None] * (height / longer)
    x = torch.linspace(-0.5, 0.5, width, dtype=torch.float64)[None, :] * (width / longer)
    draws = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
    angle = 2 * math.pi * draws[0]
    centre_y, centre_x = 0.6 * (draws[1] - 0.5), 0.6 * (draws[2] - 0.5)
    along = (x - centre_x) * math.cos(angle) + (y - centre_y) * math.sin(angle)
    across = (y - centre_y) * math.cos(angle) - (x - centre_x) * math.sin(angle)
    half_length, half_width = 0.25 + 0.35 * draws[3], 0.15 + 0.2 * draws[4]
    # Two soft walls a direction: 1 well inside (lit), 0 well outside (shadow), corners rounded.
    steepness = 4 / max(edge, 1e-6)
    region = torch.sigmoid(steepness * (half_length - along.abs()))
    region = region * torch.sigmoid(steepness * (half_width - across.abs()))
    ground = _slow_field(height, width, generator)
    share = 0.45 + 0.25 * draws[5]
    pattern = share * region + (1 - share) * ground
    span = pattern.max() - pattern.min()
    return (pattern - pattern.min()) / span.clamp_min(1e-12) - 0.5


def _slow_field(height: int, width: int, generator: torch.Generator) -> Tensor:
    coarse = torch.randn(1, 1, 4, 4, generator=generator, dtype=torch.float64)
    field = interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)[0, 0]
    return (field - field.min()) / (field.max() - field.min()).clamp_min(1e-12)


def _expose(light: Tensor, camera: Camera, generator: torch.Generator) -> Tensor:
    # The sensor clips the light and then adds noise; values below zero are cut when coded.
    signal = light.clamp(0, 1)
    deviation = torch.sqrt(signal / camera.full_well + camera.read_noise**2)
    noise = deviation * torch.randn(light.shape, generator=generator, dtype=light.dtype)
    return _quantise(linear_to_srgb((light + noise).clamp(0, 1)))


def srgb_to_linear(srgb: Tensor) -> Tensor:
    """Decode sRGB values in [0, 1] to linear light (IEC 61966-2-1).

    Example:
        >>> srgb_to_linear(torch.tensor([0.0, 0.5, 1.0]))  # half the code value is a fifth of the light
        tensor([0.0000, 0.2140, 1.0000])
    """
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp_min(0) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: Tensor) -> Tensor:
    """Code linear light in [0, 1] as sRGB values (IEC 61966-2-1); the inverse of ``srgb_to_linear``."""
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp_min(1e-12) ** (1 / 2.4) - 0.055)


def _quantise(image: Tensor) -> Tensor:
    return (image.clamp(0, 1) * 255).round().to(torch.float32) / 255
