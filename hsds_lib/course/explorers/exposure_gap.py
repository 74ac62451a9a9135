"""How far apart two exposures may be: a camera with a gap and a middle, and what the pair holds of a scene."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from hsds_lib.course.explorers.media import svg, table
from hsds_lib.course.pictures import BLOWN, CRUSHED
from hsds_lib.course.recording import FOLDER, read_recording
from hsds_lib.course.style import BLUE, GRAY, INK, ORANGE, PALE, VERMILION
from hsds_lib.course.widgets import Control, Explorer, View
from hsds_lib.images.exposure import srgb_to_linear

DEEPEST, BRIGHTEST, BINS = -14, 6, 40
"""The histogram of the scene's light: from and to in stops, and its bars."""


def explorer(recording: str | Path = FOLDER / "exposure_gap.zip") -> Explorer:
    """Make the explorer of the gap from what ``python -m notebooks.tools.recordings.exposure_gap`` wrote."""
    facts, pictures = read_recording(recording)
    gaps, middles = facts["gaps"], facts["middles"]
    states = {(state["gap"], state["middle"]): state for state in facts["states"]}
    controls = [
        Control("gap", "gap between the two", tuple(f"{gap:g} stops" for gap in gaps), start=len(gaps) // 2),
        Control("middle", "middle of the two", tuple(f"{m:+g} stops" for m in middles), start=len(middles) // 2),
    ]

    def view(gap: int, middle: int) -> View:
        state = states[gaps[gap], middles[middle]]
        alt = f"Under, over, Mertens' fusion, and in it the {100 * state['both']:.1f} % of pixels that both have lost."
        drawn = _histogram(facts["light"], state["gap"], state["middle"])
        return View(drawn + _table(state), pictures[state["picture"]], alt)

    about = (
        f"Photograph '{facts['photo']}' under simulated light, photographed anew by the camera model for every state "
        "(recorded)."
    )
    return Explorer("exposure_gap", "Two exposures of one scene", about, controls, view, width=460)


def _table(state: dict[str, float]) -> str:
    rows = [(f"lost in {name}", f"{100 * state[name]:.1f} %") for name in ("under", "over", "both")]
    rows += [(f"MEF-SSIM of {name}", f"{state[name]:.3f}") for name in ("average", "Mertens")]
    return table(("", "share or score"), rows)


def held(ev: float) -> tuple[float, float]:
    """The stops of light that an exposure holds: where its luma is neither within 2 % of black nor of white."""
    low, high = (
        torch.log2(srgb_to_linear(torch.tensor(edge, dtype=torch.float64))).item() for edge in (CRUSHED, BLOWN)
    )
    return low - ev, high - ev


def _histogram(counts: Sequence[float], gap: float, middle: float) -> str:
    """The scene's light, and the part of it that each exposure holds."""
    width, height, left = 420, 150, 10

    def place(stop: float) -> float:
        share = (min(max(stop, DEEPEST), BRIGHTEST) - DEEPEST) / (BRIGHTEST - DEEPEST)
        return left + share * (width - 2 * left)

    step = (width - 2 * left) / BINS
    bars = "".join(
        f"M{left + n * step:.1f} 100v-{82 * count / max(counts):.1f}h{step - 1:.1f}V100z"
        for n, count in enumerate(counts)
        if count
    )
    parts = [f'<path d="{bars}" fill="{GRAY}"/>', f'<path d="M{left} 100H{width - left}" stroke="{INK}"/>']
    for row, (name, ev, colour) in enumerate((("under", middle - gap / 2, BLUE), ("over", middle + gap / 2, ORANGE))):
        low, high = (place(stop) for stop in held(ev))
        y = 106 + 13 * row
        parts.append(f'<rect x="{low:.1f}" y="{y}" width="{max(0.0, high - low):.1f}" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{max(low, left) + 3:.1f}" y="{y + 9}" fill="#fff" font-size="10">{name} holds</text>')
    ticks = range(-12, 7, 3)
    parts += [f'<text x="{place(t):.1f}" y="146" text-anchor="middle" fill="{INK}">{t}</text>' for t in ticks]
    parts.append(
        f'<text x="{left}" y="12" fill="{INK}">light in the scene (stops; 0 is the photograph\'s white)</text>'
    )
    zero = f'<path d="M{place(0):.1f} 18V100" stroke="{PALE}"/>'
    ends = f"{middle - gap / 2:+g} and {middle + gap / 2:+g} stops"
    said = f"Histogram of the scene's light, and what exposures of {ends} hold of it."
    note = (
        '<p style="margin:0;font-size:12px">Pictures: under, over; Mertens\' fusion, and '
        f'where <b style="color:{VERMILION}">both exposures are lost</b>.</p>'
    )
    return svg(width, height, said, [zero, *parts], font=12) + note
