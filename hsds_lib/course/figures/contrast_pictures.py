"""Figures of the contrast (Eq. 3): what VGG-16 sees, what each layer adds, and the pulls on a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from hsds_lib.course import style
from hsds_lib.course.pictures import place, preview
from hsds_lib.losses.contrast import CONTRAST_LAYERS, EPS
from hsds_lib.losses.features import Features

_LAYER_COLOURS = dict(zip(CONTRAST_LAYERS, (style.BLUE, style.SKY, style.ORANGE), strict=True))


def thumbnail(picture: Tensor, side: int) -> Tensor:
    """Reduce the central square of RGB ``(3, H, W)`` to ``side`` pixels, so that few show a whole scene."""
    square = min(picture.shape[-2:])
    top, left = ((length - square) // 2 for length in picture.shape[-2:])
    return preview(picture[:, top : top + square, left : left + square], longest=side)


def symbols(text: str) -> str:
    """Set ``Γ_R``, ``Γ_N`` and ``Γ_H`` as symbols with an index, for matplotlib."""
    return re.sub(r"Γ_([A-Z])", r"$\\Gamma_\1$", text)


@style.styled
def feature_maps(images: Mapping[str, Tensor], encoded: Mapping[str, Features], *, features: str = "") -> style.Drawn:
    """Show pictures, and for each layer of the contrast the channel that varies most between and within them.

    The rim counts for nothing there: it answers to the zeros that pad a picture.
    """
    columns = len(CONTRAST_LAYERS) + 1
    figure = style.new_figure(len(images) * 2.15 + 0.9, width=style.WIDTH * 0.86)
    grid = figure.subplots(len(images), columns, squeeze=False)
    for row, (name, image) in zip(grid, images.items(), strict=True):
        place(row[0], image, name, colour=style.ROLES.get(name))
    for column, layer in enumerate(CONTRAST_LAYERS, start=1):
        stack = torch.cat([encoded[name][layer] for name in images]).detach()
        rim = stack.shape[-1] // 8
        inner = stack[..., rim : stack.shape[-2] - rim, rim : stack.shape[-1] - rim]
        channel = int(inner.var(dim=(0, 2, 3)).argmax())
        top = inner[:, channel].max().item()
        for row, seen in zip(grid, stack[:, channel], strict=True):
            drawn = row[column].imshow(seen.numpy(), cmap="cividis", vmin=0, vmax=top, interpolation="nearest")
            row[column].set(xticks=[], yticks=[])
        height, width = stack.shape[-2:]
        grid[0, column].set_title(f"{layer}: {stack.shape[1]} channels\nof {height} × {width}; here no. {channel}")
        figure.colorbar(drawn, ax=list(grid[:, column]), location="bottom", shrink=0.8, aspect=30).set_label("response")
    style.entitle(figure, "The same scene, as three layers see it")
    alt = (
        f"Pictures ({', '.join(images)}) and one feature map of {', '.join(CONTRAST_LAYERS)} for each: the deeper the "
        "layer, the fewer and larger the places it tells apart."
    )
    return figure, alt + style.feature_note(figure, features)


@style.styled
def layer_bars(values: Mapping[str, Mapping[str, Sequence[float]]], *, features: str = "") -> style.Drawn:
    """Stack what each layer adds to Gamma, for several pictures and kinds of positive."""
    figure = style.new_figure(3.1, "What each layer adds")
    grid = figure.subplots(1, len(values), squeeze=False, sharex=True, sharey=True)[0]
    said = []
    for axes, (title, table) in zip(grid, values.items(), strict=True):
        start = np.zeros(len(table))
        for layer, part in zip(CONTRAST_LAYERS, np.array(list(table.values())).T, strict=True):
            axes.barh(list(table), part, left=start, color=_LAYER_COLOURS[layer], label=layer, ec="white", lw=0.6)
            start = start + part
        for row, total in enumerate(start):
            axes.text(total, row, f" {total:.2f}", va="center", fontsize=9)
        axes.set(title=symbols(title), xlabel="ratio, smaller is better")
        axes.margins(x=0.12)
        said.append(f"{title}: " + ", ".join(f"{name} {total:.2f}" for name, total in zip(table, start, strict=True)))
    grid[0].invert_yaxis()
    grid[0].set_ylabel("picture")
    grid[0].legend(loc="lower right")
    return figure, f"Stacked bars of {len(CONTRAST_LAYERS)} layers. {'; '.join(said)}." + style.feature_note(
        figure, features
    )


@style.styled
def brightness_walk(
    images: Mapping[str, Tensor],
    brightness: Sequence[float],
    gammas: Sequence[float],
    errors: Sequence[float],
    *,
    negatives: tuple[float, float],
    features: str = "",
) -> style.Drawn:
    """Show pictures of one scene at several brightnesses, the contrast, and the distance in pixels."""
    figure = style.new_figure(5.0, "Ever nearer to the reference, and the contrast grows first")
    parts = figure.subfigures(2, 1, height_ratios=[1, 1.1], squeeze=False)[:, 0]
    for axes, (name, image) in zip(parts[0].subplots(1, len(images)), images.items(), strict=True):
        place(axes, image, name, colour=style.ROLES.get(name.split(",")[0]))
    wide = parts[1].subplots(1, 2)
    shown = [max(value, 1e-2) for value in gammas]  # 0 has no place on a logarithmic axis
    for axes, values, colour in zip(wide, (shown, errors), (style.VERMILION, style.INK), strict=True):
        axes.plot(brightness, values, color=colour, lw=2)
        for factor, role in zip(negatives, ("under", "over"), strict=True):
            axes.axvline(factor, color=style.ROLES[role], lw=1.5, ls="--", label=f"{role}-exposed")
        axes.axvline(1, color=style.ROLES["ref"], lw=1.5, ls="--", label="reference")
        axes.set_xlabel("brightness of the fused picture (1: the reference)")
    wide[0].set(yscale="log", title="contrast", ylabel="$\\Gamma_R$ (0.01 stands for less)")
    wide[1].set(title="distance to the reference in pixels", ylabel="mean square error of Y")
    wide[1].legend(loc="lower left")
    peak = int(np.argmax(gammas))
    alt = (
        f"Four pictures and two curves. The mean square error falls from {errors[0]:.3f} at brightness "
        f"{brightness[0]:g} to the reference, but Gamma_R first climbs from {gammas[0]:.1f} to {gammas[peak]:.1f} at "
        f"brightness {brightness[peak]:.2f}, between or near the two exposures."
    )
    return figure, alt + style.feature_note(figure, features)


@style.styled
def pull_pictures(steps: Mapping[str, Tensor], cosines: Tensor, *, features: str = "") -> style.Drawn:
    """Show in which direction contrasts pull the pixels of a picture, and the cosines between them."""
    count = len(steps)
    figure = style.new_figure(5.4, "What each contrast wants of the same picture")
    parts = figure.subfigures(2, 1, height_ratios=[1, 0.9], squeeze=False)
    upper, lower = parts[0, 0], parts[1, 0]
    grid = upper.subplots(1, count, squeeze=False)[0]
    for axes, (name, step) in zip(grid, steps.items(), strict=True):
        unit = (step / step.square().mean().sqrt()).detach().numpy()
        drawn = axes.imshow(unit, cmap="PuOr_r", vmin=-3, vmax=3, interpolation="nearest")
        axes.set(xticks=[], yticks=[], title=symbols(name))
    upper.colorbar(drawn, ax=list(grid), pad=0.01, shrink=0.8).set_label(
        "darker ◂  ▸ brighter\n(units of its own size)"
    )
    axes = lower.subplots()
    axes.imshow(cosines.numpy(), cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto")
    style.write_cells(axes, cosines, "{:.2f}".format, lambda cosine: abs(cosine) > 0.7)
    axes.set(xticks=range(count), yticks=range(count), xlabel="pull", ylabel="pull", title="cosine between two pulls")
    axes.set_xticklabels(map(symbols, steps))
    axes.set_yticklabels(map(symbols, steps))
    first = next(iter(steps))
    said = ", ".join(f"{name} {float(value):.2f}" for name, value in list(zip(steps, cosines[0], strict=True))[1:])
    alt = f"Maps of where {', '.join(steps)} brighten and darken a picture. Cosines with {first}: {said}."
    return figure, alt + style.feature_note(figure, features)


@dataclass(frozen=True)
class Plane:
    """The plane through a positive and two negatives in the space of one layer's features, for M = 1 of Eq. 3.

    A point is ``(x, y)``: the origin is the middle of the two negatives, x points to the positive at ``reach``, and a
    length is the root of a mean square error. On the plane Gamma of one layer is exact.
    """

    reach: float
    under: tuple[float, float]

    @property
    def over(self) -> tuple[float, float]:
        """Point of the over-exposed image."""
        return (-self.under[0], -self.under[1])

    @property
    def spread(self) -> float:
        """Mean square distance of the negatives from their middle."""
        return self.under[0] ** 2 + self.under[1] ** 2

    @property
    def turning(self) -> float:
        """Where a step to the positive stops to lower Gamma: it does so right of this x, and raises it left of it."""
        return -self.spread / self.reach

    @property
    def highest(self) -> float:
        """The largest value of Gamma, which is at ``(turning, 0)``; far away in every direction it is 1/2."""
        return 0.5 * (1 + self.reach**2 / self.spread)

    def gamma(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Evaluate Eq. 3 for one layer and M = 1 at points of the plane."""
        return ((x - self.reach) ** 2 + y**2) / (2 * (x**2 + y**2 + self.spread) + EPS)


def plane_through(positive: Tensor, under: Tensor, over: Tensor) -> Plane:
    """Lay the plane of Eq. 3 through three features of one layer, of any one shape.

    ``ValueError`` if the positive is the middle of the negatives, so that there is no direction to it.
    """
    middle = (under + over) / 2
    towards, half = positive - middle, under - middle
    reach = towards.square().mean().sqrt().item()
    if reach == 0:
        raise ValueError("the positive is the middle of the two negatives; give another positive")
    along = (half * towards).mean().item() / reach
    across = max(0.0, half.square().mean().item() - along**2) ** 0.5
    return Plane(reach, (along, across))


@style.styled
def contrast_planes(planes: Mapping[str, Plane], *, layer: str, features: str = "") -> style.Drawn:
    """Draw Gamma of one layer as a map over the plane through positive, under- and over-exposed features."""
    figure = style.new_figure(5.5, f"Where the contrast falls, and where it rises ({layer}; arrows: downhill)")
    grid = figure.subplots(1, len(planes), squeeze=False, sharey=True)[0]
    size = 1.25 * max(max(plane.reach, plane.spread**0.5, -plane.turning) for plane in planes.values())
    levels = MaxNLocator(20).tick_values(0, max(plane.highest for plane in planes.values()))
    for axes, (title, plane) in zip(grid, planes.items(), strict=True):
        drawn = _map(axes, plane, size, levels)
        axes.set_title(symbols(title))
        axes.set(xlabel="from the exposures' middle towards the positive (RMS of features)")
        _mark(axes, plane)
    grid[0].set_ylabel("across: the same unit")
    figure.colorbar(drawn, ax=list(grid), pad=0.01, shrink=0.85).set_label(f"$\\Gamma$ of {layer}, smaller is better")
    said = "; ".join(
        f"{title}: positive at {plane.reach:.2f}, highest value {plane.highest:.2f} at {plane.turning:.2f}"
        for title, plane in planes.items()
    )
    alt = (
        "Contour maps with circles as contours: a valley at the positive, a hill behind the middle of the two "
        f"exposures, and a dashed line through its top, beyond which a step to the positive raises Gamma. {said}."
    )
    return figure, alt + style.feature_note(figure, features)


def _map(axes: Axes, plane: Plane, size: float, levels: Sequence[float]) -> QuadContourSet:
    """Fill one map; give what a colour bar needs."""
    x, y = np.meshgrid(np.linspace(-size, size, 161), np.linspace(-size, size, 161))
    values = plane.gamma(x, y)
    drawn = axes.contourf(x, y, values, levels=levels, cmap="cividis")
    axes.contour(x, y, values, levels=levels, colors="white", linewidths=0.3, alpha=0.6)
    dy, dx = np.gradient(values, y[:, 0], x[0])
    every = (slice(8, None, 16), slice(8, None, 16))
    length = np.hypot(dx, dy)[every]
    downhill = (-dx[every] / length, -dy[every] / length)
    axes.quiver(x[every], y[every], *downhill, color="white", alpha=0.75, scale=26, width=0.004, pivot="mid")
    axes.set_aspect("equal")
    return drawn


def _mark(axes: Axes, plane: Plane) -> None:
    axes.axvline(plane.turning, color=style.VERMILION, ls="--", lw=1.8)
    axes.text(
        plane.turning,
        axes.get_ylim()[0],
        "towards P: rises ◂ ▸ falls",
        ha="center",
        va="bottom",
        fontsize=8.5,
        bbox={"fc": "white", "ec": "none", "alpha": 0.85, "pad": 1.5},
    )
    marks = (
        ((plane.reach, 0.0), "P", style.GREEN, "*", 17),
        (plane.under, "under", style.BLUE, "o", 9),
        (plane.over, "over", style.ORANGE, "o", 9),
        ((0.0, 0.0), "middle", style.BLACK, "+", 9),
        ((plane.turning, 0.0), f"top {plane.highest:.2f}", style.VERMILION, "^", 9),
    )
    for point, name, colour, shape, size in marks:
        axes.plot(*point, shape, color=colour, ms=size, mec="black" if shape == "+" else "white", mew=1.2, zorder=4)
        left = name.startswith("top")
        axes.annotate(
            name,
            point,
            xytext=(-8 if left else 8, 6),
            ha="right" if left else "left",
            textcoords="offset points",
            fontsize=9,
            weight="bold",
            zorder=5,
            bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1},
        )
