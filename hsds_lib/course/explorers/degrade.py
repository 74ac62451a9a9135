"""A fused picture, made worse in several ways, and what the eight metrics of the paper say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from hsds_lib.course.recording import FOLDER, read_recording
from hsds_lib.course.style import BLUE, GRAY, INK, PALE, VERMILION
from hsds_lib.course.widgets import Control, Explorer, View

Scores = Mapping[str, float | None]
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


def _words(start: Scores, now: Scores) -> str:
    changes = {name: change(start[name], now[name]) for name in now}
    known = [value for value in changes.values() if value is not None]
    better = sum(value > STEADY for value in known)
    worse = sum(value < -STEADY for value in known)
    if better + worse:
        said = f"{better} of {len(changes)} metrics call it better than before, {worse} worse."
    else:
        said = "The picture as it was fused: move the lower slider."
    return f'<p style="margin:0 0 4px;font-weight:700">{escape(said)}</p>{_bars(start, now, changes)}'


def _bars(start: Scores, now: Scores, changes: Mapping[str, float | None]) -> str:
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
    return (
        f'<svg role="img" aria-label="Change of eight metrics: {escape(spoken)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" fill="{INK}" style="max-width:100%;height:auto;font:13px system-ui,sans-serif;'
        f'font-variant-numeric:tabular-nums">{"".join(parts)}</svg>'
    )


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
