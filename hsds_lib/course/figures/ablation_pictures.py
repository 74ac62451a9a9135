"""Figures of notebook 8: what conditions change, how far seeds scatter, and what the best of several is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import TwoSlopeNorm

from hsds_lib.course import style

_LINES = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILION, style.PURPLE)

_Values = Mapping[str, Sequence[float]]


@style.styled
def printed_gaps(table: Mapping[str, Mapping[str, float]], ours: str = "ours") -> style.Drawn:
    """Draw Table 3 as differences to the whole method, in per cent of it."""
    conditions = [name for name in table if name != ours]
    metrics = list(table[ours])
    gaps = np.array([[100 * (table[c][m] / table[ours][m] - 1) for m in metrics] for c in conditions])
    figure = style.new_figure(0.42 * len(conditions) + 1.3)
    axes = figure.subplots()
    far = float(np.abs(gaps).max())
    image = axes.imshow(gaps, cmap="PuOr_r", norm=TwoSlopeNorm(0, -far, far), aspect="auto")
    style.write_cells(axes, gaps, "{:+.1f}".format, lambda gap: abs(gap) > 0.65 * far)
    axes.set_xticks(range(len(metrics)), metrics)
    axes.set_yticks(range(len(conditions)), conditions)
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, label="per cent", pad=0.01)
    style.entitle(figure, "Table 3, as printed: each condition against the whole method")
    better = [f"{c} in {m}" for r, c in enumerate(conditions) for k, m in enumerate(metrics) if gaps[r, k] > 0]
    said = f"Differences of {len(conditions)} conditions in {len(metrics)} metrics to the whole method."
    return figure, f"{said} Better than it: {', '.join(better) or 'none'}."


@style.styled
def seed_dots(values: _Values, half_widths: Mapping[str, float], *, metric: str, features: str = "") -> style.Drawn:
    """Draw every run of every condition, their mean and its interval."""
    figure = style.new_figure(0.36 * len(values) + 1.4, "Seven conditions, several seeds")
    axes = figure.subplots()
    for row, (condition, found) in enumerate(values.items()):
        mean = float(np.mean(found))
        axes.errorbar(
            mean, row, xerr=half_widths[condition], fmt="|", ms=16, mew=3, color=style.ORANGE, lw=2, capsize=5
        )
        axes.plot(found, [row] * len(found), "o", color=style.BLUE, ms=6, alpha=0.7, mec="none")
    axes.set_yticks(range(len(values)), list(values))
    axes.set(ylim=(len(values) - 0.5, -0.5), xlabel=f"{metric}: a dot per seed; orange: mean and 95 % interval")
    axes.grid(axis="y", color=style.PALE)
    spread = max(max(found) - min(found) for found in values.values())
    means = {condition: float(np.mean(found)) for condition, found in values.items()}
    apart = max(means.values()) - min(means.values())
    alt = (
        f"{metric} by condition and seed. Means lie up to {apart:.3f} apart, seeds of one condition up to {spread:.3f}."
    )
    return figure, alt + style.feature_note(figure, features)


@style.styled
def pruning_courses(courses: Mapping[tuple[str, int], Sequence[int]], *, features: str = "") -> style.Drawn:
    """Draw how many operations are alive after each step, of the runs that prune."""
    pruned = {key: found for key, found in courses.items() if found[-1] < found[0]}
    figure = style.new_figure(3.4, "Pruning, run by run")
    axes = figure.subplots()
    colours = dict(zip(dict.fromkeys(condition for condition, _ in pruned), _LINES, strict=False))
    for (condition, _), found in pruned.items():
        known = condition in axes.get_legend_handles_labels()[1]
        label = None if known else condition
        axes.plot(range(1, len(found) + 1), found, color=colours[condition], lw=1.6, alpha=0.85, label=label)
    axes.set(xlabel="step of the search", ylabel="operations alive")
    axes.legend(title="a line per seed")
    ends = [int(found[-1]) for found in pruned.values()]
    alt = f"Operations alive in {len(pruned)} runs that prune; they end with {min(ends)} to {max(ends)}."
    return figure, alt + style.feature_note(figure, features)


@style.styled
def best_of_curve(best: Sequence[float], *, unit: str) -> style.Drawn:
    """Draw what the best of n equal runs is expected to be above their mean."""
    figure = style.new_figure(2.8, "What luck alone is worth", width=7.5)
    axes = figure.subplots()
    counts = np.arange(1, len(best) + 1)
    axes.plot(counts, best, "o-", color=style.VERMILION)
    axes.axhline(0, color=style.GRAY, lw=1, ls=":")
    axes.set(xlabel="runs, of which the best is reported", ylabel=f"expected gain ({unit})", xticks=counts)
    return (
        figure,
        f"Expected best of 1 to {len(best)} equal runs above their mean: from {best[0]:.2f} to {best[-1]:.2f} {unit}.",
    )


@style.styled
def loss_mixes(mixes: Mapping[str, Mapping[str, float]], *, features: str = "") -> style.Drawn:
    """Draw the loss weights that each condition found, against equal ones."""
    conditions, terms = list(mixes), list(next(iter(mixes.values())))
    table = np.array([[mixes[c][t] for t in terms] for c in conditions]) * len(terms)
    figure = style.new_figure(0.36 * len(conditions) + 1.9, "Loss weights that were found, mean over seeds")
    axes = figure.subplots()
    norm = TwoSlopeNorm(1, min(0.5, table.min()), max(1.5, table.max()))
    image = axes.imshow(table, cmap="PuOr_r", norm=norm, aspect="auto")
    axes.set_xticks(range(len(terms)), terms, rotation=55, ha="right")
    axes.set_yticks(range(len(conditions)), conditions)
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, label="weight / equal weight", pad=0.01)
    still = [c for c, line in zip(conditions, table, strict=True) if np.allclose(line, 1, atol=0.01)]
    alt = f"Weights of {len(terms)} losses in {len(conditions)} conditions. All equal in: {', '.join(still) or 'none'}."
    return figure, alt + style.feature_note(figure, features)
