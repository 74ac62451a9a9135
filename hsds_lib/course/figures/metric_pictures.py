"""Figures of notebook 7: what metrics reward, whether they agree, and how far methods lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm

from hsds_lib.course import style

_Scores = Mapping[str, float]
_MARKS = "osD^vPX*"
_NO_CHANGE = 0.0005  # share; below it a metric is called unmoved
_SIGNED = LinearSegmentedColormap.from_list("worse_better", [style.VERMILION, "white", style.BLUE])


@style.styled
def saturation(gray: np.ndarray) -> style.Drawn:
    """Draw what each pixel of a picture contributes to SD, in real numbers and in saturating integers."""
    mean, levels = gray.mean(), np.arange(256)
    figure = style.new_figure(5.4, "SD in real numbers and as in the published tables")
    grid = figure.add_gridspec(2, 3, height_ratios=[1, 1.1])
    axes = figure.add_subplot(grid[0, :])
    axes.plot(levels, (levels - mean) ** 2, color=style.BLUE, lw=2, label="(g − mean)², real numbers")
    clipped = _saturated(levels, mean)
    axes.plot(
        levels, clipped, color=style.VERMILION, lw=2, label="the same in 8-bit integers: 0 below the mean, 255 at most"
    )
    axes.axvline(mean, color=style.GRAY, lw=1, ls=":")
    axes.set(xlabel="gray level g", ylabel="what a pixel adds", xlim=(0, 255), ylim=(0, 4000))
    counts = axes.twinx()
    counts.hist(gray.ravel(), bins=64, range=(0, 256), color=style.PALE)
    counts.set_yticks([])
    axes.set_zorder(counts.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    maps = {
        "the picture": (gray, 255.0),
        "counted in real numbers": ((gray - mean) ** 2, float(((gray - mean) ** 2).max())),
        "counted in 8-bit integers": (_saturated(gray, mean), 255.0),
    }
    for column, (name, (values, top)) in enumerate(maps.items()):
        panel = figure.add_subplot(grid[1, column])
        panel.imshow(values, cmap="gray", vmin=0, vmax=top)
        panel.set(xticks=[], yticks=[], title=name)
    share = float((gray >= mean + 15.5).mean())
    alt = (
        f"Contribution of a gray level to SD about the mean {mean:.0f}: a parabola in real numbers; in 8-bit integers "
        "0 below the mean and 255 from 16 levels above it. Below, both as maps of the picture: the second is almost "
        f"black and white, {100 * share:.0f} % of it white."
    )
    return figure, alt


def _saturated(levels: np.ndarray, mean: float) -> np.ndarray:
    return np.minimum(255, np.maximum(0, np.floor(levels - mean + 0.5)) ** 2)


@style.styled
def enhancement(
    ratios: Sequence[float], curves: Mapping[str, Sequence[float]], angles: Sequence[float], kept: Sequence[float]
) -> style.Drawn:
    """Draw what two metrics make of an edge that fusion weakens, strengthens, or turns."""
    figure = style.new_figure(3.0, "Is a stronger edge better?")
    left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
    for (name, values), colour in zip(curves.items(), (style.VERMILION, style.BLUE, style.GREEN), strict=False):
        left.plot(ratios, values, color=colour, lw=2, label=name)
    left.axvline(1, color=style.GRAY, lw=1, ls=":")
    left.set_xscale("log", base=2)
    ticks = [0.25, 0.5, 1, 2, 4]
    left.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    left.set(xlabel="contrast of the fused edge, over the source's", ylabel="value", ylim=(0, None))
    left.set_title("weaker or stronger")
    left.legend(loc="upper left")
    right.plot(angles, kept, color=style.VERMILION, lw=2)
    right.set(xlabel="turned by (degrees)", ylabel="Qabf of the pixel", ylim=(0, 1.05), xlim=(0, max(angles)))
    right.set_title("turned")
    ends = ", ".join(f"{name} {values[-1]:.2f}" for name, values in curves.items())
    half = next((angle for angle, value in zip(angles, kept, strict=True) if value < 0.5), max(angles))
    alt = (
        f"Two metrics against the contrast of a fused edge, both about 1 where it is the source's. At {ratios[-1]:g} "
        f"times the contrast: {ends}. Right: turned by {half:.0f} degrees, less than half of the edge counts as kept."
    )
    return figure, alt


@style.styled
def verdicts(changes: Mapping[str, _Scores]) -> style.Drawn:
    """Draw which degradations each metric punishes (red) and rewards (blue)."""
    names, metrics = list(changes), list(next(iter(changes.values())))
    table = np.array([[changes[name][metric] for metric in metrics] for name in names])
    figure = style.new_figure(0.42 * len(names) + 1.5, "What each metric makes of a spoiled picture")
    axes = figure.subplots()
    image = axes.imshow(np.clip(table, -1, 1), cmap=_SIGNED, norm=TwoSlopeNorm(0, -1, 1), aspect="auto")
    style.write_cells(axes, table, _per_cent, lambda change: abs(change) > 0.65, size=9)
    axes.set_xticks(range(len(metrics)), metrics)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.set_xlabel("change of the metric (%); blue: it prefers the spoiled picture")
    bar = figure.colorbar(image, ax=axes, ticks=[-1, 0, 1], pad=0.01)
    bar.ax.set_yticklabels(["−100 %", "0", "+100 %"])
    rewarded = {
        metric: [names[r] for r in range(len(names)) if table[r, c] >= _NO_CHANGE] for c, metric in enumerate(metrics)
    }
    said = "; ".join(f"{metric}: {', '.join(kinds) or 'none'}" for metric, kinds in rewarded.items())
    return figure, f"Change of {len(metrics)} metrics by {len(names)} degradations. Rewarded by {said}."


def _per_cent(share: float) -> str:
    """Whole per cent, with a digit more below one, so that the sign of a small change is true."""
    value = 100 * share
    if abs(share) < _NO_CHANGE:
        return "0"
    return f"{value:+.0f}".replace("-", "−") if abs(value) >= 0.95 else f"{value:+.1f}".replace("-", "−")


@style.styled
def agreement(matrices: Mapping[str, tuple[np.ndarray, Sequence[str]]]) -> style.Drawn:
    """Draw the rank correlations between metrics, a panel for each set of pictures or methods."""
    largest = max(len(names) for _, names in matrices.values())
    figure = style.new_figure(0.4 * largest + 1.9, "Do two metrics rank alike?")
    panels = np.atleast_1d(figure.subplots(1, len(matrices)))
    norm, said = TwoSlopeNorm(0, -1, 1), []
    for axes, (title, (matrix, names)) in zip(panels, matrices.items(), strict=True):
        axes.imshow(matrix, cmap=_SIGNED, norm=norm)
        style.write_cells(axes, matrix, _tau, lambda tau: abs(tau) > 0.65, size=9)
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        axes.set_title(title)
        said.append(f"{title}: {_extremes(matrix, names)}")
    figure.colorbar(ScalarMappable(norm, _SIGNED), ax=list(panels), label="Kendall's τ", shrink=0.8)
    return figure, " ".join(said)


def _tau(value: float) -> str:
    return f"{value:.1f}".replace("-0.0", "0.0").replace("-", "−")


def _extremes(matrix: np.ndarray, names: Sequence[str]) -> str:
    off = matrix - 2 * np.eye(len(names))
    low, high = (tuple(map(int, np.unravel_index(pick, off.shape))) for pick in (matrix.argmin(), off.argmax()))
    return (
        f"most alike are {names[high[0]]} and {names[high[1]]}, {matrix[high]:.2f}; "
        f"least {names[low[0]]} and {names[low[1]]}, {matrix[low]:.2f}."
    )


@style.styled
def scene_dots(scores: Mapping[str, Mapping[str, _Scores]], metrics: Sequence[str]) -> style.Drawn:
    """Draw the score of every method on every scene, and the means."""
    figure = style.new_figure(0.36 * len(scores) + 1.7, "Every method on every scene")
    panels = np.atleast_1d(figure.subplots(1, len(metrics), sharey=True))
    said = []
    for axes, metric in zip(panels, metrics, strict=True):
        means = {}
        for row, (method, by_scene) in enumerate(scores.items()):
            values = [found[metric] for found in by_scene.values()]
            means[method] = float(np.mean(values))
            for value, mark in zip(values, _MARKS * len(values), strict=False):
                axes.plot(value, row, mark, color=style.BLUE, ms=5, alpha=0.55, mec="none")
            axes.plot(means[method], row, "|", color=style.ORANGE, ms=20, mew=3)
        axes.set(title=metric, ylim=(len(scores) - 0.5, -0.5))
        axes.grid(axis="y", color=style.PALE)
        best = max(means, key=means.__getitem__)
        said.append(f"{metric}: {best} {means[best]:.3f}")
    panels[0].set_yticks(range(len(scores)), list(scores))
    panels[0].set_xlabel("a mark per scene; orange: mean")
    return figure, f"_Scores by scene of {', '.join(scores)}. Best mean of {'; '.join(said)}."


@style.styled
def paired_gaps(
    gaps: Mapping[str, Sequence[float]],
    groups: Sequence[str],
    intervals: Mapping[str, tuple[tuple[float, float], tuple[float, float]]],
    *,
    title: str,
) -> style.Drawn:
    """Draw paired differences of two methods, a panel per metric, with two intervals for their mean."""
    kinds = list(dict.fromkeys(groups))
    figure = style.new_figure(0.22 * min(len(kinds), 8) + 2.1, title)
    panels = np.atleast_1d(figure.subplots(1, len(gaps), sharey=True))
    said = []
    for axes, (metric, values) in zip(panels, gaps.items(), strict=True):
        for value, group in zip(values, groups, strict=True):
            row = kinds.index(group)
            axes.plot(value, row, _MARKS[row % len(_MARKS)], color=style.BLUE, ms=6, alpha=0.6, mec="none")
        for row, (interval, colour) in enumerate(
            zip(intervals[metric], (style.PURPLE, style.ORANGE), strict=True), len(kinds)
        ):
            axes.plot(interval, (row, row), color=colour, lw=4, solid_capstyle="butt")
            axes.plot(np.mean(values), row, "|", color=style.INK, ms=14, mew=2)
        axes.axvline(0, color=style.GRAY, lw=1, ls=":")
        axes.set(title=metric, xlabel="difference", ylim=(len(kinds) + 1.5, -0.5))
        axes.grid(axis="y", color=style.PALE)
        naive, grouped = (f"{low:+.3f} to {high:+.3f}" for low, high in intervals[metric])
        said.append(f"{metric}: mean {np.mean(values):+.3f}, {naive} by scenes, {grouped} by groups")
    panels[0].set_yticks(range(len(kinds) + 2), [*kinds, "95 %, scenes drawn", "95 %, groups drawn"])
    return figure, f"{title}. {'; '.join(said)}."
