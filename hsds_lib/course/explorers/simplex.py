"""The simplex of loss weights: three losses of Table 1, and the picture that each mixture of them wants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hsds_lib.course.explorers.media import svg, table
from hsds_lib.course.recording import FOLDER, State, read_recording
from hsds_lib.course.style import BLUE, GRAY, INK, VERMILION
from hsds_lib.course.widgets import Control, Explorer, View

_WIDTH, _HEIGHT, _LEFT, _TOP, _EDGE = 340, 210, 80, 26, 180


def explorer(recording: str | Path = FOLDER / "simplex.zip") -> Explorer:
    """Make the explorer of the simplex from what ``python -m notebooks.tools.recordings.simplex`` wrote."""
    facts, pictures = read_recording(recording)
    first, second, third_name = corners = facts["corners"]
    parts = facts["parts"]
    states = {(state["third"], state["split"]): state for state in facts["states"]}
    shares = tuple(f"{100 * part / parts:.0f} %" for part in range(parts + 1))
    controls = [
        Control("third", f"weight of {third_name}", shares),
        Control("split", f"of the rest: {second}", shares, start=parts // 2),
    ]

    def view(third: int, split: int) -> View:
        state = states[third, split if third < parts else 0]
        spread = ", ".join(f"{100 * w:.0f} % {name}" for name, w in zip(corners, state["weights"], strict=True))
        alt = f"The picture optimised for {spread}."
        words = _triangle(corners, list(states.values()), state) + _table(corners, state)
        return View(words, pictures[state["picture"]], alt)

    about = (
        f"Every picture was optimised for its own weights ({facts['provenance']['steps']} Adam steps on the pixels of "
        f"scene {facts['scene']}, from the average); none is a blend of others."
    )
    return Explorer(
        "simplex", f"Three losses, mixed: {first}, {second}, {third_name}", about, controls, view, width=330
    )


def _table(corners: Sequence[str], state: State) -> str:
    rows = [
        (name, f"{100 * weight:.0f} %", f"{state['losses'][name]:.4f}")
        for name, weight in zip(corners, state["weights"], strict=True)
    ]
    rows += [
        ("weighted sum", "", f"{state['loss']:.4f}"),
        ("the same, average to start from", "", f"{state['loss_before']:.4f}"),
        ("the same, blend of the corners", "", f"{state['loss_of_blend']:.4f}"),
        ("MEF-SSIM, 3 scales", "", f"{state['mef_ssim']:.3f}"),
    ]
    return table(("loss", "weight", "value"), rows, strong=3)


def _triangle(corners: Sequence[str], states: Sequence[State], here: State) -> str:
    points = [(_LEFT, _TOP + 156), (_LEFT + _EDGE, _TOP + 156), (_LEFT + _EDGE / 2, _TOP)]

    def place(state: State) -> tuple[float, float]:
        x, y = (sum(w * p[axis] for w, p in zip(state["weights"], points, strict=True)) for axis in (0, 1))
        return round(x, 1), round(y, 1)

    edges = " ".join(f"{x},{y}" for x, y in points)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="3" fill="{GRAY}"/>' for x, y in map(place, states))
    x, y = place(here)
    names = [
        f'<text x="{a}" y="{b}" text-anchor="middle" fill="{INK}">{name}</text>'
        for name, (a, b) in zip(
            corners, ((points[0][0], _HEIGHT - 8), (points[1][0], _HEIGHT - 8), (points[2][0], 16)), strict=True
        )
    ]
    said = f"Simplex of {', '.join(corners)}; the weights here are {here['weights']}."
    hull = f'<polygon points="{edges}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>'
    spot = f'<circle cx="{x}" cy="{y}" r="8" fill="{VERMILION}" stroke="#fff" stroke-width="2"/>'
    return svg(_WIDTH, _HEIGHT, said, [hull, dots, spot, *names])
