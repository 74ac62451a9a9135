"""Figures of notebook 7: what metrics reward, whether they agree, and how far methods lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from hsds_lib.course.style import BLUE, GRAY, INK, ORANGE, PALE, VERMILION, headline, new_figure, styled

Scores = Mapping[str, float]
_MARKS = "osD^vPX*"


@styled
def saturation(levels: Sequence[float], mean: float) -> tuple[Figure, str]:
    """Draw what a pixel contributes to SD, in real numbers and in saturating integers.

    Args:
        levels: gray levels of a picture, 0 to 255, for the histogram behind the curves.
        mean: their mean.

    Returns:
        The figure and its alternative text.
    """
    figure = new_figure(3.0)
    axes = figure.subplots()
    gray = np.arange(256)
    difference = gray - mean
    axes.plot(gray, difference**2, color=BLUE, lw=2, label="(g − mean)², real numbers")
    clipped = np.minimum(255, np.maximum(0, np.floor(difference + 0.5)) ** 2)
    axes.plot(gray, clipped, color=VERMILION, lw=2, label="the same in 8-bit integers: 0 below the mean, 255 at most")
    axes.axvline(mean, color=GRAY, lw=1, ls=":")
    axes.set(xlabel="gray level g", ylabel="what a pixel adds", xlim=(0, 255), ylim=(0, 4000))
    counts = axes.twinx()
    counts.hist(np.asarray(levels), bins=64, range=(0, 256), color=PALE)
    counts.set_yticks([])
    axes.set_zorder(counts.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.legend(loc="upper center")
    headline(figure, "SD in real numbers and as in the published tables")
    alt = (
        f"Contribution of a gray level to SD about the mean {mean:.0f}: a parabola in real numbers; in 8-bit integers "
        "0 below the mean and 255 from 16 levels above it. Behind it the histogram of a picture."
    )
    return figure, alt


@styled
def verdicts(changes: Mapping[str, Scores]) -> tuple[Figure, str]:
    """Draw which degradations each metric punishes (orange) and rewards (blue).

    Args:
        changes: for each degradation, the relative change of every metric; the metrics are the same in all.

    Returns:
        The figure and its alternative text.
    """
    names, metrics = list(changes), list(next(iter(changes.values())))
    table = np.array([[changes[name][metric] for metric in metrics] for name in names])
    figure = new_figure(0.42 * len(names) + 1.5)
    axes = figure.subplots()
    image = axes.imshow(np.clip(table, -1, 1), cmap="PuOr_r", norm=TwoSlopeNorm(0, -1, 1), aspect="auto")
    for row in range(len(names)):
        for column in range(len(metrics)):
            value = table[row, column]
            colour = "white" if abs(value) > 0.65 else INK
            axes.text(column, row, f"{100 * value:+.0f}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(metrics)), metrics)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.set_xlabel("change of the metric (%); positive: the spoiled picture scores better")
    bar = figure.colorbar(image, ax=axes, ticks=[-1, 0, 1], pad=0.01)
    bar.ax.set_yticklabels(["−100 %", "0", "+100 %"])
    headline(figure, "What each metric makes of a spoiled picture")
    rewarded = {metric: [names[r] for r in range(len(names)) if table[r, c] > 0] for c, metric in enumerate(metrics)}
    said = "; ".join(f"{metric}: {', '.join(kinds) or 'none'}" for metric, kinds in rewarded.items())
    return figure, f"Change of {len(metrics)} metrics by {len(names)} degradations. Rewarded by {said}."


@styled
def agreement(matrix: np.ndarray, names: Sequence[str]) -> tuple[Figure, str]:
    """Draw the rank correlations between metrics.

    Args:
        matrix: Kendall's tau, symmetric, ones on the diagonal.
        names: of the metrics.

    Returns:
        The figure and its alternative text.
    """
    figure = new_figure(0.38 * len(names) + 1.2, width=7.5)
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap="PuOr_r", norm=TwoSlopeNorm(0, -1, 1))
    for row in range(len(names)):
        for column in range(len(names)):
            colour = "white" if abs(matrix[row, column]) > 0.65 else INK
            axes.text(column, row, f"{matrix[row, column]:.1f}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, label="Kendall's τ")
    headline(figure, "Do two metrics rank pictures alike?")
    off = matrix - 2 * np.eye(len(names))
    low, high = (tuple(map(int, np.unravel_index(pick, off.shape))) for pick in (matrix.argmin(), off.argmax()))
    alt = (
        f"Rank correlations of {len(names)} metrics. Most alike: {names[high[0]]} and {names[high[1]]}, "
        f"{matrix[high]:.2f}. Most opposed: {names[low[0]]} and {names[low[1]]}, {matrix[low]:.2f}."
    )
    return figure, alt


@styled
def scene_dots(scores: Mapping[str, Mapping[str, Scores]], metrics: Sequence[str]) -> tuple[Figure, str]:
    """Draw the score of every method on every scene, and the means.

    Args:
        scores: method to scene to metric to value.
        metrics: which metrics, a panel each.

    Returns:
        The figure and its alternative text.
    """
    figure = new_figure(0.36 * len(scores) + 1.7)
    panels = np.atleast_1d(figure.subplots(1, len(metrics), sharey=True))
    said = []
    for axes, metric in zip(panels, metrics, strict=True):
        means = {}
        for row, (method, by_scene) in enumerate(scores.items()):
            values = [found[metric] for found in by_scene.values()]
            means[method] = float(np.mean(values))
            for value, mark in zip(values, _MARKS * len(values), strict=False):
                axes.plot(value, row, mark, color=BLUE, ms=5, alpha=0.55, mec="none")
            axes.plot(means[method], row, "|", color=ORANGE, ms=20, mew=3)
        axes.set(title=metric, ylim=(len(scores) - 0.5, -0.5))
        axes.grid(axis="y", color=PALE)
        best = max(means, key=means.__getitem__)
        said.append(f"{metric}: {best} {means[best]:.3f}")
    panels[0].set_yticks(range(len(scores)), list(scores))
    panels[0].set_xlabel("a mark per scene; orange: mean")
    headline(figure, "Every method on every scene")
    return figure, f"Scores by scene of {', '.join(scores)}. Best mean of {'; '.join(said)}."
