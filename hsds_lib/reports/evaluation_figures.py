"""Figures of an evaluation: every score as a dot, intervals of the differences, and pictures with parts enlarged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from scipy.ndimage import uniform_filter

from hsds_lib.course import style
from hsds_lib.evaluation.benchmark import Evaluation
from hsds_lib.evaluation.picture import rgb2gray, to_pixels
from hsds_lib.evaluation.statistics import Difference, MethodScores
from hsds_lib.images.folders import SceneFiles
from hsds_lib.images.io import read_rgb

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_COLOURS = (style.VERMILION, style.BLUE, style.GREEN, style.ORANGE, style.PURPLE, style.SKY, style.BLACK)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
_SHARE, _ASPECT, _LEAST = 0.24, 4 / 3, 16  # of a crop: height in shorter sides of the picture, shape, least pixels
_CROP_LOOKS = ((style.VERMILION, "-"), (style.SKY, "--"))
_CELL, _GAP, _TEXT = 2.35, 0.1, 0.42  # inches
_MOST = 5  # pictures in a row
_LONGEST = 700  # pixels of a picture in the figure


def _drawn(draw: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Draw with the course's settings, and with a dollar sign in the name of a method or scene as one, no formula."""

    @wraps(draw)
    def inside(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with rc_context({"text.parse_math": False}):
            return draw(*args, **kwargs)

    return style.styled(inside)


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
    """Give every method a colour that colour-blind readers can tell apart, and a marker; recorded ones are hollow."""
    return {
        name: Look(_COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)], name.endswith("(recorded)"))
        for number, name in enumerate(methods)
    }


@_drawn
def scores_by_method(scores: MethodScores, metrics: Sequence[str]) -> tuple[Figure, str]:
    """Draw a strip of dots for every method, one dot a scene, a panel a metric; the alternative text has the means."""
    figure, panels = _panels(metrics, 0.75 + 0.27 * len(scores))
    said = [_strips(axes, scores, metric) for metric, axes in panels.items()]
    style.entitle(figure, "Every scene is a dot; the bar is the mean; right is better")
    return figure, f"Scores of every scene by method, a panel for each metric. Means: {'; '.join(said)}."


@_drawn
def scores_by_scene(scores: MethodScores, metric: str, *, order: str) -> tuple[Figure, str]:
    """Draw one metric, a marker for each method, scenes in the order of one method's scores.

    The alternative text says who leads how often.
    """
    by_scene = _values(scores, metric)
    known = [method for method, column in by_scene.items() if column]
    scenes = sorted(by_scene[known[0]], key=lambda scene: by_scene.get(order, {}).get(scene, 0.0))
    figure = style.new_figure(max(2.2, 1.0 + 0.26 * len(scenes)))
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
    style.entitle(figure, f"{metric}, scene by scene")
    firsts = [max(known, key=lambda method: by_scene[method].get(scene, -np.inf)) for scene in scenes]
    leader = max(known, key=firsts.count)
    share = f"{leader} in {firsts.count(leader)} of {len(scenes)} scenes"
    return figure, f"{metric} of every scene, a marker for each method. Highest most often: {share}."


@_drawn
def interval_plot(differences: Sequence[Difference], order: Sequence[str]) -> tuple[Figure, str]:
    """Draw the mean difference of every method from one baseline with its interval, a panel for each metric.

    ``order`` names all methods, the baseline included, so that each looks as in the other figures; the alternative text
    names the clear differences.
    """
    metrics = list(dict.fromkeys(one.metric for one in differences))
    methods = list(dict.fromkeys(one.method for one in differences))
    figure, panels = _panels(metrics, 0.8 + 0.27 * len(methods))
    look = looks(order)
    for metric, axes in panels.items():
        axes.axvline(0, color=style.GRAY, lw=1)
        for one in differences:
            if one.metric == metric:
                _interval(axes, one, methods.index(one.method), look[one.method])
        axes.set_title(metric)
        _name_rows(axes, methods)
    baseline = differences[0].baseline
    style.entitle(figure, f"Difference from {baseline}: mean and 95 % interval; right of the line is better")
    clear = [f"{one.method} in {one.metric} ({'+' if one.mean > 0 else '-'})" for one in differences if one.clear]
    said = ", ".join(clear) or "none"
    return figure, f"Mean differences from {baseline} with 95 % intervals. Intervals without zero: {said}."


def _panels(names: Sequence[str], height: float) -> tuple[Figure, dict[str, Axes]]:
    """Make a figure with a panel for each name, three in a row, of a height in inches."""
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = style.new_figure(0.5 + rows * height)
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for axes in grid[len(names) :]:
        axes.axis("off")
    return figure, dict(zip(names, grid, strict=False))


def _strips(axes: Axes, scores: MethodScores, metric: str) -> str:
    said = []
    columns = _values(scores, metric)
    for row, (method, look) in enumerate(looks(list(scores)).items()):
        values = list(columns[method].values())
        if not values:
            axes.text(
                0.02, row, "no values", transform=axes.get_yaxis_transform(), va="center", color=style.GRAY, fontsize=8
            )
            continue
        # A fixed pattern, so that equal scores stay apart and the figure is the same every time.
        places = row + 0.22 * np.sin(2.4 * np.arange(len(values)))
        axes.plot(values, places, ls="", ms=4.5, mew=0.9, alpha=0.65, **look.dots)  # type: ignore[arg-type]
        axes.plot([np.mean(values)] * 2, [row - 0.4, row + 0.4], color=style.INK, lw=2.2, solid_capstyle="butt")
        said.append(f"{method} {np.mean(values):.3f}")
    axes.set_title(metric)
    _name_rows(axes, list(scores))
    return f"{metric}: {', '.join(said)}"


def _name_rows(axes: Axes, methods: Sequence[str]) -> None:
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=style.PALE, lw=0.8)
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=5)


def _scene_lines(axes: Axes, by_scene: Mapping[str, Mapping[str, float]], scenes: Sequence[str]) -> None:
    for row, scene in enumerate(scenes):
        values = [column[scene] for column in by_scene.values() if scene in column]
        axes.plot([min(values), max(values)], [row, row], color=style.PALE, lw=3, zorder=0)


def _interval(axes: Axes, one: Difference, row: int, look: Look) -> None:
    if one.low is not None and one.high is not None:
        axes.plot([one.low, one.high], [row, row], color=look.colour, lw=2.2, solid_capstyle="butt")
    axes.plot(one.mean, row, ls="", ms=7, mew=1.4, **look.dots)  # type: ignore[arg-type]


def _values(scores: MethodScores, metric: str) -> dict[str, dict[str, float]]:
    return {
        method: {scene: value for scene, row in rows.items() if (value := row.get(metric)) is not None}
        for method, rows in scores.items()
    }


class Crop(NamedTuple):
    """A part of a picture, pixels: left edge, top edge, width and height."""

    x: int
    y: int
    width: int
    height: int

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """Cut the part out of an image ``(H, W, ...)``."""
        return pixels[self.y : self.y + self.height, self.x : self.x + self.width]


def read_crop(text: str) -> tuple[str, Crop]:
    """Read ``SCENE=X,Y,W,H`` into the scene and the crop; any other form is a ``ValueError``."""
    scene, equals, numbers = text.rpartition("=")
    try:
        x, y, width, height = (int(number) for number in numbers.split(","))
    except ValueError:
        equals = ""
        x = y = width = height = 0
    if not equals or not scene or min(x, y) < 0 or min(width, height) < 2:
        raise ValueError(f"--crop '{text}' is not SCENE=X,Y,W,H in pixels; write for example Cave=10,20,64,48")
    return scene, Crop(x, y, width, height)


def choose_crops(fused: Sequence[np.ndarray], *, count: int = 2) -> list[Crop]:
    """Find the places where methods' gray levels scatter most in the mean, at most ``count``, which do not overlap.

    Given is a picture per method, RGB uint8 ``(H, W, 3)``, all of one size; of a single one, its detail decides. Fewer
    crops are found if no more fit; all have one size, and the first one has the largest scatter.

    Example:
        >>> dark = np.zeros((60, 80, 3), dtype=np.uint8)
        >>> bright = dark.copy()
        >>> bright[40:56, 50:70] = 200
        >>> choose_crops([dark, bright], count=1)
        [Crop(x=49, y=40, width=21, height=16)]
    """
    rows, columns = fused[0].shape[:2]
    height = min(rows, max(_LEAST, round(_SHARE * min(rows, columns))))
    width = min(columns, round(height * _ASPECT))
    grays = [rgb2gray(picture).astype(np.float64) for picture in fused]
    where = np.std(grays, axis=0) if len(grays) > 1 else np.hypot(*np.gradient(grays[0]))
    # Means of all boxes inside, by their upper left corner.
    means = uniform_filter(where, (height, width), mode="constant")
    means = means[height // 2 : height // 2 + rows - height + 1, width // 2 : width // 2 + columns - width + 1].copy()
    found: list[Crop] = []
    while len(found) < count and np.isfinite(means).any():
        y, x = np.unravel_index(int(np.argmax(means)), means.shape)
        found.append(Crop(int(x), int(y), width, height))
        means[max(0, y - height + 1) : y + height, max(0, x - width + 1) : x + width] = -np.inf
    return found


def most_different(
    scores: MethodScores, methods: Sequence[str], *, count: int = 3, metric: str = "MS-SSIM"
) -> list[str]:
    """Choose the scenes in which methods differ most: largest first, by the best minus the worst of their scores."""
    spread = {}
    for scene in scores[methods[0]]:
        values = [value for method in methods if (value := scores[method][scene].get(metric)) is not None]
        spread[scene] = max(values) - min(values) if values else 0.0
    return sorted(spread, key=lambda scene: (-spread[scene], scene))[:count]


def gallery(found: Evaluation, scene: str, crops: Sequence[Crop] | None = None) -> tuple[Figure, str]:
    """Show a scene: both exposures and every method's picture, with scores and one or two parts enlarged.

    Without crops, they are where the methods disagree most; one that reaches beyond the picture is a ``ValueError``.
    """
    files = next(files for files in found.plan.selection.scenes if files.name == scene)
    pictures, captions = _pictures(found, files)
    fused = [pixels for name, pixels in pictures.items() if name in found.fused]
    chosen = list(crops) if crops else choose_crops(fused)
    height, width = fused[0].shape[:2]
    for crop in chosen:
        if crop.x + crop.width > width or crop.y + crop.height > height:
            size = f"{width} x {height} pixels"
            raise ValueError(f"crop {tuple(crop)} reaches beyond the {size} of '{scene}'; give another one")
    return evaluation_wall(pictures, captions, chosen, title=scene)


@_drawn
def evaluation_wall(
    pictures: Mapping[str, np.ndarray], captions: Mapping[str, str], crops: Sequence[Crop], *, title: str
) -> tuple[Figure, str]:
    """Set pictures (RGB uint8 ``(H, W, 3)``, of one size) side by side, each with its crops, its name and a line below.

    Example:
        >>> flat = np.zeros((30, 40, 3), dtype=np.uint8)
        >>> crops = [Crop(4, 3, 8, 6)]
        >>> evaluation_wall({"under": flat, "ours": flat}, {"ours": "EN 0.0"}, crops, title="hall")[1]
        'hall: under; ours (EN 0.0). Each with 1 part enlarged: a at x 4, y 3, 8 x 6 pixels.'
    """
    height, width = next(iter(pictures.values())).shape[:2]
    columns = min(_MOST, len(pictures))
    rows = -(-len(pictures) // columns)
    tall = _CELL * height / width
    small = (_CELL - _GAP / 2 * (len(crops) - 1)) / max(1, len(crops))
    low = max((small * crop.height / crop.width for crop in crops), default=0.0)
    cell = tall + _GAP / 2 + low + _TEXT + _GAP
    size = columns * (_CELL + _GAP) + _GAP, rows * cell + 0.45
    figure = style.CourseFigure(figsize=size, facecolor="white")
    for number, (name, pixels) in enumerate(pictures.items()):
        left = _GAP + (number % columns) * (_CELL + _GAP)
        top = size[1] - 0.4 - (number // columns) * cell
        axes = _axes(figure, size, left, top - tall, _CELL, tall)
        _write(figure, size, left, top - tall - _GAP / 2 - low, name, captions.get(name, ""))
        _show(axes, _reduced(pixels), extent=(0, width, height, 0))
        for index, crop in enumerate(crops):
            _frame(axes, crop, index)
            high = small * crop.height / crop.width
            place = left + index * (small + _GAP / 2), top - tall - _GAP / 2 - high
            part = _axes(figure, size, *place, small, high)
            _show(part, crop.of(pixels))
            for spine in part.spines.values():
                spine.set(visible=True, color=_CROP_LOOKS[index][0], linestyle=_CROP_LOOKS[index][1], linewidth=2.2)
    style.entitle(figure, title)
    return figure, _wall_text(pictures, captions, crops, title)


def _wall_text(pictures: Mapping[str, object], captions: Mapping[str, str], crops: Sequence[Crop], title: str) -> str:
    said = "; ".join(f"{name} ({captions[name]})" if captions.get(name) else name for name in pictures)
    places = ", ".join(
        f"{letter} at x {crop.x}, y {crop.y}, {crop.width} x {crop.height} pixels"
        for letter, crop in zip("ab", crops, strict=False)
    )
    parts = "1 part" if len(crops) == 1 else f"{len(crops)} parts"
    return f"{title}: {said}. Each with {parts} enlarged: {places}." if crops else f"{title}: {said}."


def _pictures(found: Evaluation, files: SceneFiles) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    paths: dict[str, Path] = {"under": files.under, "over": files.over}
    captions = {}
    for method, fused in found.fused.items():
        paths[method] = fused[files.name]
        row = found.scores[method][files.name]
        shown = [f"{name} {value:.3f}" for name in ("MS-SSIM", "MEF-SSIM") if (value := row.get(name)) is not None]
        captions[method] = "  ".join(shown)
    return {name: to_pixels(read_rgb(path)) for name, path in paths.items()}, captions


def _reduced(pixels: np.ndarray) -> np.ndarray:
    image = Image.fromarray(pixels)
    image.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _axes(figure: Figure, size: tuple[float, float], left: float, bottom: float, width: float, height: float) -> Axes:
    return figure.add_axes((left / size[0], bottom / size[1], width / size[0], height / size[1]))


def _show(axes: Axes, pixels: np.ndarray, extent: tuple[float, float, float, float] | None = None) -> None:
    axes.imshow(pixels, extent=extent, aspect="auto", interpolation="antialiased")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _frame(axes: Axes, crop: Crop, index: int) -> None:
    colour, line = _CROP_LOOKS[index]
    for shade, wide in (("white", 3.6), (colour, 1.9)):
        dashes = "-" if shade == "white" else line
        box = Rectangle((crop.x, crop.y), crop.width, crop.height, fill=False, ec=shade, lw=wide, ls=dashes)
        axes.add_patch(box)


def _write(figure: Figure, size: tuple[float, float], left: float, top: float, name: str, caption: str) -> None:
    place = left / size[0], (top - 0.05) / size[1]
    figure.text(*place, name, fontsize=9.5, weight="bold", va="top", color=style.INK)
    figure.text(place[0], (top - 0.24) / size[1], caption, fontsize=8.5, va="top", color=style.INK)
