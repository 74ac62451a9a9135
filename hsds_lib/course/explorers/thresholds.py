"""What theta and P do to a search: recorded searches to move through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from hsds_lib.course.explorers.media import SHADES, svg, table
from hsds_lib.course.recording import FOLDER, State, read_recording
from hsds_lib.course.style import BLUE, GRAY, GREEN, INK, ORANGE, PALE, PURPLE
from hsds_lib.course.widgets import Control, Explorer, View
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES

_SHOWN = {"MS-SSIM": "MEF-SSIM, 3 scales", "VIF_double": "VIF", "Qabf": "Q^AB/F", "EN": "entropy (bits)"}


def explorer(recording: str | Path = FOLDER / "thresholds.zip") -> Explorer:
    """Make the explorer of thresholds from what ``python -m notebooks.tools.recordings.thresholds`` wrote."""
    facts, pictures = read_recording(recording)
    states: dict[tuple[float, int, int], State] = {
        (state["theta"], state["top_p"], state["step"]): state for state in facts["states"]
    }
    thetas, top_ps = sorted({key[0] for key in states}), sorted({key[1] for key in states})
    steps = sorted({key[2] for key in states})
    controls = [
        Control("theta", "pruning threshold θ", tuple(f"{theta:g}" for theta in thetas), start=len(thetas) // 2),
        Control("top_p", "P, kept per node", tuple(map(str, top_ps)), start=min(1, len(top_ps) - 1)),
        Control("step", "step of the search", tuple(map(str, steps)), start=len(steps) - 1),
    ]

    def view(theta: int, top_p: int, step: int) -> View:
        state = states[thetas[theta], top_ps[top_p], steps[step]]
        before = states[thetas[theta], top_ps[top_p], steps[step - 1]] if step else None
        scores = [state["metrics"][kind]["MS-SSIM"] for kind in ("search", "trained")]
        alt = (
            f"Scene {facts['scene']} fused by the search network, MEF-SSIM {scores[0]:.3f}, and by the network that is "
            f"retained at this step and trained for {facts['training_steps']} steps, {scores[1]:.3f}."
        )
        return View(_words(state, before), pictures[state["picture"]], alt)

    n_searches = len(facts["provenance"]["searches"])
    about = (
        f"{n_searches} real searches, recorded (embedded scenes, width {facts['width']:g}, {facts['features']}): "
        "every θ is a search of its own on the same batches, and so is every P that changes one. Left the picture of "
        f"the search network; right that of the retained network, trained anew for {facts['training_steps']} steps."
    )
    return Explorer("thresholds", "A search and its threshold", about, controls, view, width=420, words_width=620)


def _words(state: State, before: State | None) -> str:
    alive = sum(map(sum, state["active"]))
    rows = [
        ("operations", f"{alive} of {len(NODES) * len(PRIMITIVES)}", str(sum(map(len, state["genotype"].values())))),
        ("parameters", "", f"{state['parameters']:,}"),
        ("MACs per pixel", "", f"{state['macs']:,.0f}"),
    ]
    both = state["metrics"]
    rows += [(text, f"{both['search'][n]:.3f}", f"{both['trained'][n]:.3f}") for n, text in _SHOWN.items()]
    left = weight_grid(state["mix"], state["active"], state["genotype"])
    right = table(("at this step", "search network", "retained"), rows) + network(state["genotype"])
    row = "display:flex;flex-wrap:wrap;gap:8px 24px;align-items:flex-start"
    drawn = f'<div style="{row}"><div>{left}</div><div>{right}</div></div>'
    return f'<p style="margin:0 0 4px">{_news(state, before)}</p>{drawn}{map_key()}'


def _news(state: State, before: State | None) -> str:
    """One sentence: which operations went since the recorded step before."""
    if before is None:
        return f"Step 0: every operation has the weight 1/{len(PRIMITIVES)}, and nothing has been learned."
    cut = _cut(before["active"], state["active"])
    if not cut:
        return f"Since step {before['step']} no operation was cut."
    named = ", ".join(f"{node} {label(primitive)}" for node, primitive in cut[:4])
    more = f" and {len(cut) - 4} more" if len(cut) > 4 else ""
    noun = "operation was" if len(cut) == 1 else "operations were"
    return f"Since step {before['step']} {len(cut)} {noun} cut: {named}{more}."


def _cut(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> list[tuple[str, str]]:
    return [
        (NODES[row], PRIMITIVES[column])
        for row in range(len(NODES))
        for column in range(len(PRIMITIVES))
        if before[row][column] and not after[row][column]
    ]


_STEPS = (0.0, 0.05, 1 / len(PRIMITIVES), 0.14, 0.2, 0.3, 0.45, 0.65)
_CELL, _LEFT, _TOP = 18, 44, 58


def shade(weight: float) -> str:
    """The colour of a weight from 0 to 1."""
    return SHADES[max(place for place, least in enumerate(_STEPS) if weight >= least)]


def weight_grid(
    mix: Sequence[Sequence[float]], active: Sequence[Sequence[int]], genotype: Mapping[str, Mapping[str, float]]
) -> str:
    """Draw the weights of nodes and operations; what is cut is crossed, what would be retained is framed."""
    cells: dict[str, list[str]] = {}
    crosses, frames = [], []
    for row, node in enumerate(NODES):
        for column, primitive in enumerate(PRIMITIVES):
            x, y = _LEFT + column * _CELL, _TOP + row * _CELL
            size = _CELL - 1
            if active[row][column]:
                cells.setdefault(shade(mix[row][column]), []).append(f"M{x} {y}h{size}v{size}h-{size}z")
            else:
                crosses.append(f"M{x + 5} {y + 5}l7 7m0-7l-7 7")
            if primitive in genotype[node]:
                frames.append(f"M{x + 1} {y + 1}h{size - 2}v{size - 2}h-{size - 2}z")
    heads = [_head(_LEFT + column * _CELL + 12, name) for column, name in enumerate(PRIMITIVES)]
    sides = [
        f'<text x="{_LEFT - 6}" y="{_TOP + r * _CELL + 13}" text-anchor="end">{escape(node)}</text>'
        for r, node in enumerate(NODES)
    ]
    parts = [f'<path d="{"".join(paths)}" fill="{colour}"/>' for colour, paths in sorted(cells.items())]
    parts.append(f'<path d="{"".join(crosses)}" stroke="{GRAY}" stroke-width="1.2" fill="none"/>' if crosses else "")
    parts.append(f'<path d="{"".join(frames)}" stroke="{ORANGE}" stroke-width="2.2" fill="none"/>')
    width, height = _LEFT + len(PRIMITIVES) * _CELL + 30, _TOP + len(NODES) * _CELL + 4
    alive = sum(map(sum, active))
    said = (
        f"Weights of {len(NODES)} nodes and {len(PRIMITIVES)} operations; {len(NODES) * len(PRIMITIVES) - alive} "
        f"operations are cut, {alive} are left."
    )
    return svg(width, height, said, [*heads, *sides, *parts], font=12, look=f";color:{PALE}")


def _head(x: float, primitive: str) -> str:
    return f'<text x="{x}" y="{_TOP - 6}" transform="rotate(-55 {x} {_TOP - 6})">{escape(label(primitive))}</text>'


def map_key() -> str:
    """What the colours and marks of :func:`weight_grid` mean."""
    marks = [
        ("0", SHADES[0]),
        (f"1/{len(PRIMITIVES)}, as at the start", SHADES[2]),
        ("0.3", SHADES[5]),
        ("0.65 and more", SHADES[7]),
    ]
    box = (
        '<span style="display:inline-block;width:12px;height:12px;margin:0 4px 0 10px;vertical-align:-1px;{}"></span>{}'
    )
    words = "".join(box.format(f"background:{colour};border:1px solid #bbb", text) for text, colour in marks)
    words += box.format(f"border:2px solid {ORANGE}", "retained (the P strongest)")
    return (
        f'<p style="margin:2px 0;font-size:12px">weight{words} <span style="color:{GRAY}">&nbsp;× cut by θ</span></p>'
    )


def label(primitive: str) -> str:
    """An operation as it is written in a drawing: ``3x3``, ``dil 5x5``."""
    return primitive.replace("conv_", "").replace("_", " ")


_PLACES = {
    "x_1": (0, 0), "x_2": (1, 0), "x_3": (2, 0), "x_4": (3, 0), "x_5": (4, 0),
    "y_1": (0, 1), "y_2": (1, 1), "y_3": (2, 1), "y_4": (3, 1), "y_5": (4, 1),
    "div": (0, 2), "i_1": (1.5, 2), "i_2": (2.5, 2), "l_1": (1.5, 3), "l_2": (2.5, 3),
}  # fmt: skip
_BOX_WIDTH, _BOX_HEIGHT, _COLUMN, _ROW = 84, 50, 104, 72
_EDGE = {"x": BLUE, "y": ORANGE, "d": INK, "i": PURPLE, "l": GREEN}
_WIRES = (
    ("x_1", "x_2"), ("x_2", "x_3"), ("x_3", "x_4"), ("x_4", "x_5"), ("y_1", "y_2"), ("y_2", "y_3"), ("y_3", "y_4"),
    ("y_4", "y_5"), ("x_2", "y_3"), ("y_2", "x_3"), ("div", "i_1"), ("i_1", "i_2"), ("l_1", "l_2"),
)  # fmt: skip


def network(genotype: Mapping[str, Mapping[str, float]]) -> str:
    """Draw the wiring of the network, in every node its retained operations and their weights in per cent."""
    parts = [_wire(first, second) for first, second in _WIRES]
    nodes = "".join(_node(name, genotype[name]) for name in NODES)
    parts.append(f'<g fill="#fff" stroke-width="1.6" class="hsds-nodes">{nodes}</g>')
    notes = [
        (4, 14, "under", BLUE),
        (4, _ROW + 14, "over", ORANGE),
        (4, 2 * _ROW + 14, "F = both, then Retinex:", INK),
        (1.5 * _COLUMN + 4, 2 * _ROW + 14, "intensity, 3 times", PURPLE),
        (1.5 * _COLUMN + 4, 3 * _ROW + 14, "light, 3 times", GREEN),
        (3.45 * _COLUMN, 3 * _ROW + 14, "intensity × light → fused", INK),
    ]
    words = [f'<text x="{a}" y="{b}" fill="{colour}">{text}</text>' for a, b, text, colour in notes]
    operations = sum(map(len, genotype.values()))
    said = f"The derived network: {operations} operations in {len(NODES)} nodes."
    look = f"<style>.hsds-nodes text{{fill:{INK};font-size:10.5px}}.hsds-nodes .g{{fill:{GRAY}}}</style>"
    return svg(5 * _COLUMN, 4 * _ROW + 4, said, [look, *parts, *words], font=12, look=f";color:{PALE}")


def _centre(name: str) -> tuple[float, float]:
    column, row = _PLACES[name]
    return column * _COLUMN + _BOX_WIDTH / 2 + 2, row * _ROW + 18 + _BOX_HEIGHT / 2


def _wire(first: str, second: str) -> str:
    (a, b), (c, d) = _centre(first), _centre(second)
    start, end = a + _BOX_WIDTH / 2, c - _BOX_WIDTH / 2
    return f'<path d="M{start:g} {b:g}L{end:g} {d:g}" stroke="{_EDGE[first[0]]}" stroke-width="1.5" fill="none"/>'


def _node(name: str, kept: Mapping[str, float]) -> str:
    x, y = _centre(name)
    left, top, right = x - _BOX_WIDTH / 2, y - _BOX_HEIGHT / 2, x + _BOX_WIDTH / 2 - 4
    lines = sorted(kept.items(), key=lambda item: -item[1])[:3]
    texts = "".join(
        f'<text x="{left + 4:g}" y="{top + 13 + 11.5 * n:g}">{escape(label(op))}'
        f'<tspan class="g" x="{right:g}" text-anchor="end">{100 * weight:.0f}</tspan></text>'
        for n, (op, weight) in enumerate(lines)
    )
    return (
        f'<rect x="{left:g}" y="{top:g}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="4" stroke="{_EDGE[name[0]]}"/>'
        f'{texts}<text class="g" x="{left + 4:g}" y="{top + _BOX_HEIGHT - 4:g}">{name}</text>'
    )
