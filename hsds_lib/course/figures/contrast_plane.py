"""The map of the contrast (Eq. 3) in feature space: where Gamma of one layer falls and rises, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from hsds_lib.course import style
from hsds_lib.course.figures.contrast_pictures import symbols
from hsds_lib.losses.contrast import EPS


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
def contrast_planes(planes: Mapping[str, Plane], *, layer: str, features: str = "") -> tuple[Figure, str]:
    """Draw Gamma of one layer as a map over the plane through positive, under- and over-exposed features."""
    figure = style.new_figure(5.5)
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
    style.entitle(figure, f"Where the contrast falls, and where it rises ({layer}; arrows: downhill)")
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
