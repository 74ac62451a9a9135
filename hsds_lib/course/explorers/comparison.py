"""What a comparison of two pictures is computed from: composed pixels, differences and scores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from html import escape

import numpy as np
import torch
from torch import Tensor

from hsds_lib.course.pictures import luma
from hsds_lib.course.style import INK
from hsds_lib.evaluation.metrics import UndefinedMetricError, psnr, to_pixels
from hsds_lib.losses.mef_ssim import mef_ssim_pair

Pixels = np.ndarray
"""RGB, uint8, ``(H, W, 3)``."""
SCALES = (8, 16, 32, 64, 128, 255)
"""Where the scale of differences may end, in levels of 255."""
EDGE_NAME, MAP_NAME = "edge between A and B", "difference of A and B"
_SMALLEST = 44  # pixels; MEF-SSIM has three scales of patches of 11
_ALMOST_ALL = 99.0  # per cent of the pixels that a scale must reach


@dataclass(frozen=True)
class Gap:
    """How far two pictures are apart, in levels of 255, the mean of red, green and blue.

    ``map`` shows every pixel in colours, RGB uint8 ``(H, W, 3)``; ``scale`` is the difference at their bright end.
    """

    map: Pixels
    scale: int
    mean: float
    most: float


def gap(first: Pixels, second: Pixels) -> Gap:
    """Measure and draw the absolute difference of two pictures, RGB uint8 ``(H, W, 3)``; the two may be swapped."""
    apart = np.abs(first.astype(np.float32) - second).mean(axis=2)
    needed = float(np.percentile(apart, _ALMOST_ALL))
    scale = next(scale for scale in SCALES if scale >= needed)
    places = np.minimum(np.rint(apart * (255 / scale)), 255).astype(np.uint8)
    return Gap(_colours()[places], scale, float(apart.mean()), float(apart.max()))


@cache
def _colours() -> Pixels:
    from matplotlib import colormaps

    # Lightness rises evenly, and colour-blind readers see what others see.
    return (colormaps["cividis"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)


def compose(first: Pixels, second: Pixels, *, edge: float, zoom: int = 1, x: float = 0.5, y: float = 0.5) -> Pixels:
    """Put two pictures into one frame: the first left of the edge, the second right of it.

    The edge, from 0 (only the second) to 1 (only the first), is a line of black and white. Each pixel is repeated
    ``zoom`` times; ``x`` and ``y``, 0 to 1, say which part is seen.
    """
    width = first.shape[1]
    column = round(edge * width)
    frame = magnify(first, zoom=zoom, x=x, y=y).copy()
    frame[:, column:] = magnify(second, zoom=zoom, x=x, y=y)[:, column:]
    if 0 < column < width:
        frame[:, column - 1], frame[:, column] = 0, 255
    return frame


def magnify(picture: Pixels, *, zoom: int, x: float, y: float) -> Pixels:
    """Cut a part out of a picture and repeat its pixels to the size of the whole; as for :func:`compose`."""
    height, width = picture.shape[:2]
    rows, columns = -(-height // zoom), -(-width // zoom)
    top, left = round(y * (height - rows)), round(x * (width - columns))
    part = picture[top : top + rows, left : left + columns]
    return part.repeat(zoom, axis=0).repeat(zoom, axis=1)[:height, :width]


@torch.no_grad()
def scores(
    picture: Tensor, *, under: Tensor | None = None, over: Tensor | None = None, ref: Tensor | None = None
) -> dict[str, str]:
    """Score a picture, RGB ``(3, H, W)`` in [0, 1], as far as there is something to score it against, in words."""
    found: dict[str, str] = {}
    if under is not None and over is not None and min(picture.shape[-2:]) >= _SMALLEST:
        lumas = (luma(image)[None, None] for image in (picture, under, over))
        found["MEF-SSIM"] = f"{float(mef_ssim_pair(*lumas)):.3f}"
    if ref is not None:
        try:
            found["PSNR to ref"] = f"{psnr(to_pixels(ref), to_pixels(picture)):.1f} dB"
        except UndefinedMetricError:  # the reference itself
            found["PSNR to ref"] = "∞"
    return found


def legend(scale: int) -> str:
    """The colours of differences as SVG; ``scale`` is the difference at their bright end, in levels of 255."""
    width, left, n = 300, 8, 32
    step = (width - 2 * left) / n
    bars = "".join(
        f'<rect x="{left + place * step:.1f}" y="18" width="{step + 0.5:.1f}" height="12" fill="#{_hex(place, n)}"/>'
        for place in range(n)
    )
    end = str(scale) if scale == SCALES[-1] else f"≥ {scale}"
    marks = ((left, "start", "0"), (width / 2, "middle", f"{scale / 2:g}"), (width - left, "end", end))
    ticks = "".join(f'<text x="{x:.0f}" y="44" text-anchor="{side}">{escape(text)}</text>' for x, side, text in marks)
    said = f"Colours of differences: dark is 0, bright is {scale} of 255 levels or more."
    return (
        f'<svg role="img" aria-label="{said}" viewBox="0 0 {width} 48" width="{width}" fill="{INK}" '
        f'style="max-width:100%;height:auto;font:12px system-ui,sans-serif"><text x="{left}" y="12">'
        f"|A − B|, mean of R, G, B (levels of 255)</text>{bars}{ticks}</svg>"
    )


def _hex(place: int, n: int) -> str:
    return bytes(_colours()[round(place * 255 / (n - 1))].tolist()).hex()
