"""A fused picture, made worse in several ways, and what the eight metrics of the paper say of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from hsds_lib.course.explorers.media import svg
from hsds_lib.course.recording import FOLDER, read_recording
from hsds_lib.course.style import BLUE, GRAY, INK, PALE, VERMILION
from hsds_lib.course.widgets import Control, Explorer, View

_Scores = Mapping[str, float | None]
STEADY = 0.05
"""Per cent; a smaller change than this is called none."""
REACH = 144.0
"""Per cent of change at the end of the drawing; bars grow with the square root, so that small changes are seen."""
_TICKS = (-100, -20, 0, 20, 100)  # per cent
_ROW, _TOP, _NAME, _BAR, _RIGHT = 24, 42, 84, 210, 178


def explorer(recording: str | Path = FOLDER / "degrade.zip") -> Explorer:
    """Make the explorer of metrics from what ``python -m notebooks.tools.recordings.degrade`` wrote."""
    facts, pictures = read_recording(recording)
    kinds, strengths = facts["kinds"], facts["strengths"]
    states = {(state["kind"], state["strength"]): state for state in facts["states"]}
    controls = [
        Control("kind", "what is done to it", tuple(kinds), kind="choice"),
        Control("strength", "how much", tuple(f"{strength:g}" for strength in strengths), start=len(strengths) // 2),
    ]

    def view(kind: int, strength: int) -> View:
        state = states[kinds[kind], strengths[strength]]
        start = states[kinds[kind], strengths[0]]["metrics"]
        done = f"{kinds[kind]}, strength {strengths[strength]:g}" if strengths[strength] else "nothing done to it"
        alt = f"The fused picture of scene {facts['scene']}: {done}."
        return View(_words(start, state["metrics"]), pictures[state["picture"]], alt)

    about = (
        f"Scene {facts['scene']}, fused by the model that ships; every state was degraded and scored, and recorded. "
        "SD, VIF and TMQI in their correct forms, not in the arithmetic of the paper's toolboxes."
    )
    return Explorer(
        "degrade",
        "Worse pictures, better metrics?",
        about,
        controls,
        view,
        width=360,
        words_width=_NAME + _BAR + _RIGHT,
    )


def change(start: float | None, now: float | None) -> float | None:
    """The change of a score in per cent of where it started; None where one of the two has no value."""
    if start is None or now is None or start == 0:
        return None
    return round(100 * (now - start) / abs(start), 6)


def _words(start: _Scores, now: _Scores) -> str:
    changes = {name: change(start[name], now[name]) for name in now}
    known = [value for value in changes.values() if value is not None]
    better = sum(value > STEADY for value in known)
    worse = sum(value < -STEADY for value in known)
    if better + worse:
        said = f"{better} of {len(changes)} metrics call it better than before, {worse} worse."
    else:
        said = "The picture as it was fused: move the lower slider."
    return f'<p style="margin:0 0 4px;font-weight:700">{escape(said)}</p>{_bars(start, now, changes)}'


def _bars(start: _Scores, now: _Scores, changes: Mapping[str, float | None]) -> str:
    """One bar for each metric: right is better, left is worse."""
    width, height = _NAME + _BAR + _RIGHT, _TOP + _ROW * len(changes) + 22
    middle = _NAME + _BAR / 2
    parts = [
        f'<path d="M{_place(tick)} {_TOP - 6}V{height - 18}" stroke="{PALE if tick else GRAY}"/><text '
        f'x="{_place(tick)}" y="{height - 4}" text-anchor="middle" font-size="11">{_tick(tick)}</text>'
        for tick in _TICKS
    ]
    parts.append(f'<text x="{middle - 8:g}" y="12" text-anchor="end" fill="{VERMILION}">◂ worse</text>')
    parts.append(f'<text x="{middle + 8:g}" y="12" fill="{BLUE}">better ▸</text>')
    heads = ((width - 108, "change"), (width - 54, "before"), (width, "now"))
    parts += [f'<text x="{x}" y="28" text-anchor="end" font-weight="700">{text}</text>' for x, text in heads]
    for row, (name, value) in enumerate(changes.items()):
        parts += _row(name, value, (start[name], now[name]), _TOP + _ROW * row)
    spoken = ", ".join(f"{name} {_signed(value)}" for name, value in changes.items())
    look = ";font-variant-numeric:tabular-nums"
    return svg(width, height, f"Change of eight metrics: {spoken}", parts, look=look, ink=INK)


def _row(name: str, value: float | None, values: Sequence[float | None], top: int) -> list[str]:
    base, width = top + 13, _NAME + _BAR + _RIGHT
    left, right = sorted((_place(0), _place(value or 0.0)))
    colour = BLUE if (value or 0.0) > 0 else VERMILION
    parts = [f'<text x="0" y="{base}">{escape(name)}</text>']
    parts.append(f'<rect x="{left:.1f}" y="{top + 2}" width="{right - left:.1f}" height="15" fill="{colour}"/>')
    texts = [_signed(value), *map(_number, values)]
    parts += [
        f'<text x="{x}" y="{base}" text-anchor="end">{text}</text>'
        for x, text in zip((width - 108, width - 54, width), texts, strict=True)
    ]
    return parts


def _tick(value: int) -> str:
    return f"{value:+d} %".replace("-", "−") if value else "0"


def _place(value: float) -> float:
    """Where a change lies in the drawing."""
    reach = math.copysign(math.sqrt(min(abs(value), REACH) / REACH), value)
    return round(_NAME + _BAR / 2 * (1 + reach), 1)


def _signed(value: float | None) -> str:
    if value is None:
        return "no value"
    if abs(value) <= STEADY:
        return "0 %"
    return f"{value:+.1f} %".replace("-", "−")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}" if abs(value) < 10 else f"{value:.1f}"


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


def lift_shadows(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
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
        "lift shadows": lift_shadows,
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
