"""Figures of the losses: the picture each of them wants, how their gradients agree, and what a mixture wants."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from hsds_lib.course import style
from hsds_lib.course.image_descent import Descent
from hsds_lib.losses.space import term_kind

_COLUMNS = 6  # of the contact sheet
_LINES = (
    (style.BLUE, "-"),
    (style.VERMILION, "--"),
    (style.GREEN, "-."),
    (style.ORANGE, ":"),
    (style.PURPLE, "-"),
    (style.SKY, "--"),
)
_NUMBER: dict[str, Any] = {  # readable on top of a line
    "va": "center",
    "fontsize": 8,
    "color": style.GRAY,
    "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1},
}
_Weights = tuple[float, float, float]


@style.styled
def loss_sheet(descents: Mapping[str, Descent], inputs: Mapping[str, Tensor], *, features: str = "") -> style.Drawn:
    """Show the pictures that single losses lead to, and the pictures they compare with and began from."""
    first = next(iter(descents.values())).picture
    rows = math.ceil((len(descents) + 1 + len(inputs)) / _COLUMNS)
    figure = style.new_figure(0.5 + rows * (style.WIDTH / _COLUMNS * first.shape[-2] / first.shape[-1] + 0.42))
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).flatten()
    for axes in grid:
        axes.axis("off")
    for axes, (name, descent) in zip(grid, descents.items(), strict=False):
        _gray(axes, descent.picture, f"{name}\n{_fall(descent)}")
    for axes, (name, picture) in zip(grid[len(grid) - len(inputs) :], inputs.items(), strict=True):
        _gray(axes, picture, f"{name}\n", colour=style.ROLES.get(name, style.BLACK))
    note = grid[len(grid) - len(inputs) - 1]
    note.text(0.95, 0.5, "what they\ncompare with,\nand where\nall began  →", ha="right", va="center", color=style.GRAY)
    steps = len(next(iter(descents.values())).losses) - 1
    title = f"What each loss wants: one picture, optimised for {steps} steps under each loss alone"
    style.entitle(figure, title)
    said = "; ".join(f"{name} {_fall(descent)}" for name, descent in descents.items())
    alt = f"{title}. Loss before and after: {said}. Last row: {', '.join(inputs)}."
    return figure, alt + style.feature_note(figure, features)


def _fall(descent: Descent) -> str:
    before, after = (f"{value:.3f}".replace("-", "−") for value in (descent.losses[0], descent.losses[-1]))
    return f"{before} → {after}"


def _gray(axes: Axes, picture: Tensor, title: str, *, colour: str | None = None) -> None:
    axes.axis("on")
    axes.imshow(picture[0, 0].detach().cpu().numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)
    for spine in axes.spines.values():
        spine.set(visible=True, color=colour or style.PALE, linewidth=2.2 if colour else 0.8)


@style.styled
def cosine_map(cosines: Tensor, names: Sequence[str], *, features: str = "") -> style.Drawn:
    """Draw which losses pull a picture the same way, and which pull against each other."""
    table = cosines.detach().cpu().double().numpy()
    size = len(names)
    figure = style.new_figure(1.6 + 0.4 * size)
    axes = figure.add_subplot()
    image = axes.imshow(table, cmap="PuOr", vmin=-1, vmax=1)
    style.write_cells(axes, table, _cosine, lambda value: abs(value) > 0.6, size=7.5)
    for border in (place - 0.5 for place in range(1, size) if term_kind(names[place]) != term_kind(names[place - 1])):
        axes.axhline(border, color="white", lw=2)
        axes.axvline(border, color="white", lw=2)
    axes.set_xticks(range(size), names, rotation=90)
    axes.set_yticks(range(size), names)
    axes.set(xlabel="loss", ylabel="loss")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.set_ticklabels(["−1: they fight", "−0.5", "0: unrelated", "0.5", "1: they agree"])
    bar.set_label("cosine of the two gradients")
    style.entitle(figure, "Do the losses pull the same way? Gradients with respect to one fused picture")
    alt = f"Table of the cosines between the gradients of {size} losses. {_extremes(table, names)}"
    return figure, alt + style.feature_note(figure, features)


def _cosine(value: float) -> str:
    return f"{value:.1f}".replace("-", "−") if abs(value) >= 0.05 else "·"


def _extremes(table: np.ndarray, names: Sequence[str]) -> str:
    if len(names) < 2:
        return "There is one loss only."
    rows, columns = np.triu_indices(len(names), k=1)
    pairs = table[rows, columns]

    def pair(place: int) -> str:
        return f"{names[rows[place]]} and {names[columns[place]]} ({pairs[place]:.2f})"

    return f"Most opposed: {pair(int(pairs.argmin()))}; most alike: {pair(int(pairs.argmax()))}."


@style.styled
def pull_bars(norms: Mapping[str, float], *, features: str = "") -> style.Drawn:
    """Draw how hard each loss pulls at a picture when all have the same weight."""
    total = sum(norms.values())
    figure = style.new_figure(1.1 + 0.23 * len(norms), "The same weight is not the same pull")
    axes = figure.add_subplot()
    widest = 100 * max(norms.values()) / total
    for row, (name, norm) in enumerate(norms.items()):
        hatch: dict[str, Any] = {}
        if term_kind(name) == "perceptual" and "random" in features:
            hatch = {"hatch": "////", "edgecolor": "white"}
        axes.barh(row, 100 * norm / total, color=style.BLUE, height=0.72, **hatch)
        axes.text(100 * norm / total + 0.01 * widest, row, f"{norm:.4f}", **_NUMBER)
    axes.axvline(100 / len(norms), color=style.VERMILION, lw=1.6, ls="--")
    axes.text(100 / len(norms), -0.75, " weight of each", color=style.VERMILION, fontsize=9, va="bottom")
    axes.set_yticks(range(len(norms)), list(norms))
    axes.set(
        xlabel="share of the sum of all gradient norms (%); the gray number is the norm",
        ylabel="loss",
        ylim=(len(norms) - 0.4, -1.6),
        xlim=(0, 1.1 * widest),
    )
    strongest, weakest = max(norms, key=norms.__getitem__), min(norms, key=norms.__getitem__)
    alt = (
        f"Bars of the gradient norms of {len(norms)} losses as shares of their sum. Strongest: {strongest} "
        f"({norms[strongest]:.4f}); weakest: {weakest} ({norms[weakest]:.4f})."
    )
    return figure, alt + style.feature_note(figure, features)


@style.styled
def beta_simplex(pictures: Mapping[_Weights, Tensor], names: Sequence[str], *, features: str = "") -> style.Drawn:
    """Show the pictures optimised for mixtures of three losses, each at the place of its weights.

    ``ValueError`` unless there are three names.
    """
    if len(names) != 3:
        raise ValueError(f"a triangle has three corners; given: {', '.join(names)}")
    height, side = 8.6, 1.45
    corners = np.array([(1.6, 1.0), (style.WIDTH - 1.6, 1.0), (style.WIDTH / 2, height - 1.05)])
    figure = style.new_figure(height)
    axes = figure.add_subplot()
    axes.axis("off")
    for start, end in ((0, 1), (1, 2), (2, 0)):
        axes.plot(*corners[[start, end]].T, color=style.GRAY, lw=1.2, zorder=1)
    for weights, picture in pictures.items():
        x, y = np.array(weights) @ corners
        extent = (x - side / 2, x + side / 2, y - side / 2, y + side / 2)
        axes.imshow(picture[0, 0].detach().cpu().numpy(), cmap="gray", vmin=0, vmax=1, extent=extent, zorder=2)
        frame = style.VERMILION if max(weights) == 1 else style.GRAY
        axes.add_patch(Rectangle((extent[0], extent[2]), side, side, fill=False, edgecolor=frame, lw=1.6, zorder=3))
        label = " : ".join(f"{100 * weight:.0f}" for weight in weights)
        axes.text(x, extent[2] - 0.06, label, ha="center", va="top", fontsize=9, zorder=4)
    for name, (x, y), up in zip(names, corners, (-1, -1, 1), strict=True):
        place = y + up * (side / 2 + (0.42 if up < 0 else 0.14))
        axes.text(x, place, name, ha="center", va="center", fontsize=11, weight="bold", color=style.VERMILION)
    axes.set(xlim=(0, style.WIDTH), ylim=(-0.4, height - 0.1), aspect="equal")
    style.entitle(figure, f"One picture for every mixture of three losses (weights in %: {' : '.join(names)})")
    alt = (
        f"A triangle with the losses {', '.join(names)} at its corners and {len(pictures)} pictures, each optimised "
        "for the weights of its place."
    )
    return figure, alt + style.feature_note(figure, features)


@style.styled
def response_curves(
    changes: Sequence[float], values: Mapping[str, Sequence[float]], *, change: str, title: str, features: str = ""
) -> style.Drawn:
    """Draw what losses say about a picture that is changed more and more."""
    figure = style.new_figure(3.3, title)
    axes = figure.add_subplot()
    shown: dict[tuple[float, ...], list[str]] = {}  # curves that cannot be told apart share a line
    for name, curve in values.items():
        shown.setdefault(tuple(round(value, 3) + 0.0 for value in curve), []).append(name)
    for names, (colour, dashes) in zip(shown.values(), _LINES, strict=False):
        axes.plot(changes, values[names[0]], dashes, color=colour, lw=2, label=",\n".join(names))
    axes.grid(color=style.PALE, lw=0.8)
    axes.set(xlabel=change, ylabel="loss (no unit)", xlim=(changes[0], changes[-1]))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    said = "; ".join(f"{name} from {min(curve):.3f} to {max(curve):.3f}" for name, curve in values.items())
    return figure, f"{title}. Curves over {change}: {said}." + style.feature_note(figure, features)
