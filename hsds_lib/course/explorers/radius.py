"""Two points and their radius: what a finite difference makes of kinks, and an exact derivative beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hsds_lib.course.explorers.media import svg, table
from hsds_lib.course.style import BLUE, GRAY, INK, PALE, VERMILION
from hsds_lib.course.widgets import Control, Explorer, View
from hsds_lib.search.hypergradient import central_difference, jacobian_vector

RADII = ("0.1", "0.03", "0.01", "0.003", "0.001", "0.0003", "0.0001", "0.00001", "0.000001")
"""The radii to choose from; the released code takes 0.01."""
_WIDTH, _HEIGHT, _POINTS = 460, 230, 161
Function = Callable[[Tensor], Tensor]


def functions(seed: int = 0) -> dict[str, Function]:
    """Functions of one number ``w``, looked at around 0: smooth ones, and sums of kinks as a network has them."""
    generator = torch.Generator().manual_seed(seed)
    places = 0.02 * torch.randn(30, generator=generator, dtype=torch.float64)
    slopes = torch.randn(30, generator=generator, dtype=torch.float64)
    return {
        "smooth: sin(3w)": lambda w: (3 * w).sin(),
        "one ReLU, kink at 0.005": lambda w: (w - 0.005).relu(),
        "absolute value, kink at -0.0002": lambda w: (w + 0.0002).abs(),
        "30 ReLUs, random kinks": lambda w: (slopes * (w.unsqueeze(-1) - places).relu()).sum(-1),
    }


def explorer(seed: int = 0) -> Explorer:
    """Make the explorer of radii: a function, the radius of the two points, and the slopes they give."""
    known = functions(seed)
    controls = [
        Control("function", "function of one weight w", tuple(known), start=3, kind="choice"),
        Control("radius", "radius of the two points", RADII, start=RADII.index("0.01")),
    ]

    def view(function: int, radius: int) -> View:
        return _view(list(known.values())[function], float(RADII[radius]), RADII[radius])

    about = "Slopes at w = 0, computed in float64 by the library's two functions; the picture zooms with the radius."
    return Explorer("radius", "Two points, and what lies between them", about, controls, view)


def slopes(function: Function, radius: float) -> tuple[float, float]:
    """The slope at 0 by two points, and exactly."""
    weights, along = ({"w": torch.tensor([value], dtype=torch.float64)} for value in (0.0, 1.0))

    def at(omega: Mapping[str, Tensor]) -> Tensor:
        return function(omega["w"])

    return central_difference(at, weights, along, radius=radius).item(), jacobian_vector(at, weights, along).item()


def _view(function: Function, radius: float, label: str) -> View:
    found, exact = slopes(function, radius)
    off = abs(found - exact) / max(abs(exact), 1e-12)
    wrong = f"{100 * off:.2g} %" if exact else ("0 %" if found == 0 else "infinite")
    rows = [("two points", f"{found:.6g}"), ("exact", f"{exact:.6g}"), ("relative error", wrong)]
    return View(_drawing(function, radius, label, found, exact) + table(("slope at w = 0", "value"), rows))


def _drawing(function: Function, radius: float, label: str, found: float, exact: float) -> str:
    w = torch.linspace(-1.6 * radius, 1.6 * radius, _POINTS, dtype=torch.float64)
    curve = function(w)
    ends = torch.tensor([-radius, radius], dtype=torch.float64)
    chord = function(ends)
    tangent = function(torch.zeros(1, dtype=torch.float64)) + exact * w
    low, high = (float(pick(torch.cat([curve, tangent]))) for pick in (torch.min, torch.max))
    high = max(high, low + 1e-12)

    def points(x: Tensor, y: Tensor) -> list[tuple[float, float]]:
        left = (x / (3.2 * radius) + 0.5) * (_WIDTH - 20) + 10
        top = _HEIGHT - 40 - (y - low) / (high - low) * (_HEIGHT - 70)
        return list(zip(left.tolist(), top.tolist(), strict=True))

    def line(x: Tensor, y: Tensor, look: str) -> str:
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points(x, y))
        return f'<polyline points="{path}" fill="none" {look}/>'

    dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="5" fill="{VERMILION}"/>' for a, b in points(ends, chord))
    middle = f'<line x1="{_WIDTH / 2}" x2="{_WIDTH / 2}" y1="24" y2="{_HEIGHT - 32}" stroke="{PALE}"/>'
    marks = "".join(
        f'<text x="{x}" y="{_HEIGHT - 14}" text-anchor="middle" fill="{GRAY}">{text}</text>'
        for x, text in ((10 + (_WIDTH - 20) * 0.6 / 3.2, f"−{label}"), (_WIDTH / 2, "w = 0"), (_WIDTH - 92.5, label))
    )
    legend = (
        f'<text x="10" y="14" fill="{INK}">the function</text><text x="110" y="14" fill="{VERMILION}">- - two points'
        f'</text><text x="220" y="14" fill="{BLUE}">— exact slope</text>'
    )
    said = f"Between two points at distance {label} the slope is {found:.4g}, the exact slope at 0 is {exact:.4g}."
    drawn = [
        middle,
        line(w, tangent, f'stroke="{BLUE}" stroke-width="2"'),
        line(w, curve, f'stroke="{INK}" stroke-width="2.5"'),
        line(ends, chord, f'stroke="{VERMILION}" stroke-width="2" stroke-dasharray="6 4"'),
        dots,
        marks,
        legend,
    ]
    return svg(_WIDTH, _HEIGHT, said, drawn)
