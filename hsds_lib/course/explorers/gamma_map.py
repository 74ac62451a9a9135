"""A walk over the contrast of Eq. 3: a plane of pictures through two exposures and their reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hsds_lib.course.explorers.media import SHADES, svg, table
from hsds_lib.course.recording import FOLDER, State, read_recording
from hsds_lib.course.style import BLUE, GRAY, GREEN, INK, ORANGE, VERMILION
from hsds_lib.course.widgets import Control, Explorer, View
from hsds_lib.losses.contrast import EPS

TERMS = {"Γ_R: to the reference": ("R",), "Γ_N: to a natural photograph": ("N",), "Γ_H: both": ("R", "N")}
_CELL, _LEFT, _TOP = 30, 62, 8


def explorer(recording: str | Path = FOLDER / "gamma_map.zip") -> Explorer:
    """Make the explorer of the contrast from what ``python -m notebooks.tools.recordings.gamma_map`` wrote."""
    facts, pictures = read_recording(recording)
    across, towards, layers = facts["across"], facts["towards"], facts["layers"]
    grid = {(state["across"], state["towards"]): state for state in facts["states"]}
    scopes = ["all layers", *layers]
    controls = [
        Control("term", "term", tuple(TERMS), kind="choice"),
        Control("scope", "layer", tuple(scopes), kind="choice"),
        Control("a", "under (0) to over (1)", tuple(f"{a:g}" for a in across), start=len(across) // 2),
        Control("b", "towards the reference", tuple(f"{b:g}" for b in towards), start=len(towards) // 2),
    ]

    def view(term: int, scope: int, a: int, b: int) -> View:
        positives = list(TERMS.values())[term]
        places = range(len(layers)) if scope == 0 else [scope - 1]
        values = [[contrast_at(grid[x, y], positives, places) for x in across] for y in towards]
        state = grid[across[a], towards[b]]
        said = f"{list(TERMS)[term].partition(':')[0]} is {values[b][a]:.3f} here"
        words = _map(values, across, towards, (a, b), said) + _table(state, positives, layers, places, values[b][a])
        alt = f"The picture at this place: {across[a]:g} from under to over, {towards[b]:g} towards the reference."
        return View(words, pictures[state["picture"]], alt)

    about = (
        f"Every place is a picture u + a (o - u) + b (r - (u + o)/2) of scene {facts['scene']}, measured with "
        f"{facts['features']}. u, o and r are the exposures and the reference."
    )
    return Explorer("gamma_map", "A walk over the contrast (Eq. 3)", about, controls, view, width=320, words_width=420)


def contrast_at(state: State, positives: Sequence[str], places: Sequence[int]) -> float:
    """Eq. 3 at a place, of some layers: pulls over pushes, summed over layers and positives."""
    return sum(state[name][i] / (state["push"][i] + EPS) for name in positives for i in places)


def _table(state: State, positives: Sequence[str], layers: Sequence[str], places: Sequence[int], total: float) -> str:
    rows = [
        (
            f"{layers[i]}, Γ_{name}",
            f"{state[name][i]:.4g}",
            f"{state['push'][i]:.4g}",
            f"{contrast_at(state, name, [i]):.3f}",
        )
        for name in positives
        for i in places
    ]
    return table(("layer", "pull", "pushes", "ratio"), [*rows, ("sum", "", "", f"{total:.3f}")], strong=len(rows))


def _map(
    values: Sequence[Sequence[float]],
    across: Sequence[float],
    towards: Sequence[float],
    here: tuple[int, int],
    said: str,
) -> str:
    low, high = min(map(min, values)), max(map(max, values))
    cells: dict[str, list[str]] = {}
    last = len(towards) - 1
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            level = min(len(SHADES) - 1, int((value - low) / (high - low or 1.0) * len(SHADES)))
            left, top = _LEFT + column * _CELL, _TOP + (last - row) * _CELL
            cells.setdefault(SHADES[level], []).append(f"M{left} {top}h{_CELL - 1}v{_CELL - 1}h-{_CELL - 1}z")
    parts = [f'<path d="{"".join(paths)}" fill="{colour}"/>' for colour, paths in sorted(cells.items())]

    def centre(a: float, b: float) -> tuple[float, float]:
        step = (across[1] - across[0], towards[1] - towards[0])
        column, row = (a - across[0]) / step[0], (b - towards[0]) / step[1]
        return _LEFT + (column + 0.5) * _CELL, _TOP + (last - row + 0.5) * _CELL

    for name, spot, colour in (("u", (0, 0), BLUE), ("o", (1, 0), ORANGE), ("r", (0.5, 1), GREEN)):
        x, y = centre(*spot)
        parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="9" fill="#fff" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<text x="{x:g}" y="{y + 4:g}" text-anchor="middle" fill="{INK}">{name}</text>')
    x, y = centre(across[here[0]], towards[here[1]])
    parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="13" fill="none" stroke="{VERMILION}" stroke-width="4"/>')
    width, height = _LEFT + len(across) * _CELL + 110, _TOP + len(towards) * _CELL + 36
    base = height - 18
    words = [
        f'<text x="{_LEFT + len(across) * _CELL / 2:g}" y="{base}" text-anchor="middle">a: under to over</text>',
        f'<text x="{_LEFT - 8}" y="{_TOP + 14}" text-anchor="end">b: to r</text>',
        *(
            f'<text x="{_LEFT - 8}" y="{centre(0, b)[1] + 4:g}" text-anchor="end" fill="{GRAY}">{b:g}</text>'
            for b in towards[:-1]
        ),
    ]
    key = [(_TOP + 14, f"{high:.2f} at most", SHADES[-1]), (_TOP + 38, f"{low:.2f} at least", SHADES[0])]
    left = _LEFT + len(across) * _CELL + 8
    for top, text, colour in key:
        words.append(f'<rect x="{left}" y="{top - 11}" width="13" height="13" fill="{colour}" stroke="{GRAY}"/>')
        words.append(f'<text x="{left + 18}" y="{top}">{text}</text>')
    return svg(width, height, f"{said}, from {low:.2f} to {high:.2f} on this plane.", [*parts, *words], font=12)
