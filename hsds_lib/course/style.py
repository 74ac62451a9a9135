"""One look for all figures: colours that colour-blind readers can tell apart, text that reads at notebook width."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

Drawn = tuple[Figure, str]
"""A figure and its alternative text, ready for ``show(*drawn)``."""

WIDTH = 10.5
"""Width of a figure in inches: what a notebook shows without shrinking it."""

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
INK, GRAY, PALE = "#222222", "#7A7A7A", "#E6E6E6"

ROLES = {"under": BLUE, "over": ORANGE, "ref": GREEN, "fused": VERMILION, "natural": PURPLE}
"""The same colour for the same kind of image in every figure (the palette of Okabe and Ito)."""

_SETTINGS: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRAY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "hatch.linewidth": 0.5,
    "figure.titlesize": 12.5,
}


PRINTED: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "hsds", "pdf.fonttype": 42}
"""Text stays text: it can be searched, selected and edited. Type 42 fonts are what publishers ask for."""


def styled(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Run a drawing function with the course's settings and no others, and leave the reader's as they were."""

    @wraps(draw)
    def inside(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with context(["default", _SETTINGS]):
            return draw(*args, **kwargs)

    return inside


class CourseFigure(Figure):
    """A figure that comes out the same whatever settings of matplotlib the reader has: some of them matter late."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save with matplotlib's own settings, and text in vectors as text."""
        with context(["default", PRINTED]):
            super().savefig(fname, **options)


def new_figure(height: float, title: str = "", *, width: float = WIDTH) -> Figure:
    """Make a figure, sizes in inches, that no global list of figures knows of."""
    figure = CourseFigure(figsize=(width, height), layout="constrained", facecolor="white")
    if title:
        entitle(figure, title)
    return figure


def entitle(figure: Figure, text: str) -> None:
    """Put the title of the whole figure at its left edge."""
    figure.suptitle(text, x=0.005, ha="left", weight="bold")


def feature_note(figure: Figure, features: str) -> str:
    """Say under a figure which VGG-16 features (``VGG16.label``) it depends on: random ones aloud, others quietly.

    Returns the sentence to add to the alternative text; nothing is written for an empty label.
    """
    if not features:
        return ""
    loud = "random" in features
    figure.supxlabel(
        f"▲ Depends on {features}" if loud else features,
        x=0.005,
        ha="left",
        fontsize=10 if loud else 8,
        color=VERMILION if loud else GRAY,
        weight="bold" if loud else "normal",
    )
    return f" Depends on {features}."


def write_cells(
    axes: Axes, table: Any, text: Callable[[float], str], on_dark: Callable[[float], bool], *, size: float | None = None
) -> None:
    """Write each number of a table into its cell of a map, in white where the cell is dark."""
    for row, line in enumerate(table):
        for column, value in enumerate(map(float, line)):
            ink = "white" if on_dark(value) else INK
            axes.text(column, row, text(value), ha="center", va="center", color=ink, fontsize=size)


def mark_epochs(axes: Axes, epochs: list[int]) -> None:
    """Shade every second epoch; ``epochs`` holds the epoch of every step, and steps count from 1."""
    starts = [step for step, epoch in enumerate(epochs, start=1) if step == 1 or epoch != epochs[step - 2]]
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(epochs) + 1], strict=True)):
        if number % 2:
            axes.axvspan(start - 0.5, end - 0.5, color=PALE, alpha=0.6, lw=0, zorder=0)
    axes.set_xlim(0.5, len(epochs) + 0.5)


def per_cent(share: float) -> str:
    """Write a share in words that suit its size: ``12 %``, ``0.4 %``."""
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.1f} %"
