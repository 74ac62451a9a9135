"""A drawing of the network that a search found: its nodes in their wiring, and what each retains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from torch import Tensor

from hsds_lib.course import style
from hsds_lib.course.pictures import luma
from hsds_lib.course.plots import operation_label
from hsds_lib.network.fusion_net import RETINEX_ITERATIONS, node_channels
from hsds_lib.network.genotype import Genotype
from hsds_lib.network.operations import kernel

Point = tuple[float, float]

_HEIGHT = 6.9
_TOP, _BOTTOM, _INTENSITY, _LIGHT = 5.95, 4.2, 2.15, 0.75  # rows, in inches from below
_COLUMNS = {1: 1.75, 2: 3.3, 3: 4.95, 4: 6.5, 5: 8.2}
_BOX = (1.22, 1.06)
_GLYPH, _REACH = 0.26, 13  # side of a footprint in inches, and in pixels: a 7 x 7 kernel with dilation 2
_SHOWN = 3  # operations drawn in a node; of more, the weakest are counted only

_PLACES: dict[str, Point] = {
    **{f"x_{level}": (x, _TOP) for level, x in _COLUMNS.items()},
    **{f"y_{level}": (x, _BOTTOM) for level, x in _COLUMNS.items()},
    **{"div": (1.75, _INTENSITY), "i_1": (3.55, _INTENSITY), "i_2": (5.1, _INTENSITY)},
    **{"l_1": (3.55, _LIGHT), "l_2": (5.1, _LIGHT)},
}


@dataclass(frozen=True)
class _Pen:
    """Draws wires and signs on one set of axes; all positions are in inches from the lower left corner."""

    axes: Axes

    def wire(self, *points: Point, colour: str = style.INK, head: bool = True) -> None:
        """Draw a broken line; the last piece ends in an arrow."""
        if len(points) > 2:
            xs, ys = zip(*points[:-1], strict=True)
            self.axes.plot(xs, ys, color=colour, lw=1.3, solid_capstyle="round", zorder=1)
        look = "-|>,head_length=4,head_width=2.2" if head else "-"
        arrow = FancyArrowPatch(
            points[-2], points[-1], arrowstyle=look, color=colour, lw=1.3, shrinkA=0, shrinkB=0, zorder=1
        )
        self.axes.add_patch(arrow)

    def sign(self, place: Point, text: str, *, colour: str = style.INK) -> None:
        """Draw a small circle with the sign of an arithmetic operation."""
        self.axes.plot(*place, "o", ms=14, mfc="white", mec=colour, mew=1.3, zorder=3)
        self.axes.text(*place, text, ha="center", va="center_baseline", fontsize=11, color=colour, zorder=4)

    def say(self, place: Point, text: str, *, size: float = 8, colour: str = style.GRAY, ha: str = "center") -> None:
        """Write a remark."""
        self.axes.text(*place, text, ha=ha, va="center", fontsize=size, color=colour, zorder=5)


@style.styled
def genotype_drawing(
    genotype: Genotype, pictures: Mapping[str, Tensor] | None = None, *, features: str = ""
) -> style.Drawn:
    """Draw the derived network with the retained operations of every node, their footprints and weights.

    Luma of the pictures named ``under``, ``over`` and ``fused`` is drawn small at the inputs and the output.
    """
    figure = style.new_figure(_HEIGHT + 0.7)
    axes = figure.add_subplot()
    axes.set(xlim=(0, style.WIDTH), ylim=(0, _HEIGHT), aspect="equal")
    axes.axis("off")
    pen = _Pen(axes)
    _attention_wires(pen)
    _retinex_wires(pen)
    channels = node_channels(genotype.width)
    for name, place in _PLACES.items():
        _node(pen, place, name, channels[name], genotype.nodes[name])
    pictures = pictures or {}
    for role, place in {"under": (0.5, _TOP), "over": (0.5, _BOTTOM), "fused": (9.85, 1.45)}.items():
        _terminal(pen, place, role, pictures.get(role))
    _legend(pen)
    retained = sum(len(operations) for operations in genotype.nodes.values())
    style.entitle(figure, f"The network that was found: {retained} operations in {len(genotype.nodes)} nodes")
    said = "; ".join(
        f"{name}: {', '.join(f'{operation_label(key)} {weight:.2f}' for key, weight in operations.items())}"
        for name, operations in genotype.nodes.items()
    )
    alt = f"Wiring of the derived network with the retained operations and weights of each node. {said}."
    return figure, alt + style.feature_note(figure, features)


def _attention_wires(pen: _Pen) -> None:
    """Draw the feature attention: two branches that guide each other, and the sum of what they attend to."""
    pen.axes.add_patch(Rectangle((4.24, 3.5), 1.42, 3.15, facecolor="#F3F3F3", lw=0, zorder=0))
    pen.say((4.95, (_TOP + _BOTTOM) / 2), "half resolution")
    for row, colour, up in ((_TOP, style.ROLES["under"], 1), (_BOTTOM, style.ROLES["over"], -1)):
        for start, end in ((0.9, 1.14), (2.36, 2.69), (3.91, 4.34), (5.56, 5.89), (7.11, 7.59), (8.81, 9.1)):
            pen.wire((start, row), (end, row), colour=colour)
        for start, end, height in ((_COLUMNS[2], 7.34, 0.68), (_COLUMNS[1], 9.22, 0.86)):
            # Skips start and end clear of the boxes.
            above = row + up * height
            pen.wire((start, row + up * 0.53), (start, above), (end, above), (end, row + up * 0.13), colour=colour)
        pen.sign((7.34, row), "+", colour=colour)
        pen.sign((9.22, row), "×", colour=colour)
        pen.wire((9.35, row), (9.85, row), (9.85, 5.075 + up * 0.14), colour=colour)
        pen.say((4.12, row + up * 0.2), "pool", size=7.5)
        pen.say((5.73, row + up * 0.2), "×2", size=7.5)
    low, high = _BOTTOM + 0.42, _TOP - 0.42
    pen.wire((3.91, high), (4.34, low), colour=style.ROLES["under"])
    pen.wire((3.91, low), (4.34, high), colour=style.ROLES["over"])
    pen.say((3.8, 5.26), "$G_{xy}$", size=10, colour=style.ROLES["under"])
    pen.say((3.8, 4.9), "$G_{yx}$", size=10, colour=style.ROLES["over"])
    pen.sign((9.85, 5.075), "+")
    pen.say((10.14, 5.25), "$F$", size=11, colour=style.INK)


def _retinex_wires(pen: _Pen) -> None:
    """Draw the Retinex part: F goes to an intensity and a light path, which are iterated and multiplied."""
    lane, middle = 3.12, (_INTENSITY + _LIGHT) / 2
    pen.wire((9.98, 5.075), (10.3, 5.075), (10.3, lane), (0.5, lane), (0.5, _INTENSITY), (1.14, _INTENSITY))
    pen.wire((0.5, _INTENSITY), (0.5, _LIGHT), (1.62, _LIGHT))
    pen.say((0.36, _INTENSITY + 0.35), "$F$", size=11, colour=style.INK)
    frame = FancyBboxPatch(
        (2.72, 0.06),
        4.1,
        2.84,
        boxstyle="round,pad=0,rounding_size=0.1",
        facecolor="none",
        edgecolor=style.GRAY,
        ls="--",
    )
    pen.axes.add_patch(frame)
    pen.say((6.74, middle), f"{RETINEX_ITERATIONS} times,\nsame weights", ha="right")
    pen.wire((1.75, _INTENSITY - 0.53), (1.75, _LIGHT + 0.14))
    pen.say((1.9, middle - 0.02), "σ", size=9)
    pen.sign((1.75, _LIGHT), "÷")
    for row, start, sign, up in ((_INTENSITY, 2.36, "+", 1), (_LIGHT, 1.88, "÷", -1)):
        pen.wire((start, row), (2.94, row))
        pen.wire((4.16, row), (4.49, row))
        pen.wire((5.71, row), (6.22, row))
        above = row + up * 0.62
        pen.wire((2.83, row), (2.83, above), (6.35, above), (6.35, row + up * 0.13))
        pen.sign((6.35, row), sign)
        pen.wire((6.48, row), (7.15, row), (7.15, middle + up * 0.14))
    pen.say((5.92, _LIGHT + 0.13), "σ", size=9)
    pen.sign((7.15, middle), "×")
    pen.wire((7.28, middle), (7.72, middle))
    pen.axes.add_patch(_box((8.22, middle), (0.96, 0.5)))
    pen.say((8.22, middle), "3×3 conv\ntanh", colour=style.INK)
    pen.wire((8.7, middle), (9.4, middle), colour=style.ROLES["fused"])


def _box(place: Point, size: Point) -> FancyBboxPatch:
    corner = (place[0] - size[0] / 2, place[1] - size[1] / 2)
    look = "round,pad=0,rounding_size=0.06"
    return FancyBboxPatch(corner, *size, boxstyle=look, facecolor="white", edgecolor=style.INK, lw=1.1, zorder=2)


def _node(pen: _Pen, place: Point, name: str, channels: tuple[int, int], operations: Mapping[str, float]) -> None:
    """Draw one node: its name, its channels, and a line for each operation."""
    pen.axes.add_patch(_box(place, _BOX))
    left, top = place[0] - _BOX[0] / 2, place[1] + _BOX[1] / 2
    label = f"${name}$" if "_" in name else name
    pen.axes.text(left + 0.07, top - 0.13, label, va="center", fontsize=10.5, zorder=5)
    pen.say((left + _BOX[0] - 0.06, top - 0.13), f"{channels[0]} → {channels[1]}", size=7.5, ha="right")
    ranked = sorted(operations.items(), key=lambda item: -item[1])
    shown = ranked[:_SHOWN]
    for line, (primitive, weight) in enumerate(shown):
        y = top - 0.26 - (line + 0.5) * (_BOX[1] - 0.3) / max(2, len(shown))
        _operation(pen, (left + 0.06, y), primitive, weight, side=_GLYPH if len(shown) < 3 else 0.22)
    if len(ranked) > _SHOWN:
        pen.say((place[0], top - _BOX[1] - 0.09), f"and {len(ranked) - _SHOWN} more", size=7.5)


def _operation(pen: _Pen, place: Point, primitive: str, weight: float, *, side: float) -> None:
    """Draw one operation: footprint, name and a bar as long as its weight."""
    left, y = place
    _footprint(pen.axes, (left, y - side / 2), primitive, side)
    pen.say((left + 0.32, y + 0.045), operation_label(primitive), size=8, colour=style.INK, ha="left")
    pen.say((left + 1.1, y + 0.045), f"{weight:.2f}", size=7.5, colour=style.INK, ha="right")
    bar = (left + 0.33, y - 0.1)
    pen.axes.add_patch(Rectangle(bar, 0.77, 0.045, facecolor=style.PALE, lw=0, zorder=4))
    pen.axes.add_patch(Rectangle(bar, 0.77 * weight, 0.045, facecolor=_colour(primitive), lw=0, zorder=5))


def _footprint(axes: Axes, corner: Point, primitive: str, side: float) -> None:
    """Draw the pixels a kernel reads, on a field as large as the widest kernel."""
    height, width, dilation = kernel(primitive)
    pixel, middle = side / _REACH, _REACH // 2
    axes.add_patch(Rectangle(corner, side, side, facecolor="#EFEFEF", lw=0, zorder=4))
    taps = [
        Rectangle((corner[0] + (middle + x) * pixel, corner[1] + (middle + y) * pixel), pixel, pixel)
        for x in range(-(width // 2) * dilation, width // 2 * dilation + 1, dilation)
        for y in range(-(height // 2) * dilation, height // 2 * dilation + 1, dilation)
    ]
    axes.add_collection(PatchCollection(taps, facecolor=_colour(primitive), lw=0, zorder=5))


def _colour(primitive: str) -> str:
    height, width, dilation = kernel(primitive)
    return style.VERMILION if dilation > 1 else style.BLUE if height == width else style.GREEN


def _terminal(pen: _Pen, place: Point, role: str, picture: Tensor | None) -> None:
    """Draw an input or the output: a small picture, or a box with its name."""
    side, (x, y) = 0.8, place
    if picture is None:
        pen.axes.add_patch(_box(place, (side, 0.42)))
        pen.say(place, f"{role} Y", colour=style.INK, size=9)
        return
    short = min(picture.shape[-2:])
    top, left = ((length - short) // 2 for length in picture.shape[-2:])
    square = luma(picture.detach().cpu())[top : top + short, left : left + short]
    extent = (x - side / 2, x + side / 2, y - side / 2, y + side / 2)
    pen.axes.imshow(square.numpy(), cmap="gray", vmin=0, vmax=1, extent=extent, zorder=3)
    corner = (x - side / 2, y - side / 2)
    pen.axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=style.ROLES[role], lw=2.2, zorder=4))
    pen.say((x, y - side / 2 - 0.12), f"{role} Y", size=9, colour=style.INK)
    pen.axes.set(xlim=(0, style.WIDTH), ylim=(0, _HEIGHT))  # imshow changes them


def _legend(pen: _Pen) -> None:
    """Explain footprints and signs in the free corner at the lower right."""
    lines = (("conv_5x5", "square kernel"), ("conv_1x5", "one row or column"), ("dil_5x5", "dilation 2 (d2)"))
    for line, (primitive, text) in enumerate(lines):
        y = 0.62 - 0.27 * line
        _footprint(pen.axes, (7.3, y - 0.11), primitive, 0.22)
        pen.say((7.6, y), text, ha="left")
    pen.say((8.95, 0.62), "G: guide, 3×3 with stride 2", ha="left")
    pen.say((8.95, 0.35), "σ: sigmoid", ha="left")
    pen.say((8.95, 0.08), "n → m: channels", ha="left")
