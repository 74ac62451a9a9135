"""Pictures side by side with two parts enlarged, as papers show them, and which scenes to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from hsds_lib.course.style import INK, SKY, VERMILION, headline, styled
from hsds_lib.evaluation.benchmark import Outcome
from hsds_lib.evaluation.crops import Crop, choose_crops
from hsds_lib.evaluation.picture import to_pixels
from hsds_lib.evaluation.statistics import MethodScores
from hsds_lib.images.datasets import SceneFiles
from hsds_lib.images.io import read_rgb
from hsds_lib.reports.evaluation_plots import as_written

SHOWN_METRICS = ("MS-SSIM", "MEF-SSIM")
_CROP_LOOKS = ((VERMILION, "-"), (SKY, "--"))
_CELL, _GAP, _TEXT = 2.35, 0.1, 0.42  # inches
_MOST = 5  # pictures in a row
_LONGEST = 700  # pixels of a picture in the figure


def most_different(
    scores: MethodScores, methods: Sequence[str], *, count: int = 3, metric: str = "MS-SSIM"
) -> list[str]:
    """Choose the scenes in which methods differ most.

    Args:
        scores: by method, scene and metric.
        methods: those whose pictures can be shown.
        count: how many scenes.
        metric: in which they differ.

    Returns:
        Names of scenes, the one with the largest difference between best and worst first.

    Example:
        >>> rows = {"a": {"hall": {"EN": 7.0}, "roof": {"EN": 6.0}}, "b": {"hall": {"EN": 6.9}, "roof": {"EN": 2.0}}}
        >>> most_different(rows, ["a", "b"], count=1, metric="EN")
        ['roof']
    """
    spread = {}
    for scene in scores[methods[0]]:
        values = [value for method in methods if (value := scores[method][scene].get(metric)) is not None]
        spread[scene] = max(values) - min(values) if values else 0.0
    return sorted(spread, key=lambda scene: (-spread[scene], scene))[:count]


def gallery(outcome: Outcome, scene: str, crops: Sequence[Crop] | None = None) -> tuple[Figure, str]:
    """Show a scene: both exposures and every method's picture, with crops and scores.

    Args:
        outcome: of the evaluation.
        scene: name of the scene.
        crops: parts to enlarge, one or two; default: where the methods disagree most.

    Returns:
        The figure and its alternative text.

    Raises:
        ValueError: a crop reaches beyond the picture.
    """
    files = next(files for files in outcome.plan.selection.scenes if files.name == scene)
    pictures, captions = _pictures(outcome, files)
    fused = [pixels for name, pixels in pictures.items() if name in outcome.fused]
    chosen = list(crops) if crops else choose_crops(fused)
    height, width = fused[0].shape[:2]
    for crop in chosen:
        if crop.x + crop.width > width or crop.y + crop.height > height:
            size = f"{width} x {height} pixels"
            raise ValueError(f"crop {tuple(crop)} reaches beyond the {size} of '{scene}'; give another one")
    return picture_wall(pictures, captions, chosen, title=scene)


@styled
@as_written
def picture_wall(
    pictures: Mapping[str, np.ndarray], captions: Mapping[str, str], crops: Sequence[Crop], *, title: str
) -> tuple[Figure, str]:
    """Set pictures side by side, each with its crops, its name and its scores below.

    Args:
        pictures: RGB uint8 ``(H, W, 3)`` by name, all of one size.
        captions: a line under some of the names, such as scores.
        crops: parts to enlarge, one or two, of one shape.
        title: of the figure.

    Returns:
        The figure and its alternative text.

    Example:
        >>> flat = np.zeros((30, 40, 3), dtype=np.uint8)
        >>> picture_wall({"under": flat, "ours": flat}, {"ours": "EN 0.0"}, [Crop(4, 3, 8, 6)], title="hall")[1]
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
    figure = Figure(figsize=size, facecolor="white")
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
    headline(figure, title)
    return figure, _wall_text(pictures, captions, crops, title)


def _wall_text(pictures: Mapping[str, object], captions: Mapping[str, str], crops: Sequence[Crop], title: str) -> str:
    said = "; ".join(f"{name} ({captions[name]})" if captions.get(name) else name for name in pictures)
    places = ", ".join(
        f"{letter} at x {crop.x}, y {crop.y}, {crop.width} x {crop.height} pixels"
        for letter, crop in zip("ab", crops, strict=False)
    )
    parts = "1 part" if len(crops) == 1 else f"{len(crops)} parts"
    return f"{title}: {said}. Each with {parts} enlarged: {places}." if crops else f"{title}: {said}."


def _pictures(outcome: Outcome, files: SceneFiles) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    paths: dict[str, Path] = {"under": files.under, "over": files.over}
    captions = {}
    for method, fused in outcome.fused.items():
        paths[method] = fused[files.name]
        row = outcome.scores[method][files.name]
        shown = [f"{name} {value:.3f}" for name in SHOWN_METRICS if (value := row.get(name)) is not None]
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
        style = "-" if shade == "white" else line
        box = Rectangle((crop.x, crop.y), crop.width, crop.height, fill=False, ec=shade, lw=wide, ls=style)
        axes.add_patch(box)


def _write(figure: Figure, size: tuple[float, float], left: float, top: float, name: str, caption: str) -> None:
    place = left / size[0], (top - 0.05) / size[1]
    figure.text(*place, name, fontsize=9.5, weight="bold", va="top", color=INK)
    figure.text(place[0], (top - 0.24) / size[1], caption, fontsize=8.5, va="top", color=INK)
