"""Figures of an evaluation: every score as a dot, by method and by scene, and the intervals of the differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hsds_lib.course.style import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    VERMILION,
    headline,
    new_figure,
    styled,
)
from hsds_lib.evaluation.statistics import Difference, MethodScores

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_COLOURS = (VERMILION, BLUE, GREEN, ORANGE, PURPLE, SKY, BLACK)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")


def as_written(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Run a drawing function so that a dollar sign in the name of a method or scene is one, and starts no formula.

    Args:
        draw: what draws.

    Returns:
        The same, with another setting of matplotlib inside.

    Example:
        >>> from matplotlib import rcParams
        >>> as_written(lambda: rcParams["text.parse_math"])(), rcParams["text.parse_math"]
        (False, True)
    """

    @wraps(draw)
    def inside(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with rc_context({"text.parse_math": False}):
            return draw(*args, **kwargs)

    return inside


class Look(NamedTuple):
    """How the dots of a method are drawn; no two methods have the same marker and colour."""

    colour: str
    marker: str
    hollow: bool

    @property
    def dots(self) -> dict[str, object]:
        """Arguments for matplotlib."""
        return {"marker": self.marker, "mec": self.colour, "mfc": "white" if self.hollow else self.colour}


def looks(methods: Sequence[str]) -> dict[str, Look]:
    """Give every method a colour that colour-blind readers can tell apart, and a marker; recorded ones are hollow.

    Args:
        methods: their names.

    Returns:
        A look by method.

    Example:
        >>> found = looks([f"method {number}" for number in range(12)])
        >>> len({(look.colour, look.marker) for look in found.values()})
        12
    """
    return {
        name: Look(_COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)], name.endswith("(recorded)"))
        for number, name in enumerate(methods)
    }


@styled
@as_written
def scores_by_method(scores: MethodScores, metrics: Sequence[str], *, columns: int = 3) -> tuple[Figure, str]:
    """Draw a strip of dots for every method, one dot a scene, a panel for each metric.

    Args:
        scores: by method, scene and metric.
        metrics: the panels; those without values are left empty.
        columns: panels in a row.

    Returns:
        The figure and its alternative text, which gives the means.

    Example:
        >>> scores = {"a": {"hall": {"EN": 7.0}, "roof": {"EN": 6.0}}}
        >>> scores_by_method(scores, ["EN"])[1]
        'Scores of every scene by method, a panel for each metric. Means: EN: a 6.500.'
    """
    columns = min(columns, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = new_figure(0.5 + rows * (0.75 + 0.27 * len(scores)))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    said = []
    for number, axes in enumerate(grid.flat):
        if number >= len(metrics):
            axes.axis("off")
            continue
        said.append(_strips(axes, scores, metrics[number]))
    headline(figure, "Every scene is a dot; the bar is the mean; right is better")
    return figure, f"Scores of every scene by method, a panel for each metric. Means: {'; '.join(said)}."


@styled
@as_written
def scores_by_scene(scores: MethodScores, metric: str, *, order: str) -> tuple[Figure, str]:
    """Draw one metric scene by scene, a marker for each method.

    Args:
        scores: by method, scene and metric.
        metric: which.
        order: the method by whose scores the scenes are ordered.

    Returns:
        The figure and its alternative text, which says who leads how often.

    Example:
        >>> scores = {"a": {"hall": {"EN": 7.0}}, "b": {"hall": {"EN": 6.0}}}
        >>> scores_by_scene(scores, "EN", order="a")[1]
        'EN of every scene, a marker for each method. Highest most often: a in 1 of 1 scenes.'
    """
    by_scene = _values(scores, metric)
    known = [method for method, column in by_scene.items() if column]
    scenes = sorted(by_scene[known[0]], key=lambda scene: by_scene.get(order, {}).get(scene, 0.0))
    figure = new_figure(max(2.2, 1.0 + 0.26 * len(scenes)))
    axes = figure.subplots()
    _scene_lines(axes, by_scene, scenes)
    for method, look in looks(list(scores)).items():
        points = [(by_scene[method][scene], row) for row, scene in enumerate(scenes) if scene in by_scene[method]]
        if points:
            label = f" {method}" if method.startswith("_") else method  # matplotlib hides labels that begin so
            axes.plot(*zip(*points, strict=True), ls="", ms=7, mew=1.4, label=label, **look.dots)  # type: ignore[arg-type]
    axes.set_yticks(range(len(scenes)), scenes)
    axes.set(ylim=(-0.6, len(scenes) - 0.4), xlabel=f"{metric} (right is better)")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside right upper")
    headline(figure, f"{metric}, scene by scene")
    firsts = [max(known, key=lambda method: by_scene[method].get(scene, -np.inf)) for scene in scenes]
    leader = max(known, key=firsts.count)
    share = f"{leader} in {firsts.count(leader)} of {len(scenes)} scenes"
    return figure, f"{metric} of every scene, a marker for each method. Highest most often: {share}."


@styled
@as_written
def interval_plot(differences: Sequence[Difference], order: Sequence[str], *, columns: int = 3) -> tuple[Figure, str]:
    """Draw the mean difference of every method from the baseline with its interval, a panel for each metric.

    Args:
        differences: of one baseline, at least one.
        order: all methods, the baseline included, so that each looks as in the other figures.
        columns: panels in a row.

    Returns:
        The figure and its alternative text, which names the clear differences.

    Example:
        >>> one = Difference("b", "a", "EN", 0.5, 0.25, 0.75, scenes=12, won=11, lost=1)
        >>> interval_plot([one], ["a", "b"])[1]
        'Mean differences from a with 95 % intervals. Intervals without zero: b in EN (+).'
    """
    metrics = list(dict.fromkeys(one.metric for one in differences))
    methods = list(dict.fromkeys(one.method for one in differences))
    columns = min(columns, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = new_figure(0.5 + rows * (0.8 + 0.27 * len(methods)))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    look = looks(order)
    for number, axes in enumerate(grid.flat):
        if number >= len(metrics):
            axes.axis("off")
            continue
        axes.axvline(0, color=GRAY, lw=1)
        for one in differences:
            if one.metric == metrics[number]:
                _interval(axes, one, methods.index(one.method), look[one.method])
        axes.set_title(metrics[number])
        _name_rows(axes, methods)
    baseline = differences[0].baseline
    headline(figure, f"Difference from {baseline}: mean and 95 % interval; right of the line is better")
    clear = [f"{one.method} in {one.metric} ({'+' if one.mean > 0 else '-'})" for one in differences if one.clear]
    said = ", ".join(clear) or "none"
    return figure, f"Mean differences from {baseline} with 95 % intervals. Intervals without zero: {said}."


def _strips(axes: Axes, scores: MethodScores, metric: str) -> str:
    said = []
    columns = _values(scores, metric)
    for row, (method, look) in enumerate(looks(list(scores)).items()):
        values = list(columns[method].values())
        if not values:
            axes.text(0.02, row, "no values", transform=axes.get_yaxis_transform(), va="center", color=GRAY, fontsize=8)
            continue
        # A fixed pattern, so that equal scores stay apart and the figure is the same every time.
        places = row + 0.22 * np.sin(2.4 * np.arange(len(values)))
        axes.plot(values, places, ls="", ms=4.5, mew=0.9, alpha=0.65, **look.dots)  # type: ignore[arg-type]
        axes.plot([np.mean(values)] * 2, [row - 0.4, row + 0.4], color=INK, lw=2.2, solid_capstyle="butt")
        said.append(f"{method} {np.mean(values):.3f}")
    axes.set_title(metric)
    _name_rows(axes, list(scores))
    return f"{metric}: {', '.join(said)}"


def _name_rows(axes: Axes, methods: Sequence[str]) -> None:
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=PALE, lw=0.8)
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=5)


def _scene_lines(axes: Axes, by_scene: Mapping[str, Mapping[str, float]], scenes: Sequence[str]) -> None:
    for row, scene in enumerate(scenes):
        values = [column[scene] for column in by_scene.values() if scene in column]
        axes.plot([min(values), max(values)], [row, row], color=PALE, lw=3, zorder=0)


def _interval(axes: Axes, one: Difference, row: int, look: Look) -> None:
    if one.low is not None and one.high is not None:
        axes.plot([one.low, one.high], [row, row], color=look.colour, lw=2.2, solid_capstyle="butt")
    axes.plot(one.mean, row, ls="", ms=7, mew=1.4, **look.dots)  # type: ignore[arg-type]


def _values(scores: MethodScores, metric: str) -> dict[str, dict[str, float]]:
    return {
        method: {scene: value for scene, row in rows.items() if (value := row.get(metric)) is not None}
        for method, rows in scores.items()
    }
