"""Drawings of a structure in search: the weights of all operations, and the network that they retain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from hsds_lib.course.explorers.media import SHADES, svg
from hsds_lib.course.style import BLUE, GRAY, GREEN, INK, ORANGE, PALE, PURPLE
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES

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
